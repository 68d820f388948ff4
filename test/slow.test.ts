import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { Cors } from '../lib/http/cors.ts'
import { TrustedProxies } from '../lib/http/proxies.ts'
import { Router, type Routes } from '../lib/http/router.ts'
import type { HttpServerParts } from '../lib/http/server-parts.ts'
import { HttpServer } from '../lib/http/server.ts'
import { askToken, countSockets, listUploads, sleep, startServer, until } from './harness.ts'
import { sha256Of } from './sha256.ts'
import { chunks, fileStart, formBody, LAST_CHUNK, submitHead, Wire, type WireAnswer } from './wire.ts'

const HOST = 'Host: localhost\r\n'
const IDLE = { REPROSCHEMA_BACKEND_IDLE_SECONDS: '1' }
const BAD_TOKEN = `study-${'0'.repeat(32)}`
const MEGABYTE = 1_000_000

function assertRefused(answer: WireAnswer | undefined, status: number): void {
  assert.ok(answer, 'answer')
  assert.equal(answer.status, status, answer.text)
  assert.equal(answer.headers['content-type'], 'application/json')
  assert.equal(answer.headers['access-control-allow-origin'], '*')
  assert.match(String(answer.json['message']), /^[A-Z].*\.$/)
}

// Waits, side by side.
describe('time', { concurrency: true }, () => {
  test('a body that stands still is refused with 408 and leaves nothing', { concurrency: true }, async (t) => {
    const server = await startServer(t, { env: IDLE })
    const authToken = await askToken(server)
    const half = Buffer.concat([fileStart(), Buffer.alloc(MEGABYTE)])
    const whole = formBody(authToken, 'voice')
    const cases = [
      { name: 'in the middle of a file', sent: [submitHead('Content-Length: 2000000'), half] },
      { name: 'in the middle of a file in chunks', sent: [submitHead('Transfer-Encoding: chunked'), chunks(half)] },
      { name: 'before its first byte', sent: [submitHead('Content-Length: 2000000')] },
      { name: 'after the client was told to go on', sent: [submitHead('Content-Length: 2000000', 'Expect: 100-continue')] },
      { name: 'one byte before its end', sent: [submitHead(`Content-Length: ${whole.length}`), whole.subarray(0, -1)] },
      { name: 'before the last chunk of a form that is whole', sent: [submitHead('Transfer-Encoding: chunked'), chunks(whole)] },
    ]
    const rows = cases.map(({ name, sent }) =>
      t.test(name, async () => {
        const wire = await Wire.open(server.port)
        for (const piece of sent) await wire.write(piece)
        const count = name.includes('told') ? 2 : 1
        assertRefused((await wire.answers(count)).at(-1), 408)
        await wire.closed
      }),
    )
    await Promise.all(rows)
    await until('nothing is staged', async () => (await listUploads(server.basedir)).length === 0)
  })

  test('a server that stood still itself reads what has come meanwhile before it calls a client idle', async (t) => {
    const server = await startServer(t, { env: IDLE })
    const body = formBody(await askToken(server), Buffer.alloc(MEGABYTE))
    const wire = await Wire.open(server.port)
    await wire.write(submitHead(`Content-Length: ${body.length}`))
    await wire.write(body.subarray(0, MEGABYTE / 2))
    await until('it is under way', async () => (await listUploads(server.basedir)).length > 0)
    server.process.kill('SIGSTOP')
    const written = wire.write(body.subarray(MEGABYTE / 2))
    await sleep(2000) // twice the limit
    server.process.kill('SIGCONT')
    await written
    assert.equal((await wire.answers(1))[0]?.status, 200)
    wire.socket.destroy()
  })

  test('a client that never closes is closed after a refusal', async (t) => {
    const server = await startServer(t, { env: IDLE })
    const before = await countSockets(server)
    const wire = await Wire.open(server.port, { allowHalfOpen: true })
    await wire.write(submitHead('Content-Length: 2000000') + 'a')
    assertRefused((await wire.answers(1))[0], 408)
    await until('the server lets go of it', async () => (await countSockets(server)) <= before)
    wire.socket.destroy()
  })

  test('a slow upload that keeps moving is accepted, however long it takes', { concurrency: true }, async (t) => {
    const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_IDLE_SECONDS: '3' } })
    const authToken = await askToken(server)
    const submit = async (content: string, write: (body: Buffer) => readonly Buffer[], field: (body: Buffer) => string) => {
      const body = formBody(authToken, content)
      const pieces = write(body)
      const wire = await Wire.open(server.port)
      await wire.write(submitHead(field(body)))
      const began = performance.now()
      for (const piece of pieces) {
        await wire.write(piece)
        await sleep(8000 / pieces.length)
      }
      assert.ok(performance.now() - began > 7000, 'it takes longer than the idle limit')
      const [answer] = await wire.answers(1)
      assert.equal(answer?.status, 200, answer?.text)
      const [file] = answer.json['files'] as { sha256: string }[]
      assert.equal(file?.sha256, sha256Of(content))
      wire.socket.destroy()
    }
    const inPieces = (body: Buffer, count: number): Buffer[] => {
      const size = Math.ceil(body.length / count)
      return Array.from({ length: count }, (_, index) => body.subarray(index * size, (index + 1) * size))
    }
    await Promise.all([
      t.test('a byte at a time', () => submit('one', (body) => Array.from(body, (byte) => Buffer.of(byte)), (body) => `Content-Length: ${body.length}`)),
      t.test('with pauses', () => submit('two', (body) => inPieces(body, 8), (body) => `Content-Length: ${body.length}`)),
      t.test('in chunks', () =>
        submit(
          'three',
          (body) => [...inPieces(body, 8).map((piece) => chunks(piece)), Buffer.from(LAST_CHUNK)],
          () => 'Transfer-Encoding: chunked',
        ),
      ),
    ])
  })

  test('connections that stand still between requests are closed in time', { concurrency: true }, async (t) => {
    const port = await serve(t, { '/': { GET: async () => ({ status: 200, body: {} }) } }, { headSeconds: 3 })
    const slowly = async (wire: Wire, text: string): Promise<void> => {
      for (const character of text) {
        await wire.write(character)
        await sleep(100)
      }
    }
    const heads = [
      { name: 'half a request line', send: (wire: Wire) => wire.write('GET / HT') },
      { name: 'half a head', send: (wire: Wire) => wire.write(`GET / HTTP/1.1\r\n${HOST}X-A: b`) },
      { name: 'a head that comes a byte at a time', send: (wire: Wire) => slowly(wire, `GET / HTTP/1.1\r\n${HOST}X-A: ${'b'.repeat(100)}`) },
    ]
    const rows = heads.map(({ name, send }) =>
      t.test(`${name}: 408`, async () => {
        const wire = await Wire.open(port)
        await Promise.race([send(wire), wire.closed])
        assertRefused((await wire.answers(1))[0], 408)
        await wire.closed
      }),
    )
    await Promise.all([
      ...rows,
      t.test('half a head behind a whole request: 408', async () => {
        const wire = await Wire.open(port)
        await wire.write(`GET / HTTP/1.1\r\n${HOST}\r\nGET /`)
        const answers = await wire.answers(2)
        assert.equal(answers[0]?.status, 200)
        assertRefused(answers[1], 408)
        await wire.closed
      }),
      t.test('a connection that says nothing is closed without a word', async () => {
        const wire = await Wire.open(port)
        await wire.closed
        assert.equal(wire.received, '')
      }),
      t.test('a connection that is kept alive stays open for longer', async () => {
        const wire = await Wire.open(port)
        for (let count = 1; count <= 2; count++) {
          await wire.write(`GET / HTTP/1.1\r\n${HOST}\r\n`)
          assert.equal((await wire.answers(count)).at(-1)?.headers['keep-alive'], 'timeout=75')
          await sleep(4500) // longer than the limits of a head and of a body
        }
        assert.ok(!wire.isEnded, '!wire.isEnded')
        wire.socket.destroy()
      }),
    ])
  })

  test('the time that the server makes a client wait does not count as standing still', async (t) => {
    let bytes = 0
    const port = await serve(t, {
      '/': {
        POST: async (exchange) => {
          const take = (chunk: Buffer) => {
            bytes += chunk.length
            return bytes === chunk.length ? sleep(2500) : undefined // the first chunk meets a disk that stands still
          }
          await exchange.read(take, 1e9)
          return { status: 200, body: { bytes } }
        },
      },
    })
    const wire = await Wire.open(port)
    await wire.write(`POST / HTTP/1.1\r\n${HOST}Content-Length: ${20 * MEGABYTE}\r\n\r\n`)
    let isTaken = false
    const written = wire.write(Buffer.alloc(20 * MEGABYTE)).then(() => (isTaken = true))
    await sleep(1500)
    assert.equal(isTaken, false) // the sender waits, rather than we remember
    await written
    const [answer] = await wire.answers(1)
    assert.deepEqual(answer?.json, { bytes: 20 * MEGABYTE })
    wire.socket.destroy()
  })

  test('a client that sends, and never takes what comes back, is dropped', { concurrency: true }, async (t) => {
    const large = 'a'.repeat(20 * MEGABYTE)
    const given: string[] = []
    const port = await serve(t, {
      '/': { GET: async () => ({ status: 200, body: {} }) },
      '/large': { GET: async () => ({ status: 200, body: { large } }) },
      '/slow': { GET: () => sleep(1000).then(() => ({ status: 200, body: {} })) },
    }, { onAnswered: ({ path }) => given.push(path) })
    await Promise.all([
      t.test('that does not read its answer', async () => {
        const wire = await Wire.open(port, { reads: false })
        await wire.write(`GET /large HTTP/1.1\r\n${HOST}\r\n`)
        await until('the server has given it up', () => given.includes('/large'))
        wire.socket.resume()
        await wire.closed
        assert.ok(wire.received.length < large.length, 'it got a part of the answer')
      }),
      t.test('that sends thousands of requests ahead', async () => {
        const wire = await Wire.open(port)
        await wire.write(`GET /slow HTTP/1.1\r\n${HOST}\r\n`.repeat(5000))
        await wire.closed
      }),
      t.test('but a hundred requests ahead are answered', async () => {
        const wire = await Wire.open(port)
        await wire.write(`GET / HTTP/1.1\r\n${HOST}\r\n`.repeat(100))
        assert.equal((await wire.answers(100)).length, 100)
        wire.socket.destroy()
      }),
    ])
  })

  test('an answer that cannot be written ends its connection and nothing else', async (t) => {
    const port = await serve(t, {
      '/': { GET: async () => ({ status: 200, body: {} }) },
      '/bad': { GET: async () => ({ status: 302, headers: { Location: 'http://a/\n' } }) },
    })
    const wire = await Wire.open(port)
    await wire.write(`GET /bad HTTP/1.1\r\n${HOST}\r\nGET / HTTP/1.1\r\n${HOST}\r\n`)
    await wire.closed
    assert.equal(wire.received, '')
    const next = await Wire.open(port)
    await next.write(`GET / HTTP/1.1\r\n${HOST}\r\n`)
    assert.equal((await next.answers(1))[0]?.status, 200)
    next.socket.destroy()
  })
})

test('a refusal reaches a client that sends all of its body before it reads', { concurrency: true }, async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_REQUEST_BYTES: String(40 * MEGABYTE) } })
  const authToken = await askToken(server)
  const bodyOf = (megabytes: number, token: string) => formBody(token, Buffer.alloc(megabytes * MEGABYTE, 'voice '))
  const withLength = (body: Buffer, ...fields: readonly string[]) => [submitHead(`Content-Length: ${body.length}`, ...fields), body]
  const bad = `Authorization: Bearer ${BAD_TOKEN}`
  const cases = [
    { name: '5 MB with a bad token behind them', sent: withLength(bodyOf(5, BAD_TOKEN)), status: 403 },
    { name: '5 MB with a bad token before them', sent: withLength(bodyOf(5, authToken), bad), status: 403 },
    { name: '30 MB with a bad token before them', sent: withLength(bodyOf(30, authToken), bad), status: 403 },
    { name: '30 MB with a bad token behind them', sent: withLength(bodyOf(30, BAD_TOKEN)), status: 403 },
    { name: '30 MB without a token', sent: withLength(Buffer.concat([fileStart(), Buffer.alloc(30 * MEGABYTE), Buffer.from('\r\n--the-boundary--')])), status: 403 },
    { name: '30 MB of another content type', sent: [`POST /submit HTTP/1.1\r\n${HOST}Content-Type: text/plain\r\nContent-Length: ${30 * MEGABYTE}\r\n\r\n`, Buffer.alloc(30 * MEGABYTE)], status: 415 },
    { name: '30 MB to a page that is not there', sent: [`POST /upload HTTP/1.1\r\n${HOST}Content-Length: ${30 * MEGABYTE}\r\n\r\n`, Buffer.alloc(30 * MEGABYTE)], status: 404 },
    { name: '50 MB, which is over the limit, by its length', sent: withLength(bodyOf(50, authToken)), status: 413 },
    { name: '50 MB, which is over the limit, in chunks', sent: [submitHead('Transfer-Encoding: chunked'), chunks(bodyOf(50, authToken), MEGABYTE), LAST_CHUNK], status: 413 },
    { name: '30 MB behind an expectation nobody knows', sent: withLength(bodyOf(30, authToken), 'Expect: a-miracle'), status: 417 },
  ]
  const broken: typeof cases = [
    { name: '12 MB of chunks that break at once', sent: [submitHead('Transfer-Encoding: chunked'), 'zz\r\n', Buffer.alloc(12 * MEGABYTE)], status: 400 },
    { name: '12 MB behind a head that is not HTTP', sent: [submitHead('Content-Length: +5'), Buffer.alloc(12 * MEGABYTE)], status: 400 },
  ]
  const send = ({ name, sent, status }: (typeof cases)[number]) =>
    t.test(name, async () => {
      const wire = await Wire.open(server.port, { reads: false })
      for (const piece of sent) await wire.write(piece)
      await sleep(300) // what would reset the connection has then happened
      wire.socket.resume()
      assertRefused((await wire.answers(1))[0], status)
      await wire.closed
    })
  for (const row of broken) await send(row) // alone: who sends no HTTP is listened to for five seconds and no longer
  await Promise.all(cases.map(send))
  await until('nothing is staged', async () => (await listUploads(server.basedir)).length === 0)
})

// The limit of a head is no setting, and the default is a minute.
async function serve(t: TestContext, routes: Routes, parts: Partial<HttpServerParts> = {}): Promise<number> {
  const quiet = { onAnswered: () => undefined, onRefused: () => undefined }
  const usual = { router: new Router(routes), cors: new Cors('*'), proxies: new TrustedProxies([]), basePath: '', maxConnections: 100, idleSeconds: 1, ...quiet }
  const server = new HttpServer({ ...usual, ...parts })
  t.after(() => server.stop(0))
  return Number(new URL(await server.listen({ host: '127.0.0.1', port: 0 })).port)
}
