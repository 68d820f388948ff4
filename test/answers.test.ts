import assert from 'node:assert/strict'
import { test } from 'node:test'
import { askToken, commonServer, listUploads } from './harness.ts'
import { assertAccepted, assertRefused, assertServesOthers, filePart, formatMultipart, FORMATS, nothingIsLeft, post, readStored, textPart } from './submission.ts'

const common = commonServer()

const kept: { name: string; text: string }[] = [
  { name: 'an integer beyond 2^53', text: '12345678901234567890' },
  { name: 'a fraction of zero', text: '1.0' },
  { name: 'minus zero', text: '-0' },
  { name: 'a number beyond every double', text: '1e400' },
  { name: 'an exponent with its sign and capital', text: '1E+2' },
  { name: 'a number with 17 digits', text: '0.30000000000000004' },
  { name: 'an exponent with leading zeros', text: '-1.50e-0007' },
  { name: 'null', text: 'null' },
  { name: 'true', text: 'true' },
  { name: 'an empty string', text: '""' },
  { name: 'an empty array', text: '[]' },
  { name: 'an empty object with blanks in it', text: '{ \t\r\n }' },
  { name: 'keys in their order, those like numbers too', text: '{"b":1,"10":2,"a":3,"2":4,"-1":5}' },
  { name: 'keys that come twice', text: '{"a":1,"a":2}' },
  { name: '__proto__ and constructor as keys', text: '{"__proto__":{"isAdmin":true},"constructor":{"prototype":null}}' },
  { name: 'a lone high surrogate', text: '"\\ud800"' },
  { name: 'a lone low surrogate in a key', text: '{"\\uDFFF":"\\uDFFF"}' },
  { name: 'every escape as it was written', text: String.raw`"\"\\\/\b\f\n\r\t\u0000\u00e9\uD83D\uDE00"` },
  { name: 'characters that JavaScript takes for line ends', text: '"\u2028\u2029"' },
  { name: 'accents, both composed and not, CJK and emoji', text: '"é e\u0301 漢字 👩‍👩‍👧 \u202e\ufeff"' },
  { name: 'the delete character, which is no control character here', text: '"\u007f"' },
  { name: 'blanks within', text: '{"a" :\t[ 1 ,\r\n 2 ] }' },
  { name: 'a string of 200,000 characters', text: JSON.stringify('é'.repeat(200_000)) },
  { name: '9,000 levels of nesting', text: '['.repeat(9000) + ']'.repeat(9000) },
]

for (const { mediaType, contentType, format } of FORMATS) {
  test(`answers in ${mediaType} are stored as the bytes that were sent`, async (t) => {
    const server = await common()
    const authToken = await askToken(server)
    for (const { name, text } of kept) {
      await t.test(name, async () => {
        const body = format([['auth_token', authToken], ['responses', text], ['expires', 'later']])
        const [file] = assertAccepted(await post(server, body, { headers: { 'content-type': contentType } }))
        assert.equal((await readStored(server, file)).toString(), text)
      })
    }
  })
}

test('blanks around answers belong to the text of a field, and not to the value of a JSON member', async () => {
  const server = await common()
  const authToken = await askToken(server)
  const text = '\t\r\n {"a": 1} \n'
  for (const { mediaType, contentType, format } of FORMATS) {
    const body = format([['auth_token', authToken], ['responses', text]])
    const [file] = assertAccepted(await post(server, body, { headers: { 'content-type': contentType } }))
    assert.equal((await readStored(server, file)).toString(), mediaType === 'application/json' ? '{"a": 1}' : text)
  }
})

const refused: { name: string; text: string | Buffer }[] = [
  { name: 'nothing', text: '' },
  { name: 'blanks alone', text: ' \r\n' },
  { name: 'an object that is cut off', text: '{"a":1' },
  { name: 'a string that is cut off', text: '"a' },
  { name: 'an escape that is cut off', text: '"\\u00"' },
  { name: 'a word that is cut off', text: 'tru' },
  { name: 'a number that is cut off', text: '1.' },
  { name: 'a sign alone', text: '-' },
  { name: 'text after the value', text: '{} x' },
  { name: 'a second value', text: '{} {}' },
  { name: 'a bracket after the value', text: '[]]' },
  { name: 'NaN', text: 'NaN' },
  { name: 'Infinity', text: '-Infinity' },
  { name: 'a word that JSON does not have', text: 'undefined' },
  { name: 'a word in capitals', text: 'True' },
  { name: 'single quotes', text: "{'a':1}" },
  { name: 'a key without quotes', text: '{a:1}' },
  { name: 'a comment', text: '{"a":1 /* one */}' },
  { name: 'a comment to the end of the line', text: '[1] // one' },
  { name: 'a leading zero', text: '01' },
  { name: 'a leading plus', text: '+1' },
  { name: 'a leading point', text: '.5' },
  { name: 'hexadecimal', text: '0x10' },
  { name: 'a comma at the end of an array', text: '[1,]' },
  { name: 'a comma at the end of an object', text: '{"a":1,}' },
  { name: 'a key without a value', text: '{"a"}' },
  { name: 'the wrong bracket', text: '[1}' },
  { name: 'a raw line end in a string', text: '"a\nb"' },
  { name: 'a raw tab in a string', text: '"a\tb"' },
  { name: 'a raw NUL in a string', text: '"\0"' },
  { name: 'an unknown escape', text: '"\\x41"' },
  { name: 'a byte order mark', text: '\ufeff{}' },
  { name: 'a blank that JSON does not know', text: '[\u00a01]' },
  { name: 'a byte that no UTF-8 has', text: Buffer.from([0x22, 0xff, 0x22]) },
  { name: 'Latin-1', text: Buffer.from('"é"', 'latin1') },
  { name: 'an overlong encoding', text: Buffer.from([0x22, 0xc0, 0xaf, 0x22]) },
  { name: 'a surrogate in UTF-8', text: Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]) },
  { name: 'a character that is cut off', text: Buffer.from([0x22, 0xe6, 0xbc, 0x22]) },
  { name: 'a hundred thousand levels of nesting', text: '['.repeat(100_000) + ']'.repeat(100_000) },
  { name: 'a hundred thousand objects within one another', text: '{"a":'.repeat(100_000) },
]

for (const { mediaType, contentType, format } of FORMATS) {
  test(`answers in ${mediaType} that are not exactly one JSON value are refused`, async (t) => {
    const server = await common()
    const before = await listUploads(server.basedir)
    const authToken = await askToken(server)
    const code = mediaType === 'application/json' ? 'malformed_json' : 'invalid_responses'
    for (const { name, text } of refused) {
      await t.test(name, async () => {
        const body = format([['auth_token', authToken], ['responses', text]])
        assertRefused(await post(server, body, { headers: { 'content-type': contentType } }), { status: 400, code })
        await nothingIsLeft(server, before)
      })
    }
  })
}

test('files beside answers that are refused are not kept, whichever comes first', async (t) => {
  const server = await common()
  const before = await listUploads(server.basedir)
  const token = textPart('auth_token', await askToken(server))
  const file = filePart('file', 'voice.wav', Buffer.alloc(300_000, 'a'))
  for (const { name, text } of refused) {
    await t.test(name, async () => {
      const answers = textPart('responses', text)
      for (const parts of [[file, token, answers], [answers, file, token]]) {
        assertRefused(await post(server, formatMultipart(parts)), { status: 400, code: 'invalid_responses' })
      }
      await nothingIsLeft(server, before)
    })
  }
})

test('a JSON body that is not exactly one object is refused', async (t) => {
  const server = await common()
  const before = await listUploads(server.basedir)
  const authToken = await askToken(server)
  const good = `"auth_token":"${authToken}","responses":{}`
  const cases = [
    { name: 'nothing', body: '' },
    { name: 'an array', body: `[{${good}}]` },
    { name: 'a string', body: '"auth_token"' },
    { name: 'an object that is cut off', body: `{${good}` },
    { name: 'an object with text after it', body: `{${good}} x` },
    { name: 'two objects', body: `{${good}}{${good}}` },
    { name: 'a comma too many', body: `{${good},}` },
    { name: 'a byte order mark', body: `\ufeff{${good}}` },
    { name: 'a key that is not UTF-8', body: Buffer.from(`{${good},"é":1}`, 'latin1') },
    { name: 'UTF-16', body: Buffer.from(`{${good}}`, 'utf16le') },
  ]
  for (const { name, body } of cases) {
    await t.test(name, async () => {
      const answer = await post(server, body, { headers: { 'content-type': 'application/json' } })
      assertRefused(answer, { status: 400, code: 'malformed_json' })
      await nothingIsLeft(server, before)
    })
  }
  await t.test('blanks around the object are none of it', async () => {
    assertAccepted(await post(server, `\r\n\t {${good}} \n`, { headers: { 'content-type': 'application/json' } }))
  })
})

test('other requests are answered while deep answers are read', async () => {
  const server = await common()
  const before = await listUploads(server.basedir)
  const authToken = await askToken(server)
  const bodies = FORMATS.flatMap(({ contentType, format }) =>
    ['[', '{"a":'].map((open) => ({ contentType, body: format([['auth_token', authToken], ['responses', open.repeat(1_000_000)]]) })),
  )
  const uploads = Promise.all(bodies.map(({ contentType, body }) => post(server, body, { headers: { 'content-type': contentType } })))
  await assertServesOthers(server, uploads)
  for (const answer of await uploads) assert.equal(answer.status, 400, answer.text)
  assert.deepEqual(await listUploads(server.basedir), before)
})
