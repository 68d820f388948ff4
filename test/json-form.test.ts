import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HttpError } from '../lib/errors.ts'
import { JsonForm } from '../lib/form/json-form.ts'
import { JsonError } from '../lib/form/json-text.ts'
import { LIMITS, checkText, chunkings, readForm } from './fuzz-json.ts'

const accepted: { name: string; given: string; expected: [key: string, text: string][] }[] = [
  { name: 'an empty object has no fields', given: '{}', expected: [] },
  { name: 'whitespace may stand in an empty object and around it', given: ' \t{\r\n} \n', expected: [] },
  { name: 'every member is a field', given: '{"a":"x","b":2}', expected: [['a', '"x"'], ['b', '2']] },
  {
    name: 'whitespace around a value is not of it',
    given: '{ "a" :\t[1] , "b"\n:\r\n1 }',
    expected: [['a', '[1]'], ['b', '1']],
  },
  {
    name: 'whitespace within a value stays',
    given: '{"a":{ "b" : [ 1,\n\t2 ] } }',
    expected: [['a', '{ "b" : [ 1,\n\t2 ] }']],
  },
  {
    name: 'a large number keeps its digits',
    given: '{"a":12345678901234567890}',
    expected: [['a', '12345678901234567890']],
  },
  {
    name: 'numbers keep their spelling',
    given: '{"a":1.0,"b":-0,"c":1e400,"d":1E+2,"e":0.30000000000000004}',
    expected: [['a', '1.0'], ['b', '-0'], ['c', '1e400'], ['d', '1E+2'], ['e', '0.30000000000000004']],
  },
  {
    name: 'keys like numbers keep their order',
    given: '{"b":0,"2":1,"1":2}',
    expected: [['b', '0'], ['2', '1'], ['1', '2']],
  },
  {
    name: 'they keep it within a value, too',
    given: '{"a":{"b":0,"2":1,"1":2}}',
    expected: [['a', '{"b":0,"2":1,"1":2}']],
  },
  {
    name: 'words are values',
    given: '{"a":true,"b":false,"c":null}',
    expected: [['a', 'true'], ['b', 'false'], ['c', 'null']],
  },
  { name: 'escapes in a value stay', given: '{"a":"\\u0061\\/\\ud800"}', expected: [['a', '"\\u0061\\/\\ud800"']] },
  { name: 'escapes in a key are decoded', given: '{"\\u0061\\n\\"\\ud83d\\ude00":1}', expected: [['a\n"😀', '1']] },
  { name: 'UTF-8 stands in keys and values', given: '{"é€😀":"😀€é"}', expected: [['é€😀', '"😀€é"']] },
  { name: 'an empty key is a name', given: '{"":1}', expected: [['', '1']] },
  {
    name: '__proto__ is a plain name',
    given: '{"__proto__":{"a":1},"constructor":2}',
    expected: [['__proto__', '{"a":1}'], ['constructor', '2']],
  },
  { name: 'a repeated key yields two fields', given: '{"a":1,"\\u0061":2}', expected: [['a', '1'], ['a', '2']] },
  { name: 'brackets in strings are text', given: '{"}":"]","{":"[\\"}"}', expected: [['}', '"]"'], ['{', '"[\\"}"']] },
  {
    name: 'empty values are values',
    given: '{"a":"","b":[],"c":{}}',
    expected: [['a', '""'], ['b', '[]'], ['c', '{}']],
  },
]
for (const { name, given, expected } of accepted) {
  test(name, () => {
    const fields = expected.map(([key, text]) => ({
      name: key,
      mediaType: 'application/json',
      value: Buffer.from(text).toString('latin1'),
    }))
    for (const chunks of chunkings(Buffer.from(given))) {
      assert.deepEqual(readForm(new JsonForm(LIMITS), chunks), { fields })
    }
  })
}

const malformed: { name: string; given: string | Buffer }[] = [
  { name: 'an empty body is refused', given: '' },
  { name: 'a body of whitespace is refused', given: ' \n' },
  { name: 'an array is refused', given: '[{"a":1}]' },
  { name: 'a string is refused', given: '"a"' },
  { name: 'a number is refused', given: '1' },
  { name: 'null is refused', given: 'null' },
  { name: 'a byte order mark is refused', given: '\ufeff{}' },
  { name: 'a second object is refused', given: '{}{}' },
  { name: 'text after the object is refused', given: '{"a":1} x' },
  { name: 'a second closing brace is refused', given: '{"a":1}}' },
  { name: 'a closing bracket is refused', given: '{"a":1]' },
  { name: 'an opening brace alone is refused', given: '{' },
  { name: 'a truncated key is refused', given: '{"a' },
  { name: 'a key alone is refused', given: '{"a"' },
  { name: 'a key without a value is refused', given: '{"a"}' },
  { name: 'a key with a colon alone is refused', given: '{"a":' },
  { name: 'a colon without a value is refused', given: '{"a":}' },
  { name: 'a comma in the place of a colon is refused', given: '{"a",1}' },
  { name: 'a second colon is refused', given: '{"a"::1}' },
  { name: 'a truncated number is refused', given: '{"a":1' },
  { name: 'a truncated string is refused', given: '{"a":"b' },
  { name: 'a truncated array is refused', given: '{"a":[1' },
  { name: 'a value without an end of the object is refused', given: '{"a":[1]' },
  { name: 'a comma without a member is refused', given: '{"a":1,' },
  { name: 'a trailing comma is refused', given: '{"a":1,}' },
  { name: 'a leading comma is refused', given: '{,"a":1}' },
  { name: 'two commas are refused', given: '{"a":1,,"b":2}' },
  { name: 'members without a comma are refused', given: '{"a":"1""b":2}' },
  { name: 'values without a comma are refused', given: '{"a":1 2}' },
  { name: 'a key without quotes is refused', given: '{a:1}' },
  { name: 'a key that is a number is refused', given: '{1:1}' },
  { name: 'a key in single quotes is refused', given: "{'a':1}" },
  { name: 'a comment is refused', given: '{/**/"a":1}' },
  { name: 'NaN is refused', given: '{"a":NaN}' },
  { name: 'a leading zero is refused', given: '{"a":01}' },
  { name: 'a raw control character in a key is refused', given: '{"a\n":1}' },
  { name: 'a raw control character in a value is refused', given: '{"a":"\n"}' },
  { name: 'a form feed is no whitespace', given: '{\f"a":1}' },
  { name: 'an unknown escape in a key is refused', given: '{"\\x61":1}' },
  { name: 'a trailing comma in a value is refused', given: '{"a":[1,]}' },
  { name: 'invalid UTF-8 in a value is refused', given: Buffer.from('{"a":"\xff"}', 'latin1') },
  { name: 'invalid UTF-8 in a key is refused', given: Buffer.from('{"\xe2\x82":1}', 'latin1') },
  { name: 'a NUL after the object is refused', given: '{}\0' },
]
for (const { name, given } of malformed) {
  test(name, () => {
    const bytes = Buffer.from(given)
    for (const chunks of chunkings(bytes)) {
      assert.deepEqual(readForm(new JsonForm(LIMITS), chunks), { code: 'malformed_json' })
    }
  })
}

test('an error of a form names the same place as an error of its text', () => {
  for (const { given } of malformed) {
    const bytes = Buffer.from(given)
    const isObject = bytes.toString().trimStart().startsWith('{')
    for (const chunks of isObject ? chunkings(bytes) : []) {
      assert.equal(findCause(chunks)?.offset, checkText([bytes])?.offset, bytes.toString())
    }
  }
})

const limited = [
  { name: 'a key of as many bytes as allowed is read', given: '{"abcd":1}', keys: ['abcd'] },
  { name: 'a longer key is refused', given: '{"abcde":1}', code: 'part_header_too_large' },
  { name: 'the limit counts bytes', given: '{"é€":1}', code: 'part_header_too_large' },
  { name: 'the limit counts an escape as it stands', given: '{"\\u0061":1}', code: 'part_header_too_large' },
  { name: 'each key has the limit for itself', given: '{"abcd":1,"efgh":2}', keys: ['abcd', 'efgh'] },
  { name: 'a key within a value may be longer', given: '{"a":{"abcdefgh":1}}', keys: ['a'] },
  { name: 'a key is refused before what is wrong after the limit', given: '{"abcde\n', code: 'part_header_too_large' },
  { name: 'a key is refused for what is wrong before the limit', given: '{"abc\nefgh', code: 'malformed_json' },
  { name: 'as many members as allowed are read', given: '{"a":1,"b":2,"a":3}', keys: ['a', 'b', 'a'] },
  { name: 'one more is refused', given: '{"a":1,"b":2,"a":3,"d":4}', code: 'too_many_parts' },
  { name: 'members of a value do not count', given: '{"a":{"b":1,"c":2,"d":3,"e":4},"b":[1,2,3,4]}', keys: ['a', 'b'] },
]
for (const { name, given, keys, code } of limited) {
  test(name, () => {
    for (const chunks of chunkings(Buffer.from(given))) {
      const outcome = readForm(new JsonForm({ partHeaderBytes: 6, parts: 3 }), chunks)
      if ('code' in outcome) assert.equal(outcome.code, code)
      else assert.deepEqual(outcome.fields.map((field) => field.name), keys)
    }
  })
}

test('a form may be as deep as a text, and no deeper', () => {
  const nest = (levels: number): Buffer => Buffer.from(`{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`)
  for (const levels of [9_999, 10_000, 1_000_000]) {
    const isText = checkText([nest(levels)]) === undefined
    assert.equal(isText, levels === 9_999)
    assert.equal('fields' in readForm(new JsonForm(LIMITS), [nest(levels)]), isText)
  }
})

test('a large value is given out as it arrives', () => {
  const form = new JsonForm(LIMITS)
  assert.deepEqual([...form.push(Buffer.from('{"a":"'))].map((event) => event.type), ['part', 'data'])
  const chunk = Buffer.alloc(65_536, 'x')
  for (let times = 0; times < 256; times++) {
    const [event, ...others] = form.push(chunk)
    assert.ok(event?.type === 'data' && event.bytes.buffer === chunk.buffer, 'a view of the chunk, not a copy')
    assert.deepEqual([event.bytes.length, others.length], [chunk.length, 0])
  }
  assert.deepEqual([...form.push(Buffer.from('"}'))].map((event) => event.type), ['data', 'end'])
  assert.deepEqual([...form.finish()], [])
})

function findCause(chunks: readonly Buffer[]): JsonError | undefined {
  const form = new JsonForm(LIMITS)
  try {
    for (const chunk of chunks) [...form.push(chunk)]
    ;[...form.finish()]
  } catch (error) {
    assert.ok(error instanceof HttpError && error.cause instanceof JsonError, 'error instanceof HttpError && error.cause instanceof JsonErr')
    return error.cause
  }
  return undefined
}
