import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { ADMIN_TOKEN, askToken, listUploads, readReceipts, sleep, startServer, until, type Running } from './harness.ts'
import { sha256Of } from './sha256.ts'
import { chunks, fileStart, formBody, LAST_CHUNK, submission, submitHead, Wire, type WireAnswer } from './wire.ts'

const HOST = 'Host: localhost\r\n'
const TEN_TERABYTES = 10_000_000_000_000

// Wrong, and of the right form: the check goes to the disk.
const BAD_TOKEN = `study-${'0'.repeat(32)}`

async function exchange(port: number, bytes: string | Buffer, count = 1): Promise<{ answers: WireAnswer[]; wire: Wire }> {
  const wire = await Wire.open(port)
  await wire.write(bytes)
  return { answers: await wire.answers(count), wire }
}

function assertRefused(answer: WireAnswer | undefined, statuses: readonly number[]): void {
  assert.ok(answer, 'answer')
  assert.ok(statuses.includes(answer.status), `${answer.status} ${answer.text}`)
  assert.equal(answer.headers['content-type'], 'application/json')
  assert.equal(answer.headers['access-control-allow-origin'], '*')
  assert.match(String(answer.json['message']), /^[A-Z].*\.$/)
}

async function assertNothingKept(server: Running): Promise<void> {
  await until('nothing is left of the request', async () => (await listUploads(server.basedir)).length === 0)
}

test('every method and target is answered or closed', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const body = formBody(authToken, 'voice')
  const cases = [
    { name: 'TRACE is refused and echoes nothing', head: `TRACE / HTTP/1.1\r\n${HOST}Cookie: secret\r\n\r\n`, status: 405, allow: 'GET, HEAD, OPTIONS' },
    { name: 'CONNECT is refused', head: 'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n', status: 405, allow: 'OPTIONS' },
    { name: 'OPTIONS * is answered', head: `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`, status: 204, allow: 'OPTIONS' },
    { name: 'an offer to upgrade is passed over', head: `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`, status: 200 },
    { name: 'an offer of HTTP/2 is passed over', head: `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n`, status: 200 },
    { name: 'the preface of HTTP/2 is refused', head: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', status: 400 },
    { name: 'an invented method is refused', head: `PUBLISH /submit HTTP/1.1\r\n${HOST}\r\n`, status: 400 },
    { name: 'a method in lower case is refused', head: `get / HTTP/1.1\r\n${HOST}\r\n`, status: 400 },
    { name: 'a method of WebDAV is refused', head: `PROPFIND /submit HTTP/1.1\r\n${HOST}\r\n`, status: 405, allow: 'POST, OPTIONS' },
    { name: 'DELETE is refused', head: `DELETE /token HTTP/1.1\r\n${HOST}\r\n`, status: 405, allow: 'GET, HEAD, OPTIONS' },
    { name: 'an unknown path is not found', head: `GET /nowhere HTTP/1.1\r\n${HOST}\r\n`, status: 404 },
    { name: 'a target in absolute form is served', head: `GET http://localhost/ HTTP/1.1\r\n${HOST}\r\n`, status: 200 },
    { name: 'a target in absolute form without a path is served', head: `GET http://localhost HTTP/1.1\r\n${HOST}\r\n`, status: 200 },
    { name: 'a target in absolute form is routed by its path', head: `GET http://localhost/submit/ HTTP/1.1\r\n${HOST}\r\n`, status: 405, allow: 'POST, OPTIONS' },
    { name: 'a target of another scheme is refused', head: `GET ftp://localhost/ HTTP/1.1\r\n${HOST}\r\n`, status: 400 },
    { name: 'a path that cannot be decoded is refused', head: `GET /%ff%fe HTTP/1.1\r\n${HOST}\r\n`, status: 400 },
    { name: 'a path that ends within an escape is refused', head: `GET /% HTTP/1.1\r\n${HOST}\r\n`, status: 400 },
    { name: 'a query that cannot be decoded is refused', head: `GET /token?token=%zz HTTP/1.1\r\n${HOST}\r\n`, status: 400 },
    { name: 'a fragment is refused', head: `GET /#top HTTP/1.1\r\n${HOST}\r\n`, status: 400 },
    { name: 'an asterisk is no page', head: `GET * HTTP/1.1\r\n${HOST}\r\n`, status: 404 },
    { name: 'HTTP/0.9 is refused', head: 'GET /\r\n\r\n', status: 400 },
    { name: 'a version that does not exist is refused', head: `GET / HTTP/3.7\r\n${HOST}\r\n`, status: 400 },
    { name: 'HTTP/1.0 is served without Host', head: 'GET / HTTP/1.0\r\n\r\n', status: 200 },
    { name: 'a submission in absolute form is accepted', head: Buffer.concat([Buffer.from(submitHead(`Content-Length: ${body.length}`).replace('/submit', 'http://localhost/submit')), body]), status: 200 },
  ]
  for (const { name, head, status, allow } of cases) {
    await t.test(name, async () => {
      const { answers, wire } = await exchange(server.port, head)
      const [answer] = answers
      assert.equal(answer?.status, status, wire.received)
      if (status >= 400) assertRefused(answer, [status])
      if (allow !== undefined) assert.equal(answer?.headers['allow'], allow)
      assert.ok(!wire.received.includes('secret'), '!wire.received.includes(secret)')
      wire.socket.destroy()
    })
  }
  await t.test('a CONNECT behind another request waits its turn', async () => {
    const { answers, wire } = await exchange(server.port, `GET / HTTP/1.1\r\n${HOST}\r\nCONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n`, 2)
    assert.deepEqual(answers.map((answer) => answer.status), [200, 405])
    await wire.closed
  })
  await t.test('a CONNECT that is reset ends nothing', async () => {
    for (let count = 0; count < 20; count++) {
      const wire = await Wire.open(server.port)
      await wire.write('CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n')
      wire.socket.resetAndDestroy()
    }
    const { answers } = await exchange(server.port, `GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`)
    assert.equal(answers[0]?.status, 200)
    assert.equal(server.process.exitCode, null)
  })
})

test('the result does not depend on how TCP cuts a request', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  let number = 0
  const unique = () => `voice ${number++}\r\n--the-boundar\r\n` // an equal file would be a repetition

  const assertAccepted = async (answer: WireAnswer | undefined, content: string): Promise<void> => {
    assert.equal(answer?.status, 200, answer?.text)
    const [file] = answer.json['files'] as { stored_as: string; sha256: string }[]
    assert.equal(file?.sha256, sha256Of(content))
    assert.equal(await readFile(join(server.basedir, 'uploads/responses/study', file.stored_as), 'latin1'), content)
  }

  const submitInPieces = async (pieces: readonly Buffer[], content: string): Promise<void> => {
    const wire = await Wire.open(server.port)
    for (const piece of pieces) {
      await wire.write(piece)
      await sleep(1)
    }
    const [answer] = await wire.answers(1)
    await assertAccepted(answer, content)
    wire.socket.destroy()
  }

  const bytesOf = (bytes: Buffer): Buffer[] => Array.from(bytes, (byte) => Buffer.of(byte))
  const chunked = (body: Buffer, size: number): Buffer =>
    Buffer.concat([Buffer.from(submitHead('Transfer-Encoding: chunked')), chunks(body, size), Buffer.from(LAST_CHUNK)])

  await t.test('in two at every byte', async () => {
    const length = submission(authToken, unique()).length
    const cut = async (at: number): Promise<void> => {
      const content = unique().padEnd(30)
      const whole = submission(authToken, content)
      await submitInPieces([whole.subarray(0, at), whole.subarray(at)], content)
    }
    for (let at = 1; at < length; at += 16) await Promise.all(Array.from({ length: 16 }, (_, index) => cut(at + index)))
  })
  await t.test('one byte a write', async () => {
    const content = unique()
    await submitInPieces(bytesOf(submission(authToken, content)), content)
  })
  await t.test('chunks of one byte in one write', async () => {
    const content = unique()
    await submitInPieces([chunked(formBody(authToken, content), 1)], content)
  })
  await t.test('chunks of seven bytes, one byte a write', async () => {
    const content = unique()
    await submitInPieces(bytesOf(chunked(formBody(authToken, content), 7)), content)
  })
  await t.test('chunks with extensions and a trailer', async () => {
    const content = unique()
    const body = chunked(formBody(authToken, content), 100).toString('latin1')
    const decorated = body.replaceAll('\r\n64\r\n', '\r\n64;name="a value"\r\n').replace(/0\r\n\r\n$/, '0\r\nChecksum: none\r\n\r\n')
    await submitInPieces([Buffer.from(decorated, 'latin1')], content)
  })
  await t.test('fifty pipelined in one write are answered in their order', async () => {
    const contents = Array.from({ length: 50 }, unique)
    const whole = contents.map((content, index) => {
      const body = formBody(authToken, content)
      return index % 2 === 0 ? submission(authToken, content) : chunked(body, 50)
    })
    const { answers, wire } = await exchange(server.port, Buffer.concat(whole), 50)
    for (const [index, answer] of answers.entries()) await assertAccepted(answer, contents[index] ?? '')
    wire.socket.destroy()
  })
  await t.test('fifty one after another on one connection', async () => {
    const wire = await Wire.open(server.port)
    for (let count = 1; count <= 50; count++) {
      const content = unique()
      await wire.write(submission(authToken, content))
      const answers = await wire.answers(count)
      await assertAccepted(answers.at(-1), content)
    }
    assert.ok(!wire.isEnded, '!wire.isEnded')
    wire.socket.destroy()
  })
  await t.test('a client that says it sends no more is answered', async () => {
    const content = unique()
    const wire = await Wire.open(server.port, { allowHalfOpen: true })
    wire.socket.end(submission(authToken, content))
    const [answer] = await wire.answers(1)
    await assertAccepted(answer, content)
    await until('the server closes too', () => wire.isEnded)
  })
  assert.equal((await readReceipts(server.basedir, 'study')).length, number - 1) // one was only measured
})

test('a message that is not HTTP is refused with JSON, and its connection closed', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const body = formBody(authToken, 'voice')
  const length = `Content-Length: ${body.length}`
  const chunked = 'Transfer-Encoding: chunked'
  const inChunks = Buffer.concat([chunks(body), Buffer.from(LAST_CHUNK)])
  const post = (fields: readonly string[], content: Buffer | string = body) =>
    Buffer.concat([Buffer.from(submitHead(...fields), 'latin1'), Buffer.from(content)])
  const cases = [
    { name: 'Content-Length with Transfer-Encoding', sent: post([length, chunked], inChunks) },
    { name: 'Transfer-Encoding with Content-Length', sent: post([chunked, length], inChunks) },
    { name: 'two lengths that differ', sent: post([length, 'Content-Length: 3']) },
    { name: 'two equal lengths', sent: post([length, length]) },
    { name: 'a list of lengths', sent: post([`Content-Length: ${body.length}, ${body.length}`]) },
    { name: 'a length with a plus sign', sent: post([`Content-Length: +${body.length}`]) },
    { name: 'a negative length', sent: post(['Content-Length: -1']) },
    { name: 'a length in hexadecimal', sent: post([`Content-Length: 0x${body.length.toString(16)}`]) },
    { name: 'a length with a fraction', sent: post([`Content-Length: ${body.length}.0`]) },
    { name: 'a length with a blank within', sent: post([`Content-Length: 1 ${body.length}`]) },
    { name: 'an empty length', sent: post(['Content-Length:']) },
    { name: 'a length of two to the power of 64', sent: post(['Content-Length: 18446744073709551616']) },
    { name: 'a length of thirty digits', sent: post([`Content-Length: ${'9'.repeat(30)}`]) },
    { name: 'an unknown transfer coding', sent: post(['Transfer-Encoding: cow'], inChunks) },
    { name: 'a transfer coding that is never applied', sent: post(['Transfer-Encoding: identity'], inChunks) },
    { name: 'chunked before another coding', sent: post(['Transfer-Encoding: chunked, gzip'], inChunks) },
    { name: 'another coding before chunked', sent: post(['Transfer-Encoding: gzip, chunked'], inChunks) },
    { name: 'chunked twice', sent: post(['Transfer-Encoding: chunked, chunked'], inChunks) },
    { name: 'two fields with chunked', sent: post([chunked, chunked], inChunks) },
    { name: 'chunked in quotes', sent: post(['Transfer-Encoding: "chunked"'], inChunks) },
    { name: 'chunked with a parameter', sent: post(['Transfer-Encoding: chunked;a=b'], inChunks) },
    { name: 'chunked after a vertical tab', sent: post(['Transfer-Encoding: \x0bchunked'], inChunks) },
    { name: 'chunked in HTTP/1.0', sent: post([chunked], inChunks).toString('latin1').replace('HTTP/1.1', 'HTTP/1.0') },
    { name: 'chunked on a GET with a coding before it', sent: `GET / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n` },
    { name: 'a blank before the colon of a length', sent: post([`Content-Length : ${body.length}`]) },
    { name: 'a blank before the colon of a coding', sent: post(['Transfer-Encoding : chunked'], inChunks) },
    { name: 'a tab before a colon', sent: post([length, 'X-A\t: b']) },
    { name: 'a field without a colon', sent: post([length, 'X-A']) },
    { name: 'a field without a name', sent: post([length, ': b']) },
    { name: 'a folded line', sent: post([length, 'X-A: b', ' c']) },
    { name: 'a line folded with a tab', sent: post([length, 'X-A: b', '\tc']) },
    { name: 'a folded coding', sent: post(['Transfer-Encoding:', ' chunked'], inChunks) },
    { name: 'a folded line after the request line', sent: `GET / HTTP/1.1\r\n ${HOST}\r\n` },
    { name: 'NUL in a value', sent: post([length, 'X-A: b\0c']) },
    { name: 'NUL in a name', sent: post([length, 'X-\0A: b']) },
    { name: 'a bare CR in a value', sent: post([length, 'X-A: b\rc']) },
    { name: 'a bare CR that would begin a field', sent: post([length, `X-A: b\r${chunked}`]) },
    { name: 'a bare LF that would begin a field', sent: post([length, `X-A: b\n${chunked}`]) },
    { name: 'a control character in a name', sent: post([length, 'X-\x01: b']) },
    { name: 'NUL in the target', sent: `GET /\0 HTTP/1.1\r\n${HOST}\r\n` },
    { name: 'a blank in the target', sent: `GET /a b HTTP/1.1\r\n${HOST}\r\n` },
    { name: 'no Host', sent: 'GET / HTTP/1.1\r\n\r\n' },
    { name: 'two Hosts', sent: `GET / HTTP/1.1\r\n${HOST}${HOST}\r\n` },
    { name: 'two content types', sent: post([length, 'Content-Type: application/json']) },
    { name: 'two credentials', sent: post([length, `Authorization: Bearer ${authToken}`, `Authorization: Bearer ${BAD_TOKEN}`]) },
    { name: 'a chunk size that is no number', sent: post([chunked], 'zz\r\nabc\r\n0\r\n\r\n') },
    { name: 'a chunk size with a sign', sent: post([chunked], '+5\r\nhello\r\n0\r\n\r\n') },
    { name: 'a chunk size with 0x', sent: post([chunked], '0x5\r\nhello\r\n0\r\n\r\n') },
    { name: 'an empty chunk size', sent: post([chunked], '\r\nhello\r\n0\r\n\r\n') },
    { name: 'a chunk size of more than 64 bits', sent: post([chunked], 'fffffffffffffffff\r\nhello\r\n0\r\n\r\n') },
    { name: 'a chunk longer than its size', sent: post([chunked], '3\r\nhello\r\n0\r\n\r\n') },
    { name: 'a chunk size ended by LF alone', sent: post([chunked], '5\nhello\r\n0\r\n\r\n') },
    { name: 'an endless chunk extension', sent: post([chunked], `5;${'a'.repeat(65_536)}\r\nhello\r\n0\r\n\r\n`) },
    { name: 'a trailer that is no field', sent: post([chunked], Buffer.concat([chunks(body), Buffer.from('0\r\nno field\r\n\r\n')])) },
    { name: 'TLS', sent: Buffer.from('16030100a5010000a10303', 'hex') },
    { name: 'a line of noise', sent: Buffer.from('\0\xff\xfe\r\n\r\n', 'latin1') },
  ]
  for (const { name, sent } of cases) {
    await t.test(name, async () => {
      const { answers, wire } = await exchange(server.port, sent)
      assert.equal(answers.length, 1, wire.received)
      assertRefused(answers[0], [400])
      await until('the server closes', () => wire.isEnded)
      wire.socket.destroy()
    })
  }
  await assertNothingKept(server)
  assert.deepEqual(await readReceiptsOrNone(server), [])
})

test('a head that is too large is refused with JSON', async (t) => {
  const server = await startServer(t)
  const long = 'a'.repeat(65_536)
  const cases = [
    { name: 'a target of 64 KB', sent: `GET /${long} HTTP/1.1\r\n${HOST}\r\n` },
    { name: 'a query of 64 KB', sent: `GET /token?token=${long} HTTP/1.1\r\n${HOST}\r\n` },
    { name: 'a field of 64 KB', sent: `GET / HTTP/1.1\r\n${HOST}X-A: ${long}\r\n\r\n` },
    { name: 'a field name of 64 KB', sent: `GET / HTTP/1.1\r\n${HOST}${long}: b\r\n\r\n` },
    { name: 'ten thousand fields', sent: `GET / HTTP/1.1\r\n${HOST}${'X-A: b\r\n'.repeat(10_000)}\r\n` },
    { name: 'a method of 64 KB', sent: `${long.toUpperCase()} / HTTP/1.1\r\n${HOST}\r\n` },
    { name: 'a head that never ends, with 4 MB behind it', sent: `GET / HTTP/1.1\r\nX-A: ${long.repeat(64)}` },
  ]
  for (const { name, sent } of cases) {
    await t.test(name, async () => {
      const wire = await Wire.open(server.port, { reads: false })
      await wire.write(sent)
      wire.socket.resume()
      assertRefused((await wire.answers(1))[0], [400, 414, 431])
      await until('the server closes', () => wire.isEnded)
      wire.socket.destroy()
    })
  }
})

test('a message shorter than it announced is not published, whatever it held', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const content = Buffer.alloc(1_000_000, 'voice ')
  const whole = formBody(authToken, content)
  const half = Buffer.concat([fileStart(), content])
  const bodies = [
    { name: 'Content-Length, cut within the file', sent: [submitHead(`Content-Length: ${whole.length}`), half] },
    { name: 'Content-Length, one byte short', sent: [submitHead(`Content-Length: ${whole.length}`), whole.subarray(0, -1)] },
    { name: 'Content-Length, after a form that was whole', sent: [submitHead(`Content-Length: ${whole.length + 1}`), whole] },
    { name: 'chunks, cut within the file', sent: [submitHead('Transfer-Encoding: chunked'), chunks(half, 5000)] },
    { name: 'chunks, cut within a chunk', sent: [submitHead('Transfer-Encoding: chunked'), chunks(whole).subarray(0, -100)] },
    { name: 'chunks, after a form that was whole', sent: [submitHead('Transfer-Encoding: chunked'), chunks(whole, 5000)] },
    { name: 'chunks, within the last chunk', sent: [submitHead('Transfer-Encoding: chunked'), chunks(whole, 5000), '0\r\n'] },
    { name: 'chunks, one byte short', sent: [submitHead('Transfer-Encoding: chunked'), chunks(whole, 5000), '0\r\n\r'] },
    { name: 'behind another request', sent: [`GET / HTTP/1.1\r\n${HOST}\r\n`, submitHead(`Content-Length: ${whole.length + 1}`), whole] },
  ]
  const ends = [
    { name: 'a half-close', isAnswered: true, end: (wire: Wire) => void wire.socket.end() },
    { name: 'a close', isAnswered: false, end: (wire: Wire) => void wire.socket.destroy() },
    { name: 'a reset', isAnswered: false, end: (wire: Wire) => void wire.socket.resetAndDestroy() },
  ]
  for (const body of bodies) {
    for (const { name, isAnswered, end } of ends) {
      for (const isStaged of [true, false]) {
        await t.test(`${body.name}: ${name} ${isStaged ? 'when all of it has been taken' : 'at once'}`, async () => {
          const wire = await Wire.open(server.port, { allowHalfOpen: true })
          for (const piece of body.sent) await wire.write(piece)
          if (isStaged) await until('it is staged', async () => (await listUploads(server.basedir)).length > 0)
          end(wire)
          if (isAnswered) assertRefused((await wire.answers(body.sent.length === 3 && body.name.startsWith('behind') ? 2 : 1)).at(-1), [400])
          await assertNothingKept(server)
          wire.socket.destroy()
        })
      }
    }
  }
  assert.deepEqual(await readReceiptsOrNone(server), [])
  const { answers } = await exchange(server.port, submission(authToken, 'voice'))
  assert.equal(answers[0]?.status, 200)
})

test('bytes behind a message that was refused are never run', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_REQUEST_BYTES: '1000000' } })
  const authToken = await askToken(server)
  const hidden = submission(authToken, 'hidden')
  const body = formBody(authToken, 'voice')
  const bad = formBody(BAD_TOKEN, 'voice')
  const bearer = `Authorization: Bearer ${BAD_TOKEN}`
  const cases = [
    { name: 'a form that its length cuts short', sent: [submitHead(`Content-Length: ${body.length - 10}`), body, hidden] },
    { name: 'a form that its length cuts just before the hidden request', sent: [submitHead('Content-Length: 10'), body.subarray(0, 10), hidden] },
    { name: 'a form with a bad token', sent: [submitHead(`Content-Length: ${bad.length}`), bad, hidden] },
    { name: 'a bad token in the head, and the hidden request as its body', sent: [submitHead(`Content-Length: ${hidden.length}`, bearer), hidden, hidden] },
    { name: 'a bad token in the head, and no body', sent: [submitHead('Content-Length: 0', bearer), hidden] },
    { name: 'chunks with a bad token', sent: [submitHead('Transfer-Encoding: chunked'), chunks(bad), LAST_CHUNK, hidden] },
    { name: 'chunks that are broken', sent: [submitHead('Transfer-Encoding: chunked'), 'zz\r\n', hidden] },
    { name: 'chunks that end too early', sent: [submitHead('Transfer-Encoding: chunked'), chunks(body.subarray(0, 50)), LAST_CHUNK, hidden] },
    { name: 'a length beside chunks', sent: [submitHead('Content-Length: 5', 'Transfer-Encoding: chunked'), LAST_CHUNK, hidden] },
    { name: 'chunks beside a length', sent: [submitHead('Transfer-Encoding: chunked', `Content-Length: ${hidden.length + 5}`), LAST_CHUNK, hidden] },
    { name: 'a coding that only one of two would know', sent: [submitHead('Transfer-Encoding: xchunked', 'Content-Length: 4'), 'abcd', hidden] },
    { name: 'two Hosts', sent: [`GET / HTTP/1.1\r\n${HOST}${HOST}\r\n`, hidden] },
    { name: 'no Host', sent: ['GET / HTTP/1.1\r\n\r\n', hidden] },
    { name: 'a folded line', sent: [`GET / HTTP/1.1\r\n${HOST}X-A: b\r\n c\r\n\r\n`, hidden] },
    { name: 'a head that is not HTTP', sent: ['nonsense\r\n\r\n', hidden] },
    { name: 'a CONNECT', sent: ['CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', hidden] },
    { name: 'an expectation that is not met', sent: [submitHead('Expect: a-miracle', `Content-Length: ${body.length}`), body, hidden] },
    { name: 'a length over the limit', sent: [submitHead('Content-Length: 2000000'), hidden, hidden] },
    { name: 'a body to a page that is not there', sent: [`POST /nowhere HTTP/1.1\r\n${HOST}Content-Length: 4\r\n\r\nabcd`, hidden] },
    { name: 'a body with a method that is not taken', sent: [`PUT /submit HTTP/1.1\r\n${HOST}Content-Length: 4\r\n\r\nabcd`, hidden] },
    { name: 'a content type that is not taken', sent: [`POST /submit HTTP/1.1\r\n${HOST}Content-Type: text/plain\r\nContent-Length: 4\r\n\r\nabcd`, hidden] },
  ]
  for (const { name, sent } of cases) {
    for (const isTogether of [true, false]) {
      await t.test(`${name}, ${isTogether ? 'in one write' : 'in several'}`, async () => {
        const wire = await Wire.open(server.port)
        const pieces = sent.map((piece) => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece))
        for (const piece of isTogether ? [Buffer.concat(pieces)] : pieces) {
          await wire.write(piece)
          await sleep(5)
        }
        wire.socket.end()
        await wire.closed
        const answers = await wire.answers(1)
        assert.equal(answers.length, 1, wire.received)
        assertRefused(answers[0], [400, 403, 404, 405, 413, 415, 417])
      })
    }
  }
  await assertNothingKept(server)
  assert.deepEqual(await readReceiptsOrNone(server), [])
})

test('expectations are met or refused', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const body = formBody(authToken, 'voice')
  const length = `Content-Length: ${body.length}`

  await t.test('a client that waits is told to go on', async () => {
    const { wire, answers } = await exchange(server.port, submitHead('Expect: 100-continue', length))
    assert.deepEqual(answers.map((answer) => answer.status), [100])
    await wire.write(body)
    assert.deepEqual((await wire.answers(2)).map((answer) => answer.status), [100, 200])
    await wire.write(`GET / HTTP/1.1\r\n${HOST}\r\n`)
    assert.equal((await wire.answers(3)).at(-1)?.status, 200)
    wire.socket.destroy()
  })
  await t.test('a client that does not wait is served too', async () => {
    const sent = Buffer.concat([Buffer.from(submitHead('Expect: 100-Continue', length)), formBody(authToken, 'other')])
    const { wire, answers } = await exchange(server.port, sent, 2)
    assert.deepEqual(answers.map((answer) => answer.status), [100, 200])
    wire.socket.destroy()
  })
  const endless = `Content-Length: ${TEN_TERABYTES}`
  const refusals = [
    { name: 'a bad token before the body', fields: ['Expect: 100-continue', length, `Authorization: Bearer ${BAD_TOKEN}`], status: 403 },
    { name: 'ten terabytes before the body', fields: ['Expect: 100-continue', endless], status: 413 },
    { name: 'ten terabytes without an expectation', fields: [endless], status: 413 },
    { name: 'ten terabytes with a good token', fields: [endless, `Authorization: Bearer ${authToken}`], status: 413 },
    { name: 'an expectation nobody knows', fields: ['Expect: a-miracle', length], status: 417 },
    { name: 'one known expectation and another', fields: ['Expect: 100-continue, a-miracle', length], status: 417 },
    { name: 'two fields of expectations', fields: ['Expect: 100-continue', 'Expect: a-miracle', length], status: 417 },
  ]
  for (const { name, fields, status } of refusals) {
    await t.test(`${name}: ${status} at once, and no 100`, async () => {
      const { wire, answers } = await exchange(server.port, submitHead(...fields))
      assert.equal(answers.length, 1)
      assertRefused(answers[0], [status])
      assert.equal(answers[0]?.headers['connection'], 'close')
      await until('the server closes', () => wire.isEnded)
      wire.socket.destroy()
    })
  }
})

test('a connection stays open after success, and says how long', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const wire = await Wire.open(server.port)
  const requests = [
    { name: 'GET', sent: `GET / HTTP/1.1\r\n${HOST}\r\n`, status: 200 },
    { name: 'POST', sent: submission(authToken, 'first'), status: 200 },
    { name: 'a preflight', sent: `OPTIONS /submit HTTP/1.1\r\n${HOST}Origin: http://a\r\nAccess-Control-Request-Method: POST\r\n\r\n`, status: 204 },
    { name: 'a page that is not there', sent: `GET /nowhere HTTP/1.1\r\n${HOST}\r\n`, status: 404 },
    { name: 'POST again', sent: submission(authToken, 'second'), status: 200 },
    { name: 'a token', sent: `GET /token?token=${ADMIN_TOKEN} HTTP/1.1\r\n${HOST}\r\n`, status: 200 },
  ]
  for (const [index, { name, sent, status }] of requests.entries()) {
    await t.test(name, async () => {
      await wire.write(sent)
      const answer = (await wire.answers(index + 1)).at(-1)
      assert.equal(answer?.status, status, answer?.text)
      assert.equal(answer.headers['connection'], 'keep-alive')
      assert.equal(answer.headers['keep-alive'], 'timeout=75')
    })
  }
  await t.test('Connection: close is obeyed', async () => {
    await wire.write(`GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`)
    assert.equal((await wire.answers(requests.length + 1)).at(-1)?.headers['connection'], 'close')
    await wire.closed
  })
  await t.test('an answer before the body of its request is the last', async () => {
    const early = await Wire.open(server.port)
    await early.write(`GET / HTTP/1.1\r\n${HOST}Content-Length: 4\r\n\r\n`)
    assert.equal((await early.answers(1))[0]?.headers['connection'], 'close')
    await early.write(`abcdGET / HTTP/1.1\r\n${HOST}\r\n`)
    await early.closed
    assert.equal((await early.answers(1)).length, 1)
  })
})

test('HEAD is answered with the head of GET', async (t) => {
  const server = await startServer(t)
  const paths = ['/', '/token', '/register', '/submit', '/nowhere', `/token?token=${ADMIN_TOKEN}&expiry_minutes=0`]
  for (const path of paths) {
    await t.test(path.split('?')[0] ?? '', async () => {
      const get = await exchange(server.port, `GET ${path} HTTP/1.1\r\n${HOST}\r\n`)
      const wire = await Wire.open(server.port)
      await wire.write(`HEAD ${path} HTTP/1.1\r\n${HOST}\r\n`.repeat(2))
      const answers = await wire.answers(2, 60, true)
      for (const answer of answers) {
        assert.equal(answer.status, get.answers[0]?.status)
        assert.equal(answer.headers['content-length'], get.answers[0]?.headers['content-length'])
      }
      assert.ok(wire.received.endsWith('\r\n\r\n'), 'wire.received.endsWith(rnrn)')
      wire.socket.destroy()
      get.wire.socket.destroy()
    })
  }
})

async function readReceiptsOrNone(server: Running): Promise<unknown[]> {
  try {
    return await readReceipts(server.basedir, 'study')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}
