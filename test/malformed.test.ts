import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { askToken, commonServer, listUploads, readAll, readReceipts, request, sendRaw, startServer, submitForm, type Running } from './harness.ts'
import { assertAccepted, assertRefused, assertServesOthers, BOUNDARY, filePart, formatMultipart, MULTIPART, nothingIsLeft, post, readStored, textPart } from './submission.ts'
import type { RawPart } from './submission.ts'

// For tests that look at what they sent, or at what was there before.
const common = commonServer()
const MALFORMED = { status: 400, code: 'malformed_form' }
const VOICE = filePart('file', 'voice.wav', Buffer.alloc(200_000, 'RIFF'))

interface BoundaryCase {
  readonly name: string
  readonly contentType: string
  /** The boundary in the body. */
  readonly boundary?: string
}

const usable: BoundaryCase[] = [
  { name: 'plain', contentType: 'multipart/form-data; boundary=abc', boundary: 'abc' },
  { name: 'quoted', contentType: 'multipart/form-data; boundary="abc"', boundary: 'abc' },
  { name: 'quoted, with blanks', contentType: 'multipart/form-data; boundary="a b  c"', boundary: 'a b  c' },
  { name: 'quoted, with a semicolon and an escape', contentType: 'multipart/form-data; boundary="a;\\b=c"', boundary: 'a;b=c' },
  { name: 'of characters that mean something in a pattern', contentType: 'multipart/form-data; boundary="(.*)+?[a-z]{2}|^$"', boundary: '(.*)+?[a-z]{2}|^$' },
  { name: 'of dashes alone', contentType: 'multipart/form-data; boundary=------', boundary: '------' },
  { name: 'of one character', contentType: 'multipart/form-data; boundary=x', boundary: 'x' },
  { name: 'of 70 characters', contentType: `multipart/form-data; boundary=${'b'.repeat(70)}`, boundary: 'b'.repeat(70) },
  { name: 'under a name in capitals', contentType: 'multipart/form-data; BOUNDARY=aBc', boundary: 'aBc' },
  { name: 'of a media type in capitals, without a blank', contentType: 'Multipart/Form-Data;boundary=abc', boundary: 'abc' },
  { name: 'after another parameter', contentType: 'multipart/form-data; charset=utf-8; boundary=abc', boundary: 'abc' },
  { name: 'before another parameter', contentType: 'multipart/form-data; boundary=abc; charset="utf-8"', boundary: 'abc' },
]

const unusable: BoundaryCase[] = [
  { name: 'missing', contentType: 'multipart/form-data' },
  { name: 'missing after a semicolon', contentType: 'multipart/form-data;' },
  { name: 'without a value', contentType: 'multipart/form-data; boundary' },
  { name: 'empty', contentType: 'multipart/form-data; boundary=', boundary: '' },
  { name: 'empty in quotes', contentType: 'multipart/form-data; boundary=""', boundary: '' },
  { name: 'of 71 characters', contentType: `multipart/form-data; boundary=${'b'.repeat(71)}`, boundary: 'b'.repeat(71) },
  { name: 'with a blank at its end', contentType: 'multipart/form-data; boundary="abc "', boundary: 'abc ' },
  { name: 'with a character that is not ASCII', contentType: 'multipart/form-data; boundary=b\u00e9', boundary: 'b\u00e9' },
  { name: 'given twice', contentType: 'multipart/form-data; boundary=abc; boundary=abc', boundary: 'abc' },
  { name: 'given twice, differently', contentType: 'multipart/form-data; boundary=abc; Boundary=def', boundary: 'abc' },
  { name: 'in quotes that do not end', contentType: 'multipart/form-data; boundary="abc', boundary: 'abc' },
  { name: 'that is not the one in the body', contentType: 'multipart/form-data; boundary=abc', boundary: 'abd' },
  { name: 'that differs from the one in the body by case', contentType: 'multipart/form-data; boundary=abc', boundary: 'ABC' },
  { name: 'that is the beginning of the one in the body', contentType: 'multipart/form-data; boundary=abc', boundary: 'abcd' },
]

test('a boundary', async (t) => {
  const server = await common()
  const token = textPart('auth_token', await askToken(server))
  for (const { name, contentType, boundary = BOUNDARY } of usable) {
    await t.test(`${name} is taken`, async () => {
      const parts = [filePart('file', 'a.txt', `--${boundary}x\r\n--${boundary.slice(0, -1)}`), token]
      const [file] = assertAccepted(await post(server, formatMultipart(parts, boundary), { headers: { 'content-type': contentType } }))
      assert.equal((await readStored(server, file)).toString(), parts[0]?.content)
    })
  }
  const before = await listUploads(server.basedir)
  for (const { name, contentType, boundary = BOUNDARY } of unusable) {
    await t.test(`${name} is refused`, async () => {
      const body = formatMultipart([token, filePart('file', 'a.txt', 'RIFF')], boundary)
      assertRefused(await post(server, body, { headers: { 'content-type': contentType } }), MALFORMED)
      const large = await post(server, formatMultipart([token, VOICE], boundary), { headers: { 'content-type': contentType } })
      assert.equal(large.status, 400)
      await nothingIsLeft(server, before)
    })
  }
})

test('a form that is cut off anywhere is refused, and files that were complete in it are not kept', async () => {
  const server = await common()
  const before = await listUploads(server.basedir)
  const authToken = await askToken(server)
  const whole = formatMultipart([textPart('auth_token', authToken), filePart('file', 'a', '1'), textPart('responses', '{}'), filePart('file', 'b', '2')])
  // What is complete may lack its last line end. The parser's own tests cut at every byte.
  const lengths = Array.from({ length: whole.length - 2 }, (_, length) => length).filter((length) => length % 7 === 0 || length > whole.length - 12)
  for (const query of ['', `?auth_token=${authToken}`]) {
    for (const length of lengths) assertRefused(await post(server, whole.subarray(0, length), { query }), MALFORMED)
  }
  await nothingIsLeft(server, before)
  assert.equal(assertAccepted(await post(server, whole.subarray(0, -2))).length, 3)
})

test('a connection that ends before its form does leaves nothing', async (t) => {
  const server = await startServer(t)
  const form = formatMultipart([textPart('auth_token', await askToken(server)), VOICE])
  const head = `POST /submit HTTP/1.1\r\nHost: a\r\nContent-Type: ${MULTIPART}\r\nContent-Length: ${form.length + 10}\r\n\r\n`
  const cases = [
    { name: 'though the form in it is complete', body: form },
    { name: 'in the middle of a file', body: form.subarray(0, 150_000) },
    { name: 'before the first byte', body: Buffer.alloc(0) },
  ]
  for (const { name, body } of cases) {
    await t.test(name, async () => {
      await sendRaw(server.port, [head, body], { half: true })
      const socket = connect({ port: server.port, host: '127.0.0.1' })
      const closed = readAll(socket)
      socket.write(head)
      socket.write(body, () => socket.resetAndDestroy())
      await closed
      await nothingIsLeft(server)
      assert.deepEqual(await readReceipts(server.basedir, 'study').catch(() => []), [])
    })
  }
})

const disposition = 'Content-Disposition: form-data; name="note"'

const headers: { name: string; header: string | Buffer }[] = [
  { name: 'a folded line', header: `${disposition};\r\n filename="a"` },
  { name: 'a line that begins with a tab', header: `${disposition}\r\n\tX: y` },
  { name: 'a first line that begins with a blank', header: ` ${disposition}` },
  { name: 'a line without a colon', header: `${disposition}\r\nX` },
  { name: 'an empty field name', header: `${disposition}\r\n: y` },
  { name: 'a blank before the colon', header: disposition.replace(':', ' :') },
  { name: 'a field name that is no token', header: `${disposition}\r\nX(y): z` },
  { name: 'NUL in a value', header: `${disposition}\r\nX: a\0b` },
  { name: 'NUL in a name', header: 'Content-Disposition: form-data; name="a\0b"' },
  { name: 'CR alone', header: `${disposition}\r\nX: a\rb` },
  { name: 'LF alone', header: `${disposition}\nX: a` },
  { name: 'LF alone within quotes', header: 'Content-Disposition: form-data; name="a\nb"' },
  { name: 'no field at all', header: '' },
  { name: 'no Content-Disposition', header: 'Content-Type: text/plain' },
  { name: 'two Content-Disposition', header: `${disposition}\r\n${disposition}` },
  { name: 'an empty Content-Disposition', header: 'Content-Disposition:' },
  { name: 'a Content-Disposition of another type', header: disposition.replace('form-data', 'attachment') },
  { name: 'a parameter without a value', header: `${disposition}; filename` },
  { name: 'a parameter without a name', header: `${disposition}; ="a"` },
  { name: 'two names', header: `${disposition}; name="auth_token"` },
  { name: 'text after a quoted value', header: `${disposition} x` },
  { name: 'a quote that does not end', header: 'Content-Disposition: form-data; name="note' },
  { name: 'a delimiter', header: `${disposition}\r\n--${BOUNDARY}\r\n${disposition}` },
]

test('a part header is refused', async (t) => {
  const server = await common()
  const before = await listUploads(server.basedir)
  const token = textPart('auth_token', await askToken(server))
  for (const { name, header } of headers) {
    await t.test(`with ${name}`, async () => {
      for (const parts of [[token, VOICE, { header, content: 'x' }], [{ header, content: 'x' }, token, VOICE]]) {
        assertRefused(await post(server, formatMultipart(parts)), MALFORMED)
      }
      await nothingIsLeft(server, before)
    })
  }
  await t.test('without an empty line after it', async () => {
    for (const content of ['x', 'x: y', '\r', '\n']) {
      const form = formatMultipart([token, VOICE, { header: disposition, content }]).toString('latin1')
      const cut = form.replace(`${disposition}\r\n\r\n`, `${disposition}\r\n`)
      assert.notEqual(cut, form)
      assertRefused(await post(server, Buffer.from(cut, 'latin1')), MALFORMED)
    }
    await nothingIsLeft(server, before)
  })
})

test('a part header is taken', async (t) => {
  const server = await common()
  const project = 'headers'
  const token = textPart('auth_token', await askToken(server, { project }))
  const cases = [
    { name: 'in capitals and small letters', header: 'CONTENT-DISPOSITION: Form-Data; NAME="note"' },
    { name: 'without blanks', header: 'Content-Disposition:form-data;name=note' },
    { name: 'with blanks where they may be', header: 'Content-Disposition: \t form-data ;  name = "note" \t; ' },
    { name: 'with fields that mean nothing here', header: `X-Note: :;"\r\n${disposition}\r\nX-Empty:` },
    { name: 'with a Content-Transfer-Encoding that is not undone', header: `${disposition}\r\nContent-Transfer-Encoding: base64` },
    { name: 'with a charset', header: `${disposition}\r\nContent-Type: text/plain; charset=us-ascii` },
    { name: 'with 1,000 other parameters', header: `${disposition}${'; x=y'.repeat(1000)}` },
  ]
  for (const [index, { name, header }] of cases.entries()) {
    await t.test(name, async () => {
      assert.deepEqual(assertAccepted(await post(server, formatMultipart([token, { header, content: 'UklGRg==' }]))), [])
      const receipts = await readReceipts(server.basedir, project)
      assert.deepEqual(receipts.map((receipt) => receipt['fields'])[index], [{ name: 'note', value: 'UklGRg==' }])
    })
  }
  await t.test('whose empty line is also the line end before the next delimiter', async () => {
    const empty = formatMultipart([filePart('file', 'a.txt', 'x'), token]).toString().replace('\r\n\r\nx\r\n', '\r\n\r\n')
    const [file] = assertAccepted(await post(server, empty))
    assert.equal(file?.bytes, 0)
  })
  await t.test('of a file, whose bytes are not decoded either', async () => {
    for (const encoding of ['base64', 'quoted-printable', 'x-gzip']) {
      const { header, content } = filePart('file', 'a.txt', '=41=\r\nUklGRg==')
      const [file] = assertAccepted(await post(server, formatMultipart([token, { header: `${header}\r\nContent-Transfer-Encoding: ${encoding}`, content }])))
      assert.equal((await readStored(server, file, project)).toString(), content)
    }
  })
})

const long = (length: number) => 'a'.repeat(length)
const urlencoded = { 'content-type': 'application/x-www-form-urlencoded' }
const json = { 'content-type': 'application/json' }

interface LimitCase {
  readonly name: string
  readonly body: (authToken: string) => Buffer | string
  readonly headers?: Record<string, string>
  readonly code?: string
}

const STATUSES: Readonly<Record<string, number>> = { unauthorized: 403, preamble_too_large: 400 } // 413 for all others

const form = (...parts: RawPart[]) => (authToken: string) => formatMultipart([textPart('auth_token', authToken), ...parts])
const many = (parts: number) => Array.from({ length: parts }, () => textPart('a', ''))
const pairs = (count: number) => (authToken: string) => `auth_token=${authToken}${'&a='.repeat(count - 1)}`
const members = (count: number) => (authToken: string) => `{"auth_token":"${authToken}"${',"a":1'.repeat(count - 1)}}`

const small = {
  REPROSCHEMA_BACKEND_MAX_PARTS: '5',
  REPROSCHEMA_BACKEND_MAX_PART_HEADER_BYTES: '300',
  REPROSCHEMA_BACKEND_MAX_PREAMBLE_BYTES: '100',
  REPROSCHEMA_BACKEND_MAX_FIELD_BYTES: '1000',
  REPROSCHEMA_BACKEND_MAX_REQUEST_BYTES: '100000',
}
const header = (bytes: number) => `${disposition}; x=${long(bytes - disposition.length - '; x='.length - '\r\n\r\n'.length)}`
const preamble = (bytes: number) => (authToken: string) => Buffer.concat([Buffer.from(`${long(bytes)}\r\n`), form()(authToken)])

const smallCases: LimitCase[] = [
  { name: 'as many parts as are allowed', body: form(...many(4)) },
  { name: 'one part too many', body: form(...many(5)), code: 'too_many_parts' },
  { name: 'as many pairs as there may be parts', body: pairs(5), headers: urlencoded },
  { name: 'one pair too many', body: pairs(6), headers: urlencoded, code: 'too_many_parts' },
  { name: 'as many members as there may be parts', body: members(5), headers: json },
  { name: 'one member too many', body: members(6), headers: json, code: 'too_many_parts' },
  { name: 'a part header of the size that is allowed', body: form({ header: header(300), content: '' }) },
  { name: 'a part header that is a byte too large', body: form({ header: header(301), content: '' }), code: 'part_header_too_large' },
  { name: 'a part header without an end', body: form({ header: `X: ${long(5000)}`, content: '' }), code: 'part_header_too_large' },
  { name: 'a pair whose name is too long', body: () => `${long(301)}=`, headers: urlencoded, code: 'part_header_too_large' },
  { name: 'a member whose name is too long', body: () => `{"${long(300)}":1}`, headers: json, code: 'part_header_too_large' },
  { name: 'text before the first part, as much as is allowed', body: preamble(100) },
  { name: 'text before the first part that is too long', body: preamble(101), code: 'preamble_too_large' },
  { name: 'text fields of the size that is allowed together', body: form(textPart('a', long(460)), textPart('responses', '1'.repeat(500))) },
  { name: 'text fields that are too large together', body: form(textPart('a', long(470)), textPart('responses', '1'.repeat(500))), code: 'fields_too_large' },
  { name: 'answers that are too large', body: form(textPart('responses', '1'.repeat(1001))), code: 'fields_too_large' },
  { name: 'a file larger than text fields may be', body: form(filePart('file', 'a', long(90_000))) },
  { name: 'an urlencoded body that is too large', body: () => long(1001), headers: urlencoded, code: 'request_too_large' },
  { name: 'a JSON body that is too large', body: () => `{"a":"${long(1000)}"}`, headers: json, code: 'request_too_large' },
  { name: 'a request that is too large', body: form(filePart('file', 'a', long(100_000))), code: 'request_too_large' },
]

for (const isChunked of [false, true]) {
  test(`each limit is that of its setting, ${isChunked ? 'of a body in chunks' : 'of a body of a known length'}`, async (t) => {
    const server = await startServer(t, { env: small })
    const authToken = await askToken(server)
    for (const { name, body, headers = {}, code } of smallCases) {
      await t.test(`${name} ${code === undefined ? 'is accepted' : 'is refused'}`, async () => {
        const before = await listUploads(server.basedir)
        const answer = await (isChunked ? postChunked : post)(server, body(authToken), { headers })
        if (code === undefined) return void assertAccepted(answer)
        assertRefused(answer, { status: STATUSES[code] ?? 413, code })
        await nothingIsLeft(server, before)
      })
    }
  })
}

function postChunked(server: Running, body: Buffer | string, { headers }: { headers: Record<string, string> }) {
  const stream = new Blob([body]).stream()
  const options = { method: 'POST', body: stream, duplex: 'half', headers: { 'content-type': MULTIPART, ...headers } }
  return request(`${server.url}/submit`, options as RequestInit) // the types of Node 20 do not know `duplex`
}

test('each limit has its default', async (t) => {
  const server = await common()
  const authToken = await askToken(server)
  const cases: LimitCase[] = [
    { name: '1,000 parts', body: form(...many(999)) },
    { name: '1,001 parts', body: form(...many(1000)), code: 'too_many_parts' },
    { name: '1,000 pairs', body: pairs(1000), headers: urlencoded },
    { name: '1,001 pairs', body: pairs(1001), headers: urlencoded, code: 'too_many_parts' },
    { name: '1,000 members', body: members(1000), headers: json },
    { name: '1,001 members', body: members(1001), headers: json, code: 'too_many_parts' },
    { name: 'a part header of 16 KB', body: form({ header: header(16 * 1024), content: '' }) },
    { name: 'a part header of 16 KB and a byte', body: form({ header: header(16 * 1024 + 1), content: '' }), code: 'part_header_too_large' },
    { name: '64 KB before the first part', body: preamble(64 * 1024) },
    { name: '64 KB and a byte before the first part', body: preamble(64 * 1024 + 1), code: 'preamble_too_large' },
    { name: '16 MB of text fields and no token', body: () => formatMultipart([textPart('a', long(16 * 1024 * 1024))]), code: 'unauthorized' },
    { name: '16 MB and a byte of text fields', body: () => formatMultipart([textPart('a', long(16 * 1024 * 1024 + 1))]), code: 'fields_too_large' },
    { name: '16 MB and a byte of JSON', body: () => Buffer.alloc(16 * 1024 * 1024 + 1, ' '), headers: json, code: 'request_too_large' },
    { name: '40,000 escapes in a name', body: form({ header: `${disposition}; filename="${'\\"'.repeat(40_000)}"`, content: '' }), code: 'part_header_too_large' },
    { name: '5,000 parameters', body: form({ header: `${disposition}${'; x=y'.repeat(5000)}`, content: '' }), code: 'part_header_too_large' },
    { name: '8,000 escapes in a name', body: form({ header: `${disposition}; filename="${'\\"'.repeat(8000)}"`, content: '' }) },
  ]
  for (const { name, body, headers = {}, code } of cases) {
    await t.test(`${name}: ${code ?? 'accepted'}`, async () => {
      const before = await listUploads(server.basedir)
      const answer = await post(server, body(authToken), { headers })
      if (code === undefined) return void assertAccepted(answer)
      assertRefused(answer, { status: STATUSES[code] ?? 413, code })
      await nothingIsLeft(server, before)
    })
  }
})

test('a declared length over the limit is refused before a byte of it comes', async () => {
  const server = await common()
  const before = await listUploads(server.basedir)
  const authToken = await askToken(server)
  for (const contentType of [MULTIPART, urlencoded['content-type'], json['content-type']]) {
    const lines = ['POST /submit HTTP/1.1', 'Host: a', `Authorization: Bearer ${authToken}`, `Content-Type: ${contentType}`]
    const socket = connect({ port: server.port, host: '127.0.0.1' })
    socket.write(`${lines.join('\r\n')}\r\nContent-Length: 10000000000000\r\n\r\n`)
    const [first] = (await new Promise<Buffer>((resolve) => socket.once('data', resolve))).toString().split('\r\n')
    assert.equal(first, 'HTTP/1.1 413 Payload Too Large')
    socket.destroy()
  }
  await nothingIsLeft(server, before)
})

test('others are answered while a form of very many parts is taken in, or refused', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_PARTS: '20000' } })
  const refusing = await startServer(t)
  for (const [each, count, kind] of [[server, 1500, 'file'], [server, 10_000, 'text'], [refusing, 10_000, 'file'], [refusing, 10_000, 'text']] as const) {
    const parts = Array.from({ length: count }, (_, index) => (kind === 'file' ? filePart('file', 'a.txt', 'x') : textPart('a', String(index))))
    const upload = post(each, formatMultipart([textPart('auth_token', await askToken(each)), ...parts]))
    await assertServesOthers(each, upload)
    if (each === refusing) assertRefused(await upload, { status: 413, code: 'too_many_parts' })
    else assert.equal(assertAccepted(await upload).length, kind === 'file' ? count : 0)
  }
})

test('what follows the last delimiter is ignored', async (t) => {
  const server = await common()
  const token = textPart('auth_token', await askToken(server))
  const another = formatMultipart([filePart('file', 'b.txt', 'more')])
  const cases = [
    { name: 'nothing', epilogue: '' },
    { name: 'line ends', epilogue: '\r\n\n' },
    { name: 'text', epilogue: 'the end' },
    { name: 'another form', epilogue: another },
    { name: 'what no form may have', epilogue: `\r\n--${BOUNDARY}\r\nno header` },
    { name: '20 MB', epilogue: Buffer.alloc(20_000_000, another) },
  ]
  for (const { name, epilogue } of cases) {
    await t.test(name, async () => {
      const before = await listUploads(server.basedir)
      const whole = formatMultipart([token, filePart('file', 'a.txt', `before ${name}`)])
      const files = assertAccepted(await post(server, Buffer.concat([whole, Buffer.from(epilogue)])))
      assert.equal((await readStored(server, files[0])).toString(), `before ${name}`)
      assert.deepEqual(files.map((file) => file.name), ['a.txt'])
      await nothingIsLeft(server, [...before, `responses/study/${files[0]?.stored_as}`].toSorted())
    })
  }
  await t.test('but belongs to the request and its limit', async (t) => {
    const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_REQUEST_BYTES: '100000' } })
    const whole = formatMultipart([textPart('auth_token', await askToken(server)), filePart('file', 'a.txt', 'RIFF')])
    const answer = await postChunked(server, Buffer.concat([whole, Buffer.alloc(100_000)]), { headers: {} })
    assertRefused(answer, { status: 413, code: 'request_too_large' })
    await nothingIsLeft(server)
  })
})

test('a preamble is ignored', async () => {
  const server = await common()
  const whole = formatMultipart([textPart('auth_token', await askToken(server)), filePart('file', 'a.txt', 'RIFF')])
  for (const text of ['This is a form.\r\n', '\r\n', '--\r\n', `x--${BOUNDARY}\r\n`, `--${BOUNDARY}x\r\n`]) {
    const [file] = assertAccepted(await post(server, Buffer.concat([Buffer.from(text), whole])))
    assert.equal((await readStored(server, file)).toString(), 'RIFF')
  }
})

test('text that is not UTF-8 is refused', async (t) => {
  const server = await common()
  const before = await listUploads(server.basedir)
  const authToken = await askToken(server)
  const token = textPart('auth_token', authToken)
  const malformed = { status: 400, code: 'malformed_text' }
  const invalid = [
    { name: 'a byte that no UTF-8 has', bytes: [0xff] },
    { name: 'Latin-1', bytes: [0xe9, 0x61] },
    { name: 'an overlong encoding', bytes: [0xc0, 0xaf] },
    { name: 'a surrogate', bytes: [0xed, 0xa0, 0x80] },
    { name: 'a character that is cut off', bytes: [0xf0, 0x9f, 0x98] },
    { name: 'a character beyond the last', bytes: [0xf4, 0x90, 0x80, 0x80] },
  ]
  for (const { name, bytes } of invalid) {
    const text = Buffer.from(bytes)
    const percent = bytes.map((byte) => `%${byte.toString(16)}`).join('')
    const cases = [
      { where: 'a text field', body: formatMultipart([VOICE, textPart('note', text), token]), expected: malformed },
      { where: 'the token', body: formatMultipart([VOICE, textPart('auth_token', text)]), expected: malformed },
      { where: 'a pair', body: `note=a${percent}&auth_token=${authToken}`, headers: urlencoded, expected: malformed },
      { where: 'the name of a pair', body: `a${percent}=&auth_token=${authToken}`, headers: urlencoded, expected: malformed },
      {
        where: 'a member',
        body: Buffer.concat([Buffer.from(`{"auth_token":"${authToken}","note":"`), text, Buffer.from('"}')]),
        headers: json,
        expected: { status: 400, code: 'malformed_json' },
      },
    ]
    for (const { where, body, headers = {}, expected } of cases) {
      await t.test(`${name} in ${where}`, async () => {
        assertRefused(await post(server, body, { headers }), expected)
        await nothingIsLeft(server, before)
      })
    }
  }
})

test('after every refusal the server takes the next submission', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const bodies = [...headers.map(({ header }) => formatMultipart([{ header, content: 'x' }])), Buffer.alloc(0), Buffer.from(`--${BOUNDARY}`)]
  await Promise.all(bodies.map(async (body) => assert.equal((await post(server, body)).status, 400)))
  assertAccepted(await submitForm(server, [['file', Buffer.from('RIFF'), 'a.wav'], ['auth_token', authToken]]))
  assert.doesNotMatch(server.output(), /uncaught|unhandled/i)
})
