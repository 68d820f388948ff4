import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { request as openRequest } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { ADMIN_TOKEN, askToken, filesOf, listFiles, listUploads, readReceipts, request } from './harness.ts'
import { commonServer, startServer, submitForm, temporaryDirectory, until } from './harness.ts'
import type { Running } from './harness.ts'
import { sha256Of } from './sha256.ts'
import {
  assertAccepted, assertRefused, BOUNDARY, filePart, formatMultipart, FORMATS, MULTIPART, nothingIsLeft, post, readStored, textPart,
} from './submission.ts'

const NAME = /^\d{8}T\d{6}\.\d{6}Z-(.+)$/
const UNKNOWN_TOKEN = `study-${'0'.repeat(32)}`
// For tests that look at what they sent, or at a project of their own.
const common = commonServer()
const nameOf = (mediaType: string) => mediaType.replace(/\W/g, '-')

for (const { mediaType, contentType, format } of FORMATS) {
  test(`${mediaType} is accepted, and gives the same files and the same receipt as the other media types`, async () => {
    const server = await common()
    const project = `one-${nameOf(mediaType)}`
    const authToken = await askToken(server, { project, participant_id: 'P7' })
    const answers = '{"b":1.0,\r\n "10":"é","1":[ 12345678901234567890 ]}'
    const fields = [['responses', answers], ['auth_token', authToken], ['expires', '20300101T000000Z'], ['note', 'a & b=c+d "é"']] as const

    const answer = await post(server, format(fields), { headers: { 'content-type': contentType } })

    const [file, ...others] = assertAccepted(answer)
    assert.deepEqual(others, [])
    assert.deepEqual(
      { ...file, stored_as: NAME.exec(file?.stored_as ?? '')?.[1] },
      { name: 'messages.json', stored_as: 'messages.json', bytes: Buffer.byteLength(answers), sha256: sha256Of(answers) },
    )
    assert.equal((await readStored(server, file, project)).toString(), answers)
    const receivedAt = String(answer.json['received_at'])
    assert.equal(file?.stored_as, `${receivedAt.replace(/[-:]/g, '')}-messages.json`)
    assert.deepEqual(await readReceipts(server.basedir, project), [
      {
        id: answer.json['id'],
        received_at: receivedAt,
        project,
        token_sha256: sha256Of(authToken),
        participant: 'P7',
        fields: [{ name: 'expires', value: '20300101T000000Z' }, { name: 'note', value: 'a & b=c+d "é"' }],
        files: [{ field: 'responses', ...file, media_type: 'application/json' }],
        previous: null,
      },
    ])
  })
}

test('an answer names the submission, its moment, its project and its files in the order of the form', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const voice = randomBytes(1000)
  const answer = await submitForm(server, [
    ['file', voice, 'voice.wav'],
    ['responses', '{"a":1}'],
    ['other', Buffer.alloc(0), 'empty.txt'],
    ['auth_token', authToken],
  ])
  const files = assertAccepted(answer)
  const stamp = String(answer.json['received_at']).replace(/[-:]/g, '')
  assert.deepEqual(Object.keys(answer.json), ['status', 'id', 'received_at', 'project', 'files'])
  assert.match(String(answer.json['id']), /^[0-9a-f]{32}$/)
  assert.match(String(answer.json['received_at']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
  assert.equal(answer.json['project'], 'study')
  assert.deepEqual(files, [
    { name: 'voice.wav', stored_as: `${stamp}-voice.wav`, bytes: 1000, sha256: sha256Of(voice) },
    { name: 'messages.json', stored_as: `${stamp}-messages.json`, bytes: 7, sha256: sha256Of('{"a":1}') },
    { name: 'empty.txt', stored_as: `${stamp}-empty.txt`, bytes: 0, sha256: sha256Of('') },
  ])
  assert.deepEqual(await listUploads(server.basedir), files.map((file) => `responses/study/${file.stored_as}`).toSorted())
  const [receipt] = await readReceipts(server.basedir, 'study')
  const described = files.map((file, index) => ({
    field: ['file', 'responses', 'other'][index],
    ...file,
    media_type: index === 1 ? 'application/json' : 'application/octet-stream',
  }))
  assert.deepEqual(receipt?.['files'], described)
})

test('a form is accepted with its parts in any order', async (t) => {
  const server = await common()
  const authToken = await askToken(server)
  const parts = {
    file: filePart('file', 'voice.wav', 'RIFF'),
    auth_token: textPart('auth_token', authToken),
    responses: textPart('responses', '{}'),
    expires: textPart('expires', '20300101T000000Z'),
  }
  for (const order of permutations(Object.keys(parts) as (keyof typeof parts)[])) {
    await t.test(order.join(', '), async () => {
      const files = assertAccepted(await post(server, formatMultipart(order.map((name) => parts[name]))))
      assert.deepEqual(
        await Promise.all(files.map(async (file) => [file.name, (await readStored(server, file)).toString()])),
        order.flatMap((name) => (name === 'file' ? [['voice.wav', 'RIFF']] : name === 'responses' ? [['messages.json', '{}']] : [])),
      )
    })
  }
})

function permutations<Item>(items: readonly Item[]): Item[][] {
  if (items.length < 2) return [[...items]]
  return items.flatMap((item) => permutations(items.filter((each) => each !== item)).map((rest) => [item, ...rest]))
}

test('an auth token', async (t) => {
  const server = await common()
  const [good, another] = [await askToken(server), await askToken(server)]
  const expired = `study-${'e'.repeat(32)}`
  await writeGrant(server, expired, Date.now() - 1000)
  const accepted = { status: 200, code: undefined }
  const missing = { status: 403, code: 'unauthorized' }
  const unknown = { status: 403, code: 'unauthorized_token' }
  const conflict = { status: 400, code: 'conflicting_credentials' }
  const repeated = { status: 400, code: 'repeated_field' }
  const cases = [
    { name: 'may come as a field of the form', fields: [good], expected: accepted },
    { name: 'may come as Authorization: Bearer', bearer: `Bearer ${good}`, expected: accepted },
    { name: 'may come with the scheme in small letters', bearer: `bearer ${good}`, expected: accepted },
    { name: 'may come with the scheme in capitals, after several blanks', bearer: `BEARER   ${good}`, expected: accepted },
    { name: 'may come in the query', query: good, expected: accepted },
    { name: 'may come in all three places where it is the same', fields: [good], bearer: `Bearer ${good}`, query: good, expected: accepted },
    { name: 'may come beside another authentication scheme', fields: [good], bearer: 'Basic bGFiOnNlY3JldA==', expected: accepted },
    { name: 'is missed', expected: missing },
    { name: 'is missed where there is only another authentication scheme', bearer: `Token ${good}`, expected: missing },
    { name: 'is refused in a field where it is not known', fields: [UNKNOWN_TOKEN], expected: unknown },
    { name: 'is refused in the header where it is not known', bearer: `Bearer ${UNKNOWN_TOKEN}`, expected: unknown },
    { name: 'is refused in the query where it is not known', query: UNKNOWN_TOKEN, expected: unknown },
    { name: 'is refused where it is empty', fields: [''], expected: unknown },
    { name: 'is refused with a line end after it', fields: [`${good}\n`], expected: unknown },
    { name: 'is refused in capitals', fields: [good.toUpperCase()], expected: unknown },
    { name: 'is refused under the name of another project', fields: [good.replace('study', 'other')], expected: unknown },
    { name: 'is refused where it is a hundred thousand characters long', fields: ['a'.repeat(100_000)], expected: unknown },
    { name: 'is refused where it is the admin token', fields: [ADMIN_TOKEN], expected: unknown },
    { name: 'is refused where it is __proto__', fields: ['__proto__'], expected: unknown },
    { name: 'is refused once it has expired', fields: [expired], expected: { status: 403, code: 'token_expired' } },
    { name: 'is refused beside another one in the header', fields: [good], bearer: `Bearer ${another}`, expected: conflict },
    { name: 'is refused beside another one in the query', fields: [good], query: another, expected: conflict },
    { name: 'is refused where header and query differ', bearer: `Bearer ${good}`, query: another, expected: conflict },
    { name: 'is refused where it stands in the form twice', fields: [good, good], expected: repeated },
    { name: 'is refused beside another one in the form', fields: [good, another], expected: repeated },
  ]
  for (const { name, fields = [], bearer, query, expected } of cases) {
    await t.test(name, async () => {
      const before = await listUploads(server.basedir)
      const headers: Record<string, string> = bearer === undefined ? {} : { authorization: bearer }
      const parts = [filePart('file', 'voice.wav', randomBytes(300_000)), ...fields.map((field) => textPart('auth_token', field))]
      const answer = await post(server, formatMultipart(parts), { headers, query: query === undefined ? '' : `?auth_token=${query}` })
      assert.deepEqual({ status: answer.status, code: answer.json['code'] }, expected, answer.text)
      if (expected.status === 200) return
      assertRefused(answer, { status: expected.status, code: expected.code ?? '' })
      await nothingIsLeft(server, before)
    })
  }
  await t.test('is refused in the query twice, though both are the same', async () => {
    const answer = await post(server, formatMultipart([]), { query: `?auth_token=${good}&auth_token=${good}` })
    assertRefused(answer, { status: 400, code: 'repeated_parameter' })
  })
  await t.test('is refused as a file', async () => {
    const answer = await post(server, formatMultipart([filePart('auth_token', 'token.txt', good)]))
    assertRefused(answer, { status: 400, code: 'malformed_form' })
  })
})

test('an auth token in a JSON body', async (t) => {
  const server = await common()
  const before = await listUploads(server.basedir)
  const good = await askToken(server)
  const unknown = { status: 403, code: 'unauthorized_token' }
  const missing = { status: 403, code: 'unauthorized' }
  const cases = [
    { name: 'is refused as a number', body: '{"auth_token":7}', expected: unknown },
    { name: 'is refused as null', body: '{"auth_token":null}', expected: unknown },
    { name: 'is refused in an array', body: `{"auth_token":["${good}"]}`, expected: unknown },
    { name: 'is refused in an object', body: `{"auth_token":{"toString":"${good}"}}`, expected: unknown },
    { name: 'is missed under __proto__', body: `{"__proto__":{"auth_token":"${good}"}}`, expected: missing },
    { name: 'is missed under another key', body: `{"fields":{"auth_token":"${good}"}}`, expected: missing },
    { name: 'is refused twice', body: `{"auth_token":"${good}","auth_token":"${good}"}`, expected: { status: 400, code: 'repeated_field' } },
    {
      name: 'is refused beside another one in the header',
      body: '{"auth_token":"study-1"}',
      authorization: `Bearer ${good}`,
      expected: { status: 400, code: 'conflicting_credentials' },
    },
  ]
  for (const { name, body, authorization, expected } of cases) {
    await t.test(name, async () => {
      const headers = { 'content-type': 'application/json', ...(authorization === undefined ? {} : { authorization }) }
      assertRefused(await post(server, body, { headers }), expected)
      await nothingIsLeft(server, before)
    })
  }
  await t.test('is read with its escapes', async () => {
    const escaped = [...good].map((character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
    const body = `{"auth_\\u0074oken":"${escaped}","responses":[]}`
    assertAccepted(await post(server, body, { headers: { 'content-type': 'application/json' } }))
  })
})

// As the record of a token lies on disk, for a token that expires sooner than any that can be asked for.
async function writeGrant(server: Running, authToken: string, expiresAtMs: number): Promise<void> {
  const record = {
    project: 'study',
    issued_at: new Date(expiresAtMs - 60_000).toISOString(),
    expires_at: new Date(expiresAtMs).toISOString(),
  }
  await writeFile(join(server.basedir, 'tokens', `${sha256Of(authToken)}.json`), JSON.stringify(record))
}

const PLACES = ['a field', 'the header', 'the query'] as const

for (const place of PLACES) {
  test(`an upload that begins before its token in ${place} expires is accepted when it ends after`, async (t) => {
    const server = await startServer(t)
    const authToken = `study-${'a'.repeat(32)}`
    await writeGrant(server, authToken, Date.now() + 3_600_000)
    const content = randomBytes(400_000)
    const parts = [filePart('file', 'voice.wav', content), ...(place === 'a field' ? [textPart('auth_token', authToken)] : [])]
    const form = formatMultipart(parts)
    const headers = { 'content-type': MULTIPART, ...(place === 'the header' ? { authorization: `Bearer ${authToken}` } : {}) }
    const path = place === 'the query' ? `/submit?auth_token=${authToken}` : '/submit'

    const upload = openRequest({ port: server.port, path, method: 'POST', headers, agent: false })
    const answered = new Promise<number | undefined>((resolve, reject) => {
      upload.on('response', (response) => resolve(response.resume().statusCode)).on('error', reject)
    })
    upload.write(form.subarray(0, 300_000))
    await until('the upload has begun', async () => (await listUploads(server.basedir)).length > 0)
    await writeGrant(server, authToken, Date.now() + 1) // later than the beginning, however long that took
    const noForm = { query: `?auth_token=${authToken}` } // refused in any case, so that nothing is stored
    await until('the server has read that the token has expired', async () => (await post(server, 'x', noForm)).json['code'] === 'token_expired')
    assertRefused(await post(server, formatMultipart([textPart('auth_token', authToken)])), { status: 403, code: 'token_expired' })
    assert.deepEqual(await readdir(join(server.basedir, 'uploads', 'responses')), [], 'nothing of it is visible before its end')
    upload.end(form.subarray(300_000))

    assert.equal(await answered, 200)
    const [name = ''] = await listUploads(server.basedir)
    assert.deepEqual(await readFile(join(server.basedir, 'uploads', name)), content)
  })
}

test('the receipts of a project are a chain: each line carries the SHA-256 of the line before it', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  for (let index = 0; index < 5; index++) assertAccepted(await submitForm(server, [['auth_token', authToken], ['index', String(index)]]))
  await Promise.all(Array.from({ length: 20 }, () => submitForm(server, [['auth_token', authToken], ['file', randomBytes(10), 'a.bin']])))
  const [lines = [], ...others] = await receiptLines(server.basedir)
  assert.deepEqual(others, [])
  assert.equal(lines.length, 25)
  assertChain(lines)
})

test('a receipts file has one writer: another process and a restart begin files of their own', async (t) => {
  const basedir = await temporaryDirectory(t)
  const first = await startServer(t, { basedir })
  const second = await startServer(t, { basedir })
  const authToken = await askToken(first)
  const form = [['auth_token', authToken], ['file', randomBytes(10), 'a.bin']] as const
  for (const server of [first, second, first, second]) assertAccepted(await submitForm(server, form))
  assert.equal(await first.stop(), 0)
  const third = await startServer(t, { basedir })
  for (const server of [third, second]) assertAccepted(await submitForm(server, form))
  const files = await receiptLines(basedir)
  assert.deepEqual(files.map((lines) => lines.length).toSorted(), [1, 2, 3])
  for (const lines of files) assertChain(lines)
})

async function receiptLines(basedir: string): Promise<string[][]> {
  const directory = join(basedir, 'receipts', 'study')
  const names = await listFiles(directory)
  for (const name of names) assert.match(name, /^\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}\.ndjson$/)
  const texts = await Promise.all(names.map((name) => readFile(join(directory, name), 'utf8')))
  return texts.map((text) => {
    assert.equal(text.at(-1), '\n')
    return text.slice(0, -1).split('\n')
  })
}

function assertChain(lines: readonly string[]): void {
  const previous = lines.map((line) => (JSON.parse(line) as { previous: string | null }).previous)
  assert.deepEqual(previous, [null, ...lines.slice(0, -1).map(sha256Of)])
}

test('files of one submission', async (t) => {
  const server = await common()
  const authToken = await askToken(server)
  const cases = [
    {
      name: 'of the same name are stored one by one',
      parts: [filePart('file', 'voice.wav', 'first'), filePart('file', 'voice.wav', 'second'), filePart('other', 'voice.wav', 'third')],
      expected: ['voice.wav', '2-voice.wav', '3-voice.wav'],
    },
    {
      name: 'may have the name that another one is given to tell it apart',
      parts: [filePart('file', '2-a', 'first'), filePart('file', 'a', 'second'), filePart('file', 'a', 'third')],
      expected: ['2-a', 'a', '3-a'],
    },
    {
      name: 'may be called messages.json: the answers keep the plain name, wherever they stand',
      parts: [filePart('file', 'messages.json', 'a file'), textPart('responses', '{}')],
      expected: ['2-messages.json', 'messages.json'],
    },
    {
      name: 'may be called responses: a file of that field is a file',
      parts: [filePart('responses', 'blob', 'not JSON'), textPart('responses', '[]')],
      expected: ['blob', 'messages.json'],
    },
    {
      name: 'may stand under any field name, or under none',
      parts: [
        filePart('', 'a', '1'),
        filePart('__proto__', 'b', '2'),
        { header: 'Content-Disposition: form-data; filename="c"', content: '3' },
        filePart('expires', 'd', '4'),
      ],
      expected: ['a', 'b', 'c', 'd'],
    },
    {
      name: 'may have an empty name where they have content',
      parts: [filePart('file', '', 'content'), filePart('file', '', 'more')],
      expected: ['unnamed', '2-unnamed'],
    },
    { name: 'may be empty', parts: [filePart('file', 'a.txt', '')], expected: ['a.txt'] },
    {
      name: 'are none where a file input was not filled',
      parts: [filePart('file', '', ''), textPart('responses', '{}')],
      expected: ['messages.json'],
    },
  ]
  for (const { name, parts, expected } of cases) {
    await t.test(name, async () => {
      const answer = await post(server, formatMultipart([...parts, textPart('auth_token', authToken)]))
      const files = assertAccepted(answer)
      assert.deepEqual(files.map((file) => NAME.exec(file.stored_as)?.[1]), expected)
      assert.equal(new Set(files.map((file) => file.stored_as.slice(0, 23))).size, 1, 'they share a stamp')
      const contents = parts.map((part) => part.content).filter((content) => content !== '' || expected.length === parts.length)
      for (const [index, file] of files.entries()) assert.equal((await readStored(server, file)).toString(), contents[index])
    })
  }
})

test('all files of a submission are stored, or none', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const files = [filePart('file', 'a.wav', randomBytes(200_000)), filePart('file', 'b.wav', randomBytes(10))]
  const token = textPart('auth_token', authToken)
  const cases = [
    { name: 'a second field responses', parts: [...files, token, textPart('responses', '1'), textPart('responses', '1')], code: 'repeated_field' },
    { name: 'answers that are no JSON', parts: [...files, token, textPart('responses', '{')], code: 'invalid_responses' },
    { name: 'a text field that is not UTF-8', parts: [...files, token, textPart('note', Buffer.from([0xff]))], code: 'malformed_text' },
    {
      name: 'a long text field that is not UTF-8',
      parts: [...files, token, textPart('note', Buffer.concat([Buffer.alloc(100_000, 'a'), Buffer.from([0xc3]), Buffer.alloc(9, 'a')]))],
      code: 'malformed_text',
    },
    {
      name: 'a long text field that ends within a character',
      parts: [...files, token, textPart('note', Buffer.concat([Buffer.alloc(100_000, 'a'), Buffer.from([0xc3])]))],
      code: 'malformed_text',
    },
    { name: 'a part that cannot be read', parts: [...files, token, { header: 'Nothing', content: '' }], code: 'malformed_form' },
  ]
  for (const { name, parts, code } of cases) {
    await t.test(`none after ${name}`, async () => {
      assertRefused(await post(server, formatMultipart(parts)), { status: 400, code })
      await nothingIsLeft(server)
      assert.deepEqual(await listFiles(join(server.basedir, 'receipts')), [])
    })
  }
})

test('200 submissions at the same instant are kept, each under its own name', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const contents = Array.from({ length: 200 }, (_, index) => Buffer.from(`recording ${index}`))
  const answers = await Promise.all(
    contents.map((content) => submitForm(server, [['file', content, 'voice.wav'], ['auth_token', authToken], ['responses', '{}']])),
  )
  for (const [index, answer] of answers.entries()) {
    const [voice, messages] = assertAccepted(answer)
    assert.deepEqual(await readStored(server, voice), contents[index])
    assert.equal((await readStored(server, messages)).toString(), '{}')
  }
  const names = answers.flatMap((answer) => filesOf(answer).map((file) => file.stored_as))
  assert.equal(new Set(names).size, 400)
  assert.deepEqual(await listUploads(server.basedir), names.map((name) => `responses/study/${name}`).toSorted())
  const ids = (await readReceipts(server.basedir, 'study')).map((receipt) => receipt['id'])
  assert.deepEqual(ids.toSorted(), answers.map((answer) => answer.json['id']).toSorted())
})

for (const { mediaType, contentType, format } of FORMATS) {
  test(`other fields are kept in the receipt, in their order and under any name, in ${mediaType}`, async () => {
    const server = await common()
    const project = `fields-${nameOf(mediaType)}`
    const fields = [
      ['10', 'ten'], ['1', 'one'], ['__proto__', 'p'], ['constructor', 'c'], ['toString', 's'], ['a[b]', 'brackets'], ['a.b', ''],
      ['note', 'line\r\nend'], ['note', 'a second one'], ['', 'no name'], ['é 漢', '\ufeff \u0000 \u2028 😀'],
    ] as const
    const body = format([...fields, ['auth_token', await askToken(server, { project })]])
    assert.deepEqual(assertAccepted(await post(server, body, { headers: { 'content-type': contentType } })), [])
    const [receipt] = await readReceipts(server.basedir, project)
    assert.deepEqual(receipt?.['fields'], fields.map(([name, value]) => ({ name, value })))
    assert.equal((await request(`${server.url}/`)).text, '{"hello":"world"}')
  })

  test(`a text field of more than 64 KB is kept as a file, in ${mediaType}`, async () => {
    const server = await common()
    const project = `long-${nameOf(mediaType)}`
    const [long, short] = ['é'.repeat(100_000), 'a'.repeat(64 * 1024 - 2)]
    const body = format([['long', long], ['short', short], ['auth_token', await askToken(server, { project })]])
    const answer = await post(server, body, { headers: { 'content-type': contentType } })
    const [file, ...others] = assertAccepted(answer)
    assert.deepEqual(others, [])
    const isJson = mediaType === 'application/json'
    assert.equal(file?.name, isJson ? 'long.json' : 'long.txt')
    assert.equal((await readStored(server, file, project)).toString(), isJson ? JSON.stringify(long) : long)
    const [receipt] = await readReceipts(server.basedir, project)
    assert.deepEqual(receipt?.['fields'], [{ name: 'short', value: short }])
  })
}

test('members of a JSON body are kept as they are spelled, strings as their text', async () => {
  const server = await common()
  const authToken = await askToken(server, { project: 'members' })
  const body = `{"a":12345678901234567890,"b":1.0,"c":"\\u00e9\\n\\ud800","d":{"2":1, "1":[ ]},"e":null,"f":true,"auth_token":"${authToken}"}`
  assertAccepted(await post(server, body, { headers: { 'content-type': 'application/json' } }))
  const [receipt] = await readReceipts(server.basedir, 'members')
  assert.deepEqual(receipt?.['fields'], [
    { name: 'a', value: '12345678901234567890' },
    { name: 'b', value: '1.0' },
    { name: 'c', value: 'é\n\ud800' },
    { name: 'd', value: '{"2":1, "1":[ ]}' },
    { name: 'e', value: 'null' },
    { name: 'f', value: 'true' },
  ])
})

test('a content type', async (t) => {
  const server = await common()
  const before = await listUploads(server.basedir)
  const authToken = await askToken(server)
  const unsupported = { status: 415, code: 'unsupported_media_type' }
  const encoded = { status: 415, code: 'unsupported_content_encoding' }
  const cases: { name: string; headers: Record<string, string>; expected?: { status: number; code: string } }[] = [
    { name: 'may be in capitals, with blanks and parameters', headers: { 'content-type': 'Application/JSON ; charset=utf-8' } },
    { name: 'is refused where it is text', headers: { 'content-type': 'text/plain' }, expected: unsupported },
    { name: 'is refused where it is another multipart', headers: { 'content-type': 'multipart/mixed; boundary=a' }, expected: unsupported },
    { name: 'is refused where it only begins like one that is taken', headers: { 'content-type': 'application/json-seq' }, expected: unsupported },
    { name: 'is refused where it is empty', headers: { 'content-type': '' }, expected: unsupported },
    { name: 'is refused where it names two', headers: { 'content-type': 'application/json, text/plain' }, expected: unsupported },
    { name: 'may come with the content coding identity', headers: { 'content-encoding': 'Identity' } },
    { name: 'is refused with gzip', headers: { 'content-encoding': 'gzip' }, expected: encoded },
    { name: 'is refused with several codings', headers: { 'content-encoding': 'identity, br' }, expected: encoded },
  ]
  for (const { name, headers, expected } of cases) {
    await t.test(name, async () => {
      const body = JSON.stringify({ auth_token: authToken })
      const answer = await post(server, body, { headers: { 'content-type': 'application/json', ...headers } })
      if (expected === undefined) assertAccepted(answer)
      else assertRefused(answer, expected)
    })
  }
  await t.test('is refused where it is missing', async () => {
    const answer = await request(`${server.url}/submit`, { method: 'POST', body: new Uint8Array(3) })
    assertRefused(answer, unsupported)
  })
  await nothingIsLeft(server, before)
})

test('a client that sends its whole body before it reads still receives its refusal', async () => {
  const server = await common()
  const before = await listUploads(server.basedir)
  const body = formatMultipart([textPart('auth_token', UNKNOWN_TOKEN), filePart('file', 'voice.wav', Buffer.alloc(5_000_000))])
  assertRefused(await post(server, body), { status: 403, code: 'unauthorized_token' })
  assertRefused(await post(server, body, { query: `?auth_token=${UNKNOWN_TOKEN}` }), { status: 403, code: 'unauthorized_token' })
  assertRefused(await post(server, body, { headers: { 'content-type': 'text/plain' } }), { status: 415, code: 'unsupported_media_type' })
  await nothingIsLeft(server, before)
})

test('stored bytes are the bytes that were sent', async (t) => {
  const server = await common()
  const authToken = await askToken(server)
  const delimiter = `\r\n--${BOUNDARY}`
  const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  const cases = [
    { name: 'of every value', content: everyByte },
    { name: 'of every value, many times', content: Buffer.concat(Array.from({ length: 2000 }, () => everyByte)) },
    { name: 'that end in CR', content: 'a\r' },
    { name: 'that end in LF', content: 'a\n' },
    { name: 'that end in CRLF', content: 'a\r\n' },
    { name: 'that end in CRLF and two dashes', content: 'a\r\n--' },
    { name: 'that are CRLF', content: '\r\n' },
    { name: 'that are the boundary', content: BOUNDARY },
    { name: 'that begin as a delimiter without its CRLF', content: `--${BOUNDARY}x` },
    { name: 'that hold the boundary after LF alone', content: `a\n--${BOUNDARY}\nb\n--${BOUNDARY}--\n` },
    { name: 'that hold the boundary after CR alone', content: `a\r--${BOUNDARY}\rb` },
    { name: 'that hold the delimiter followed by text', content: `a${delimiter}x\r\nb${delimiter}-x` },
    { name: 'that end in the delimiter and CR', content: `a${delimiter}\r` },
    { name: 'that end in the delimiter, blanks and CR', content: `a${delimiter} \t\r` },
    { name: 'that are a run of CR', content: '\r'.repeat(100_000) },
    { name: 'that are a run of CR and LF in turn', content: '\r\n'.repeat(50_000) },
    { name: 'that are a run of dashes', content: '-'.repeat(100_000) },
    ...Array.from({ length: delimiter.length - 1 }, (_, index) => ({
      name: `that end in the first ${index + 1} bytes of the delimiter`,
      content: `a${delimiter.slice(0, index + 1)}`,
    })),
  ]
  for (const { name, content } of cases) {
    await t.test(name, async () => {
      const parts = [filePart('file', 'a.bin', content), filePart('file', 'b.bin', content), textPart('auth_token', authToken)]
      for (const file of assertAccepted(await post(server, formatMultipart(parts)))) {
        assert.deepEqual(await readStored(server, file), Buffer.from(content))
        assert.equal(file.sha256, sha256Of(content))
      }
    })
  }
})

test('a form comes to the same however it is cut on its way', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const answers = '{"a":[1.0,"é"]}'
  const content = `\r\n--\r\n--${BOUNDARY}\r`
  const form = formatMultipart([filePart('file', 'é.wav', content), textPart('auth_token', authToken), textPart('responses', answers)])
  const cuts = [...Array.from({ length: form.length - 1 }, (_, index) => [index + 1]), Array.from({ length: form.length }, (_, index) => index)]
  const accepted = await Promise.all(cuts.map((places) => sendInPieces(server, form, places)))
  assert.deepEqual(new Set(accepted), new Set([200]))
  const stored = new Map<string, string>()
  for (const name of await listUploads(server.basedir)) stored.set(name, await readFile(join(server.basedir, 'uploads', name), 'utf8'))
  assert.equal([...stored].filter(([name, text]) => name.endsWith('-é.wav') && text === content).length, cuts.length)
  assert.equal([...stored].filter(([name, text]) => name.endsWith('-messages.json') && text === answers).length, cuts.length)
})

// Each piece is a chunk of the transfer coding, and a write of its own.
async function sendInPieces(server: Running, body: Buffer, places: readonly number[]): Promise<number | undefined> {
  const upload = openRequest({ port: server.port, path: '/submit', method: 'POST', headers: { 'content-type': MULTIPART }, agent: false })
  const answered = new Promise<number | undefined>((resolve, reject) => {
    upload.on('response', (response) => resolve(response.resume().statusCode)).on('error', reject)
  })
  upload.setNoDelay(true)
  for (const [index, start] of [0, ...places].entries()) {
    const piece = body.subarray(start, places[index] ?? body.length)
    if (piece.length > 0) await new Promise<void>((resolve) => upload.write(piece, () => resolve()))
  }
  upload.end()
  return answered
}
