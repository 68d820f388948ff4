import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { askToken, listUploads, request, sendRaw, startServer, submitForm, until, type Answer } from './harness.ts'

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
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_UNKNOWN_BYTES_PER_ADDRESS: '1000000' } })
  const authToken = await askToken(server)
  const file = randomBytes(2_000_000)
  const answer = await submitForm(server, [['file', file, 'a.wav'], ['auth_token', authToken]])
  isRefusal(answer, 503, 'too_busy')
  assert.equal(answer.headers.get('retry-after'), '60')
  assert.equal((await submitForm(server, [['auth_token', authToken], ['file', file, 'a.wav']])).status, 200)
  assert.equal((await submitForm(server, [['file', file, 'b.wav']], { Authorization: `Bearer ${authToken}` })).status, 200)

  const waiting = openUpload(server.port, 900_000)
  await until('the bytes are staged', async () => (await listUploads(server.basedir)).some((path) => path.startsWith('staging/')))
  isRefusal(await submitForm(server, [['file', randomBytes(200_000), 'c.wav'], ['auth_token', authToken]]), 503, 'too_busy')
  waiting.destroy()
  await until('the allowance is given back', async () => {
    return (await submitForm(server, [['file', randomBytes(200_000), 'd.wav'], ['auth_token', authToken]])).status === 200
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
  const held = [connect(server.port, '127.0.0.1'), connect(server.port, '127.0.0.1')]
  await Promise.all(held.map((socket) => once(socket, 'connect')))
  const text = await sendRaw(server.port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  assert.match(text, /^HTTP\/1\.1 503 [\s\S]*Retry-After: 60[\s\S]*"code":"too_busy"/)
  for (const socket of held) socket.destroy()
  await until('there is room again', async () => {
    const answer = await request(`${server.url}/`).catch(() => undefined)
    return answer?.status === 200
  })
})
