import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import {
  ADMIN_TOKEN,
  askToken,
  listFiles,
  listUploads,
  needs,
  readAll,
  request,
  startServer,
  submitForm,
  until,
  type Entry,
} from './harness.ts'
import { isAnswer, startTraced, type Call } from './trace.ts'

const FILE: Entry = ['file', Buffer.from('voice'), 'voice.wav']
const ANSWERS: Entry = ['responses', '{"a":1}']

type Step = readonly [description: string, matches: (call: Call) => boolean]

const sync = (path: RegExp): Step => [`sync of ${path}`, ({ name, paths }) => /^f(data)?sync$/.test(name) && path.test(paths[0] ?? '')]
const made = (path: RegExp): Step => [`mkdir of ${path}`, ({ name, paths, result }) => name.startsWith('mkdir') && path.test(paths[0] ?? '') && result === '0']
const created = (path: RegExp): Step => [
  `creation of ${path}`,
  ({ name, paths, text }) => name === 'openat' && text.includes('O_EXCL') && path.test(paths[0] ?? ''),
]
const written = (path: RegExp): Step => [`write to ${path}`, ({ name, paths }) => name.includes('write') && path.test(paths[0] ?? '')]
const linked = (path: RegExp): Step => [
  `link to ${path}`,
  ({ name, paths, result }) => name.startsWith('link') && path.test(paths.at(-1) ?? '') && result === '0',
]
const renamed: Step = ['rename', ({ name }) => name.startsWith('rename')]
const answered: Step = ['answer', isAnswer]

const PART = /\/staging\/[^/]+\/\d+\.part$/
const INTENT = /\/staging\/[^/]+\/\d+\.intent\.json$/
const RECEIPTS = /\/receipts\/study\/[^/]+\.ndjson$/

// The requests go to one server, one after another; each row looks at the calls since the answer before its own.
const rows: { name: string; send: (server: { url: string }, authToken: string) => Promise<unknown>; orders: Step[][] }[] = [
  {
    name: 'an auth token and its name are synced before it is told',
    send: (server) => askToken(server),
    orders: [[created(/\/tokens\/\w+\.json$/), written(/\/tokens\/\w+\.json$/), sync(/\/tokens\/\w+\.json$/), sync(/\/tokens$/), answered]],
  },
  {
    name: 'a registered app and its name are synced before the answer',
    send: (server) => request(`${server.url}/register?token=${ADMIN_TOKEN}&callback_url=https://study.example.org/`),
    orders: [[created(/\/clients\/\w+\.json$/), written(/\/clients\/\w+\.json$/), sync(/\/clients\/\w+\.json$/), sync(/\/clients$/), answered]],
  },
  {
    name: 'the first file of a project is synced, then linked, its directories and its receipt synced, then promised',
    send: (server, authToken) => submitForm(server, [FILE, ['auth_token', authToken]]),
    orders: [
      [written(PART), sync(PART), linked(/\/study\/[^/]+-voice\.wav$/), sync(/\/responses\/study$/), written(RECEIPTS), sync(RECEIPTS), answered],
      [made(/\/responses\/study$/), sync(/\/responses$/), linked(/\/study\/[^/]+-voice\.wav$/)],
      [made(/\/receipts\/study$/), sync(/\/receipts$/), answered],
      [created(RECEIPTS), sync(/\/receipts\/study$/), answered],
    ],
  },
  {
    name: 'a later file has the same order',
    send: (server, authToken) => submitForm(server, [['auth_token', authToken], ['file', Buffer.from('later'), 'voice.wav']]),
    orders: [[written(PART), sync(PART), linked(/voice\.wav$/), sync(/\/responses\/study$/), written(RECEIPTS), sync(RECEIPTS), answered]],
  },
  {
    name: 'several files are linked after the note of what is to be linked is durable',
    send: (server, authToken) => submitForm(server, [['auth_token', authToken], FILE, FILE, ANSWERS]),
    orders: [
      [
        ...[sync(PART), sync(PART), sync(PART)],
        ...[created(INTENT), written(INTENT), sync(INTENT), sync(/\/staging\/[^/]+$/)],
        ...[linked(/Z-voice\.wav$/), linked(/Z-2-voice\.wav$/), linked(/Z-messages\.json$/)],
        ...[sync(/\/responses\/study$/), written(RECEIPTS), sync(RECEIPTS), answered],
      ],
    ],
  },
  {
    name: 'answers alone are as durable as a file',
    send: (server, authToken) =>
      request(`${server.url}/submit`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ auth_token: authToken, responses: { a: 1 } }),
      }),
    orders: [[written(PART), sync(PART), linked(/Z-messages\.json$/), sync(/\/responses\/study$/), written(RECEIPTS), sync(RECEIPTS), answered]],
  },
]

test('what is answered with 200 is durable before the first byte of the answer', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const server = await startTraced(t)
  const authToken = await askToken(server)
  for (const row of rows) await row.send(server, authToken)
  const calls = await server.calls()
  const answers = calls.filter(isAnswer)
  assert.deepEqual(answers.map(({ text }) => /"HTTP\/1\.1 (\d+)/.exec(text)?.[1]), ['200', ...rows.map(() => '200')])
  for (const [index, { name, orders }] of rows.entries()) {
    const [from, to] = [answers[index], answers[index + 1]]
    const own = calls.filter((call) => call.began > (from?.began ?? 0) && call.began <= (to?.began ?? 0))
    await t.test(name, () => {
      for (const order of orders) assertOrder(own, order)
    })
  }
  await t.test('nothing is renamed while requests are served', () => assert.equal(calls.find(renamed[1]), undefined))
})

test('the directories are durable before the server says that it listens', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const server = await startTraced(t)
  const calls = await server.calls()
  const listening: Step = ['listening', ({ text }) => text.includes('Listening on http')]
  for (const path of ['uploads', 'uploads/responses', 'uploads/staging', 'receipts', 'tokens', 'clients']) {
    const parent = join(server.basedir, path, '..')
    assertOrder(calls, [made(new RegExp(`^${join(server.basedir, path)}$`)), sync(new RegExp(`^${parent}$`)), listening])
  }
})

test('other requests are answered while the disk is slow: the thread that answers touches no file', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const server = await startTraced(t, 'fsync,fdatasync:delay_enter=150000', { env: { UV_THREADPOOL_SIZE: '4' } })
  const authToken = await askToken(server)
  const answered: string[] = []
  const note = (name: string) => () => void answered.push(name)
  const submissions = ['a', 'b', 'c'].map((name) =>
    submitForm(server, [['auth_token', authToken], ['file', Buffer.alloc(300_000), name], ANSWERS]).then(note('submission')),
  )
  await until('bytes are staged', async () => (await listUploads(server.basedir)).some((path) => path.endsWith('.part')))
  const isDone = () => answered.includes('submission')
  while (!isDone()) await request(`${server.url}/`).then(note('other')) // a submission waits for at least five syncs more
  await Promise.all(submissions)
  assert.equal(answered[0], 'other')

  const calls = await server.calls()
  const main = calls.find(isAnswer)?.thread
  const listening = calls.findLast(({ text }) => text.includes('Data goes to'))?.ended ?? 0
  const lastAnswer = calls.findLast(isAnswer)?.ended ?? 0
  const onMain = calls.filter((call) => call.thread === main && call.began > listening && call.ended < lastAnswer)
  assert.deepEqual(onMain.filter(({ name, paths }) => !name.includes('write') || paths.some((path) => path.startsWith(server.basedir))), [])
})

test('nothing of an upload is visible in the project directory while it runs', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const [head, tail] = ['--b\r\nContent-Disposition: form-data; name="f"; filename="slow.wav"\r\n\r\n', '\r\n--b--\r\n']
  const content = Buffer.alloc(1_000_000, 'v')
  const socket = connect(server.port, '127.0.0.1')
  const answer = readAll(socket)
  socket.write(
    `POST /submit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer ${authToken}\r\n` +
      'Content-Type: multipart/form-data; boundary=b\r\n' +
      `Content-Length: ${head.length + content.length + tail.length}\r\n\r\n${head}`,
  )
  socket.write(content.subarray(0, 900_000))
  await until('bytes are staged', async () => (await listUploads(server.basedir)).length === 1)
  assert.deepEqual(await listFiles(join(server.basedir, 'uploads', 'responses')), [])
  assert.deepEqual(await listFiles(join(server.basedir, 'receipts')), [])
  socket.write(content.subarray(900_000))
  socket.write(tail)
  assert.match(await answer, /^HTTP\/1\.1 200 /)
  assert.equal((await listUploads(server.basedir)).filter((path) => path.startsWith('responses/study/')).length, 1)
})

/** Each step begins when the one before it has ended. */
function assertOrder(calls: readonly Call[], steps: readonly Step[]): void {
  let after = -1
  let before = 'the beginning'
  for (const [description, matches] of steps) {
    const call = calls.find((each) => each.began > after && matches(each))
    assert.ok(call !== undefined, `no ${description} after ${before} in\n${calls.map(formatCall).join('\n')}`)
    after = call.ended
    before = description
  }
}

function formatCall({ name, text, result }: Call): string {
  return `${name}(${text.slice(0, 300)}) = ${result}`
}
