import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { askToken, listUploads, needs, readReceipts, sleep, startServer, until, type Running, type StartOptions } from './harness.ts'
import { ONLY_TRACED } from './trace.ts'
import { chunks, formBody, submission, submitHead, Wire } from './wire.ts'

const HOST = 'Host: localhost\r\n'
const MEGABYTE = 1_000_000
const SOON_SECONDS = 40 // for a busy machine, and less than whatever a stop could wait for by mistake
const PATIENT = { REPROSCHEMA_BACKEND_STOP_SECONDS: '600' }

interface Scene {
  readonly server: Running
  readonly authToken: string
}

async function start(t: TestContext, env: StartOptions['env'] = PATIENT): Promise<Scene> {
  const server = await startServer(t, { env })
  return { server, authToken: await askToken(server) }
}

/** Begins an upload of a megabyte, of which all but the last bytes are staged. */
async function beginUpload({ server, authToken }: Scene): Promise<{ wire: Wire; content: Buffer; finish: () => Promise<void> }> {
  const content = Buffer.alloc(MEGABYTE, 'voice ')
  const body = formBody(authToken, content)
  const wire = await Wire.open(server.port)
  await wire.write(submitHead(`Content-Length: ${body.length}`))
  await wire.write(body.subarray(0, MEGABYTE))
  await until('it is staged', async () => (await listUploads(server.basedir)).length > 0)
  return { wire, content, finish: () => wire.write(body.subarray(MEGABYTE)) }
}

function isRefused(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', (error: NodeJS.ErrnoException) => done(error.code === 'ECONNREFUSED'))
    socket.on('connect', () => {
      socket.destroy()
      done(false)
    })
  })
}

async function assertEndsSoon(ended: Promise<number | string>, expected: number): Promise<void> {
  let code: number | string | undefined
  void ended.then((value) => (code = value))
  await until('the server has ended', () => code !== undefined, SOON_SECONDS)
  assert.equal(code, expected)
}

async function assertNothingStaged(server: Running): Promise<void> {
  assert.deepEqual(await readdir(join(server.basedir, 'uploads/staging')), [])
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal}: an upload under way is accepted, new connections are not`, async (t) => {
    const scene = await start(t)
    const { server } = scene
    const { wire, content, finish } = await beginUpload(scene)
    const ended = server.stop(signal)
    await until('new connections are refused', () => isRefused(server.port))
    await finish()
    const [answer] = await wire.answers(1)
    assert.equal(answer?.status, 200, answer?.text)
    assert.equal(answer.headers['connection'], 'close')
    await assertEndsSoon(ended, 0)
    const [file] = answer.json['files'] as { stored_as: string }[]
    assert.deepEqual(await readFile(join(server.basedir, 'uploads/responses/study', file?.stored_as ?? '')), content)
    assert.deepEqual((await readReceipts(server.basedir, 'study')).map((receipt) => receipt['id']), [answer.json['id']])
    await assertNothingStaged(server)
  })

  test(`${signal}: connections that ask for nothing do not delay the end`, async (t) => {
    const { server, authToken } = await start(t)
    const kinds = [
      { name: 'never used', sent: '', answers: 0 },
      { name: 'kept alive', sent: `GET / HTTP/1.1\r\n${HOST}\r\n`, answers: 1 },
      { name: 'kept alive after a submission', sent: submission(authToken, 'voice'), answers: 1 },
      { name: 'kept alive, with half a head', sent: `GET / HTTP/1.1\r\n${HOST}\r\nGET /`, answers: 1 },
      { name: 'half a request line', sent: 'GET / HT', answers: 0 },
      { name: 'refused as no HTTP', sent: 'nonsense\r\n\r\n', answers: 1 },
      { name: 'refused as a tunnel', sent: 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', answers: 1 },
    ]
    const wires: Wire[] = []
    for (const { sent, answers } of kinds) {
      for (let count = 0; count < 5; count++) {
        const wire = await Wire.open(server.port, { allowHalfOpen: true })
        if (sent !== '') await wire.write(sent)
        await wire.answers(answers)
        wires.push(wire)
      }
    }
    await assertEndsSoon(server.stop(signal), 0)
    for (const wire of wires) wire.socket.destroy()
  })
}

// Waits, side by side.
describe('a stop that something holds up', { concurrency: 4 }, () => {
  const stalled: { name: string; send: (body: Buffer) => (Buffer | string)[]; isWaiting?: boolean }[] = [
    { name: 'a file that stands still', send: (body: Buffer) => [submitHead(`Content-Length: ${body.length}`), body.subarray(0, MEGABYTE)] },
    { name: 'chunks that stand still', send: (body: Buffer) => [submitHead('Transfer-Encoding: chunked'), chunks(body)] },
    {
      name: 'a body of which nothing has come',
      send: (body: Buffer) => [submitHead(`Content-Length: ${body.length}`, 'Expect: 100-continue')],
      isWaiting: true,
    },
  ]
  for (const seconds of [0, 1]) {
    for (const { name, send, isWaiting = false } of stalled) {
      test(`${name} delays the end by the stop seconds: ${seconds}`, async (t) => {
        const scene = await start(t, { REPROSCHEMA_BACKEND_STOP_SECONDS: String(seconds) })
        const wire = await Wire.open(scene.server.port)
        for (const piece of send(formBody(scene.authToken, Buffer.alloc(MEGABYTE)))) await wire.write(piece)
        if (isWaiting) assert.equal((await wire.answers(1))[0]?.status, 100)
        else await until('it is staged', async () => (await listUploads(scene.server.basedir)).length > 0)
        const ended = scene.server.stop('SIGTERM')
        await wire.closed
        const answer = (await wire.answers(1)).at(-1)
        assert.equal(answer?.status, 503)
        assert.equal(answer.json['code'], 'stopping')
        assert.equal(answer.headers['retry-after'], '60')
        assert.equal(answer.headers['access-control-allow-origin'], '*')
        await assertEndsSoon(ended, 0)
        await assertNothingStaged(scene.server)
        assert.deepEqual(await listUploads(scene.server.basedir), [])
      })
    }
  }

  test('an upload that keeps moving and does not end is cut after the stop seconds', async (t) => {
    const scene = await start(t, { REPROSCHEMA_BACKEND_STOP_SECONDS: '1' })
    const { wire } = await beginUpload(scene)
    const moving = setInterval(() => void wire.write('a'), 50)
    t.after(() => clearInterval(moving))
    await assertEndsSoon(scene.server.stop('SIGTERM'), 0)
    await assertNothingStaged(scene.server)
  })

  test('a client that is refused and goes on sending does not delay the end', async (t) => {
    const scene = await start(t, { REPROSCHEMA_BACKEND_STOP_SECONDS: '1' })
    const wire = await Wire.open(scene.server.port, { allowHalfOpen: true })
    await wire.write(submitHead('Transfer-Encoding: chunked').replace('/submit', '/nowhere'))
    assert.equal((await wire.answers(1))[0]?.status, 404)
    const moving = setInterval(() => void wire.write('1\r\na\r\n'), 50)
    t.after(() => clearInterval(moving))
    await assertEndsSoon(scene.server.stop('SIGTERM'), 0)
  })

  test('what was answered with 200 while the server stopped is whole, and nothing else is there', async (t) => {
    const { server, authToken } = await start(t)
    const contents = Array.from({ length: 40 }, (_, index) => `voice ${index}`)
    const wires = await Promise.all(contents.map(() => Wire.open(server.port)))
    const sent = wires.map((wire, index) => wire.write(submission(authToken, contents[index] ?? '')))
    await wires[0]?.answers(1)
    await assertEndsSoon(server.stop('SIGTERM'), 0)
    await Promise.all([...sent, ...wires.map((wire) => wire.closed)])
    const answers = await Promise.all(wires.map((wire) => wire.answers(0)))
    const accepted = answers.flat().filter((answer) => answer.status === 200)
    const files = accepted.flatMap((answer) => answer.json['files'] as { stored_as: string }[])
    assert.ok(accepted.length > 0, 'accepted.length > 0')
    assert.deepEqual(await listUploads(server.basedir), files.map((file) => `responses/study/${file.stored_as}`).toSorted())
    assert.equal((await readReceipts(server.basedir, 'study')).length, accepted.length)
    await assertNothingStaged(server)
  })

  test('uploads whose clients are gone are published or removed before the end, also on a slow disk', async (t) => {
    if (!needs(t, 'strace', 'strace')) return
    const slowly = ['strace', '-DD', '-f', ONLY_TRACED, '-qq', '-o', '/dev/null', '-e', 'trace=fsync', '-e', 'inject=fsync:delay_exit=150000']
    const server = await startServer(t, { env: PATIENT, through: slowly })
    const authToken = await askToken(server)
    const wires = await Promise.all(Array.from({ length: 8 }, () => Wire.open(server.port)))
    await Promise.all(wires.map((wire, index) => wire.write(submission(authToken, Buffer.alloc(MEGABYTE, `voice ${index} `)))))
    await until('one is in place', async () => (await listUploads(server.basedir)).some((file) => file.startsWith('responses/')))
    for (const wire of wires) wire.socket.resetAndDestroy()
    await assertEndsSoon(server.stop('SIGTERM'), 0)
    await assertNothingStaged(server)
    const published = await listUploads(server.basedir)
    assert.equal((await readReceipts(server.basedir, 'study')).length, published.length)
  })

  for (const [first, second] of [['SIGTERM', 'SIGTERM'], ['SIGTERM', 'SIGINT'], ['SIGINT', 'SIGINT']] as const) {
    test(`${second} after ${first} ends the server at once, and the next start removes what it left`, async (t) => {
      const scene = await start(t)
      await beginUpload(scene)
      const ended = scene.server.stop(first)
      await until('it is stopping', () => scene.server.output().includes('Stopping'))
      await sleep(1100) // sooner it counts as the same request, which npm and a terminal both pass on
      void scene.server.stop(second)
      await assertEndsSoon(ended, 1)
      const next = await startServer(t, { basedir: scene.server.basedir })
      assert.deepEqual(await listUploads(next.basedir), [])
      await askToken(next)
      await assertEndsSoon(next.stop(), 0)
      await assertNothingStaged(next)
    })
  }
})
