import assert from 'node:assert/strict'
import { readFile, readlink, stat, writeFile } from 'node:fs/promises'
import { request as httpRequest, type RequestOptions } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { takePassedSockets } from '../lib/http/activation.ts'
import { HAS_IPV6, startActivated } from './activated.ts'
import { askToken, needs, readReceipts, request, runProgram, startServer, temporaryDirectory, until } from './harness.ts'
import { formBody, Wire } from './wire.ts'

const variables = [
  { name: 'sockets for this process', env: { LISTEN_PID: '7', LISTEN_FDS: '2', LISTEN_FDNAMES: 'a:b' }, expected: [3, 4] },
  { name: 'sockets for another process', env: { LISTEN_PID: '8', LISTEN_FDS: '2' }, expected: [] },
  { name: 'sockets for nobody', env: { LISTEN_FDS: '2' }, expected: [] },
  { name: 'no sockets', env: { LISTEN_PID: '7' }, expected: [] },
  { name: 'none of them', env: { LISTEN_PID: '7', LISTEN_FDS: '0' }, expected: [] },
  { name: 'a number that is none', env: { LISTEN_PID: '7', LISTEN_FDS: '2x' }, expected: [] },
  { name: 'a process id that is none', env: { LISTEN_PID: '7x', LISTEN_FDS: '2' }, expected: [] },
]
for (const { name, env, expected } of variables) {
  test(`passed sockets: ${name}; the variables are removed`, () => {
    const environment: Record<string, string | undefined> = { PATH: '/bin', ...env }
    assert.deepEqual(takePassedSockets(environment, 7), expected)
    assert.deepEqual(Object.keys(environment), ['PATH'])
  })
}

test('sockets that are meant for another process are left alone', async (t) => {
  const server = await startServer(t, { env: { LISTEN_PID: '1', LISTEN_FDS: '1' } })
  assert.equal((await request(server.url)).status, 200)
})

test('a descriptor that is no socket stops the start with a sentence', async (t) => {
  const basedir = await temporaryDirectory(t)
  const env = { REPROSCHEMA_BACKEND_BASEDIR: basedir, LISTEN_FDS: '1' }
  const { status, stderr } = runProgram([], env, basedir, ['bash', '-c', 'LISTEN_PID=$$ exec "$0" "$@" 3</dev/null'])
  assert.deepEqual([status, stderr], [1, 'Cannot listen on the sockets that were passed in (LISTEN_FDS=1): listen EINVAL: invalid argument\n'])
})

test('the server listens on every socket that it was passed: IPv4, IPv6 and Unix', async (t) => {
  if (!needs(t, 'systemd-socket-activate', 'systemd')) return
  const socketPath = join(await temporaryDirectory(t), 'socket')
  const server = await startActivated(t, { sockets: [socketPath, ...(HAS_IPV6 ? ['[::1]:PORT'] : [])] })
  const ways: RequestOptions[] = [{ host: '127.0.0.1', port: server.port }, { socketPath }, ...(HAS_IPV6 ? [{ host: '::1', port: server.port }] : [])]
  for (const way of ways) assert.deepEqual(await ask(way), { status: 200, text: '{"hello":"world"}' })
  await server.restart()
  for (const way of ways) assert.deepEqual(await ask(way), { status: 200, text: '{"hello":"world"}' })
  assert.ok((await stat(socketPath)).isSocket(), 'the Unix socket has stayed')
  const log = async () => readFile(join(server.basedir, 'logs', 'access.log'), 'utf8')
  await until('the addresses are in the log', async () => (await log()).split('\n').length > 2 * ways.length)
  const addresses = (await log()).split('\n').slice(0, -1).map((line) => line.split(' ')[0])
  assert.deepEqual(new Set(addresses), new Set(['127.0.0.1', 'unix', ...(HAS_IPV6 ? ['::1'] : [])]))
})

test('a program that the server starts has neither the sockets nor the variables', async (t) => {
  if (!needs(t, 'systemd-socket-activate', 'systemd')) return
  const directory = await temporaryDirectory(t)
  const [preloaded, seen] = [join(directory, 'preloaded.cjs'), join(directory, 'seen')]
  const look = "env; for each in /proc/self/fd/*; do readlink \"$each\"; done"
  await writeFile(
    preloaded,
    `process.on('exit', () => require('fs').writeFileSync(${JSON.stringify(seen)}, require('child_process').spawnSync('sh', ['-c', ${JSON.stringify(look)}]).stdout))`,
  )
  const server = await startActivated(t, { env: { NODE_OPTIONS: `--require=${preloaded}` } })
  const socket = await readlink(`/proc/${server.pid()}/fd/3`)
  assert.match(await readFile(`/proc/${server.pid()}/environ`, 'utf8'), /LISTEN_FDS=1/)
  await server.restart()
  const text = await readFile(seen, 'utf8')
  assert.match(text, /^REPROSCHEMA_BACKEND_TOKEN=/m)
  assert.doesNotMatch(text, /LISTEN_/)
  assert.ok(!text.split('\n').includes(socket), text)
})

test('a restart refuses no connection and loses no upload', async (t) => {
  if (!needs(t, 'systemd-socket-activate', 'systemd')) return
  const socketPath = join(await temporaryDirectory(t), 'socket')
  const server = await startActivated(t, { sockets: [socketPath] })
  const authToken = await askToken({ url: `http://127.0.0.1:${server.port}` })
  const body = formBody(authToken, Buffer.alloc(20_000, 'voice '))
  const headers = { 'Content-Type': 'multipart/form-data; boundary=the-boundary', 'Content-Length': body.length }
  const [failures, accepted]: [string[], number[]] = [[], [0, 0, 0, 0]]
  let isDone = false
  const clients = accepted.map(async (_, client) => {
    const way = client % 2 === 0 ? { host: '127.0.0.1', port: server.port } : { socketPath }
    while (!isDone) {
      const answer = await ask({ ...way, method: 'POST', path: '/submit', headers }, body)
      if (answer.status === 200) accepted[client] = (accepted[client] ?? 0) + 1
      else failures.push(answer.text)
    }
  })
  for (let restart = 0; restart < 3; restart++) {
    await server.restart()
    const before = [...accepted]
    await until('each client has been served again', () => failures.length > 0 || accepted.every((count, client) => count > (before[client] ?? 0)))
  }
  isDone = true
  await Promise.all(clients)
  assert.deepEqual(failures, [])
  const files = (await readReceipts(server.basedir, 'study')).map((receipt) => receipt['id'])
  assert.equal(new Set(files).size, accepted.reduce((sum, count) => sum + count, 0))
})

const failures = [
  { name: 'by a setting', env: { REPROSCHEMA_BACKEND_MAX_PARTS: 'oops' }, says: /MAX_PARTS/ },
  { name: 'by several processes', env: { REPROSCHEMA_BACKEND_WORKERS: '2' }, says: /WORKERS/ },
  { name: 'by a certificate', env: { REPROSCHEMA_BACKEND_TLS_CERT: '/nowhere', REPROSCHEMA_BACKEND_TLS_KEY: '/nowhere' }, says: /certificate/ },
]

for (const { name, env, says } of failures) {
  test(`while every start fails ${name} whoever comes is told to come again`, async (t) => {
    if (!needs(t, 'systemd-socket-activate', 'systemd')) return
    const socketPath = join(await temporaryDirectory(t), 'socket')
    const server = await startActivated(t, { sockets: [socketPath], env, isToListen: false })
    const body = Buffer.alloc(3_000_000)
    const headers = { 'Content-Type': 'multipart/form-data; boundary=b', 'Content-Length': body.length }
    const ended = () => [...server.output().matchAll(/^ended [12]$/gm)].length
    for (const way of [{ port: server.port, host: '127.0.0.1' }, { socketPath }]) {
      const answers = await Promise.all([ask({ ...way, path: '/readyz' }), ask({ ...way, path: '/submit', method: 'POST', headers }, body)])
      for (const { status, text } of answers) assert.deepEqual([status, status === 503 ? JSON.parse(text).code : text], [503, 'stopping'])
      await until('that server has ended', () => ended() > 0)
    }
    assert.match(server.output(), says)
  })
}

test('a stop waits for the request of a connection that was just opened', async (t) => {
  const server = await startServer(t)
  const wire = await Wire.open(server.port)
  await request(server.url) // the server takes connections in their order: it has the one before
  const ended = server.stop()
  await until('it is stopping', () => server.output().includes('Stopping'))
  await wire.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  const [answer] = await wire.answers(1)
  assert.deepEqual([answer?.status, answer?.headers['connection']], [200, 'close'])
  assert.equal(await ended, 0)
})

/** Sends one request over a connection of its own; what fails is told as text. */
function ask(options: RequestOptions, body?: Buffer): Promise<{ status: number; text: string }> {
  return new Promise((done) => {
    const asked = httpRequest({ agent: false, ...options }, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (piece: string) => (text += piece))
      answer.on('end', () => done({ status: answer.statusCode ?? 0, text }))
      answer.on('error', (error) => done({ status: 0, text: String(error) }))
    })
    asked.on('error', (error) => done({ status: 0, text: String(error) }))
    asked.end(body)
  })
}
