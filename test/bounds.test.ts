import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { askToken, filesOf, listUploads, readReceipts, request, sendRaw, startServer, submitForm, until } from './harness.ts'
import type { Answer, Entry } from './harness.ts'

function isRefusal(answer: Answer, status: number, code: string): void {
  assert.equal(answer.status, status, answer.text)
  assert.equal(answer.json['code'], code)
  assert.equal(answer.headers.get('access-control-allow-origin'), '*')
}

/** Begins a multipart upload that stays open, with so many bytes of a file and no token yet. */
function openUpload(port: number, bytes: number) {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.on('error', () => undefined)
  socket.write(
    'POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000000\r\n\r\n' +
      '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n',
  )
  socket.write(Buffer.alloc(bytes, 97))
  return socket
}

async function stagedBytes(basedir: string): Promise<number> {
  const paths = (await listUploads(basedir)).filter((path) => path.startsWith('staging/'))
  const sizes = await Promise.all(paths.map(async (path) => (await stat(join(basedir, 'uploads', path))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

test('an upload that would reach into the reserve of free space is 507 before a byte is staged', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_RESERVE_BYTES: '1000000000000000' } })
  const authToken = await askToken(server)
  isRefusal(await submitForm(server, [['file', randomBytes(1000), 'a.wav'], ['auth_token', authToken]]), 507, 'insufficient_storage')
  assert.deepEqual(await listUploads(server.basedir), [])
})

test('a length that is announced counts before it has arrived', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_REQUEST_BYTES: String(2 ** 40) } })
  const text = await sendRaw(server.port, [
    'POST /submit HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n' +
      `Content-Type: multipart/form-data; boundary=b\r\nContent-Length: ${2 ** 40}\r\n\r\n`,
  ], { half: true })
  assert.match(text, /^HTTP\/1\.1 507 /)
})

test('bytes of unknown senders are bounded for each address; what came with a good token does not count', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_UNKNOWN_BYTES_PER_ADDRESS: '2000000' } })
  const authToken = await askToken(server)
  const file = randomBytes(4_000_000)
  const answer = await submitForm(server, [['file', file, 'a.wav'], ['auth_token', authToken]])
  isRefusal(answer, 503, 'too_busy')
  assert.equal(answer.headers.get('retry-after'), '60')
  assert.equal((await submitForm(server, [['auth_token', authToken], ['file', file, 'a.wav']])).status, 200)
  assert.equal((await submitForm(server, [['file', file, 'b.wav']], { Authorization: `Bearer ${authToken}` })).status, 200)

  const waiting = openUpload(server.port, 1_800_000)
  // A byte is counted before it is written; the last ones wait in memory for more. What is on disk for sure is half a limit.
  await until('half of the limit is staged', async () => (await stagedBytes(server.basedir)) >= 1_000_000)
  isRefusal(await submitForm(server, [['file', randomBytes(1_000_000), 'c.wav'], ['auth_token', authToken]]), 503, 'too_busy')
  waiting.destroy()
  await until('the allowance is given back', async () => {
    return (await submitForm(server, [['file', randomBytes(1_000_000), 'd.wav'], ['auth_token', authToken]])).status === 200
  })
})

test('bytes of unknown senders are bounded in all', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_UNKNOWN_BYTES: '1000000' } })
  isRefusal(await submitForm(server, [['file', randomBytes(2_000_000), 'a.wav']]), 503, 'too_busy')
})

test('submissions at once are bounded, and the next is taken when one has ended', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_SUBMISSIONS: '1' } })
  const authToken = await askToken(server)
  const waiting = openUpload(server.port, 200_000)
  await until('it is under way', async () => (await listUploads(server.basedir)).length > 0)
  isRefusal(await submitForm(server, [['responses', '1'], ['auth_token', authToken]]), 503, 'too_busy')
  waiting.destroy()
  await until('the next is taken', async () => (await submitForm(server, [['responses', '1'], ['auth_token', authToken]])).status === 200)
})

test('connections at once are bounded, and one too many is told so', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_CONNECTIONS: '2' } })
  const held = [openUpload(server.port, 200_000), openUpload(server.port, 200_000)]
  await until('they are under way', async () => (await listUploads(server.basedir)).length === 2)
  const text = await sendRaw(server.port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  assert.match(text, /^HTTP\/1\.1 503 [\s\S]*Retry-After: 60[\s\S]*"code":"too_busy"/)
  for (const socket of held) socket.destroy()
  await until('there is room again', async () => {
    const answer = await request(`${server.url}/`).catch(() => undefined)
    return answer?.status === 200
  })
})

test('requests sent ahead of their answers are bounded by the bytes of their heads too', async (t) => {
  const server = await startServer(t)
  const body = `${'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nx\r\n'.repeat(200)}--b--\r\n`
  const slow = `POST /submit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await askToken(server)}\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  const ahead = (bytes: number) => `GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${'a'.repeat(bytes)}\r\n\r\n`
  const last = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
  const answers = async (bytes: number) => (await sendRaw(server.port, slow + ahead(bytes).repeat(20) + last).catch(() => '')).match(/HTTP\/1\.1 200 /g)?.length ?? 0
  assert.equal(await answers(100), 22)
  assert.equal(await answers(12_000), 0)
})

test('a connection that was refused takes no place while it is being closed', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_CONNECTIONS: '1' } })
  const held = openUpload(server.port, 200_000)
  await until('it is under way', async () => (await listUploads(server.basedir)).length === 1)
  const refused = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true })
  t.after(() => refused.destroy())
  await once(refused.resume(), 'end')
  held.destroy()
  await until('there is room again', async () => (await request(`${server.url}/`).catch(() => undefined))?.status === 200)
  assert.ok(await isOpen(server.port, refused.localPort ?? 0), 'the server still waits for the client to close')
})

test('where there is room for no more, a connection that has brought nothing gives way', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_CONNECTIONS: '3' } })
  const busy = openUpload(server.port, 200_000)
  await until('it is under way', async () => (await listUploads(server.basedir)).length === 1)
  const slow = connect(server.port, '127.0.0.1').on('error', () => undefined)
  slow.write('GET / HT')
  const silent = connect(server.port, '127.0.0.1').on('error', () => undefined)
  const closed = once(silent, 'close')
  await until('somebody else is served', async () => (await request(`${server.url}/`, { headers: { connection: 'close' } }).catch(() => undefined))?.status === 200)
  await closed
  assert.deepEqual([busy.destroyed, slow.destroyed], [false, false])
  slow.end('TP/1.1\r\nHost: x\r\n\r\n')
  assert.match(String((await once(slow, 'data'))[0]), /^HTTP\/1\.1 200 /)
  busy.destroy()
})

const QUIET = [
  { name: 'has brought half a head and no more', sent: 'GET / HT', isAnswered: false },
  { name: 'has brought no other request since an answer', sent: 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', isAnswered: true },
]

test('where there is room for no more, a connection on which nothing is done gives way after ten seconds', { concurrency: true }, async (t) => {
  const rows = QUIET.map(({ name, sent, isAnswered }) =>
    t.test(`one that ${name}`, async (t) => {
      const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_CONNECTIONS: '2' } })
      const [busy, quiet] = [openUpload(server.port, 200_000), connect(server.port, '127.0.0.1').on('error', () => undefined)]
      t.after(() => busy.destroy())
      quiet.write(sent)
      if (isAnswered) assert.match(String((await once(quiet, 'data'))[0]), /^HTTP\/1\.1 200 /)
      await until('it is under way', async () => (await listUploads(server.basedir)).length === 1)
      const closed = once(quiet.resume(), 'close')
      const visit = () => request(`${server.url}/`, { headers: { connection: 'close' } }).catch(() => undefined)
      isRefusal((await visit()) ?? assert.fail('no answer'), 503, 'too_busy')
      await until('somebody else is served', async () => (await visit())?.status === 200)
      await closed
      assert.equal(busy.destroyed, false)
    }),
  )
  await Promise.all(rows)
})

/** Says whether the process that listens on a port still has the connection from another one (proc_net(5)). */
async function isOpen(port: number, from: number): Promise<boolean> {
  const ends = [port, from].map((each) => each.toString(16).toUpperCase().padStart(4, '0'))
  const rows = (await readFile('/proc/net/tcp', 'utf8')).split('\n').map((line) => line.trim().split(/\s+/))
  return rows.some(([, local, remote, , , , , , , inode]) => inode !== '0' && local?.endsWith(`:${ends[0]}`) === true && remote?.endsWith(`:${ends[1]}`) === true)
}

test('one address has a quarter of the places of unknown senders, and a good token needs none', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_SUBMISSIONS: '8' } })
  const authToken = await askToken(server)
  const waiting = [openUpload(server.port, 200_000), openUpload(server.port, 200_000)]
  await until('they are under way', async () => (await listUploads(server.basedir)).length === 2)
  isRefusal(await submitForm(server, [['responses', '1'], ['auth_token', authToken]]), 503, 'too_busy')
  assert.equal((await submitForm(server, [['responses', '1']], { Authorization: `Bearer ${authToken}` })).status, 200)
  for (const socket of waiting) socket.destroy()
})

test('short texts beyond what one form may keep in memory are kept as files', async (t) => {
  const server = await startServer(t)
  const texts: Entry[] = Array.from({ length: 10 }, (_, index) => [`note${index}`, String(index).repeat(60_000)])
  const answer = await submitForm(server, [['auth_token', await askToken(server)], ...texts])
  assert.equal(answer.status, 200, answer.text)
  const [receipt] = await readReceipts(server.basedir, 'study')
  const fields = (receipt?.['fields'] ?? []) as { name: string; value: string }[]
  assert.deepEqual(fields.map(({ name }) => name), ['note0', 'note1', 'note2', 'note3'])
  assert.deepEqual(filesOf(answer).map(({ name, bytes }) => [name, bytes]), texts.slice(4).map(([name]) => [`${name}.txt`, 60_000]))
})

test('a text that became a file takes no room of the texts that are kept in memory', async (t) => {
  const server = await startServer(t)
  const note = 'x'.repeat(60_000)
  const long: Entry[] = Array.from({ length: 10 }, (_, index) => [`long${index}`, String(index).repeat(160_000)])
  const answer = await submitForm(server, [['auth_token', await askToken(server)], ...long, ['note', note]])
  assert.equal(answer.status, 200, answer.text)
  const [receipt] = await readReceipts(server.basedir, 'study')
  assert.deepEqual(receipt?.['fields'], [{ name: 'note', value: note }])
  assert.deepEqual(filesOf(answer).map(({ name, bytes }) => [name, bytes]), long.map(([name]) => [`${name}.txt`, 160_000]))
})

test('names of parts are bounded as texts are', async (t) => {
  const server = await startServer(t)
  const parts = Array.from({ length: 300 }, () => `--b\r\nContent-Disposition: form-data; name="${'n'.repeat(15_000)}"\r\n\r\n\r\n`)
  const body = `${parts.join('')}--b--\r\n`
  isRefusal(await request(`${server.url}/submit`, { method: 'POST', body, headers: { 'Content-Type': 'multipart/form-data; boundary=b' } }), 413, 'fields_too_large')
})

const kept = [
  { name: 'texts by unknown senders', isKnown: false, parts: Array.from({ length: 4 }, (_, index) => `--b\r\nContent-Disposition: form-data; name="t${index}"\r\n\r\n${'x'.repeat(64_000)}\r\n`) },
  { name: 'small files by unknown senders', isKnown: false, parts: Array<string>(900).fill('--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nx\r\n') },
  { name: 'small files by known senders', isKnown: true, parts: Array<string>(900).fill('--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nx\r\n') },
]
for (const { name, isKnown, parts } of kept) test(`what is kept in memory of ${name} is bounded, and given back`, async (t) => {
  const server = await startServer(t)
  const body = parts.join('')
  const field = isKnown ? `Authorization: Bearer ${await askToken(server)}\r\n` : ''
  const head = `POST /submit HTTP/1.1\r\nHost: x\r\n${field}Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n`
  const sockets = Array.from({ length: 300 }, () => connect({ port: server.port, host: '127.0.0.1' }))
  const refused: string[] = []
  for (const socket of sockets) {
    socket.on('error', () => undefined).on('data', (chunk) => refused.push(chunk.toString('latin1')))
    socket.write(head + body)
  }
  await until('some are refused', () => refused.some((text) => text.includes('"code":"too_busy"')))
  for (const socket of sockets) socket.destroy()
  const authToken = await askToken(server)
  await until('there is room again', async () => (await submitForm(server, [['auth_token', authToken], ['note', 'x']])).status === 200)
})
