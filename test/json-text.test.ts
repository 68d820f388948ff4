import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JsonText } from '../lib/form/json-text.ts'
import { checkText, chunkings, fuzzJson, parseReference } from './fuzz-json.ts'

const utf8 = (hex: string): Buffer => Buffer.from(`22${hex}22`, 'hex') // between quotes

const valid: { name: string; given: string | Buffer }[] = [
  { name: 'an object is a value', given: '{"a":1,"b":[true,false,null],"c":{"d":"e"}}' },
  { name: 'an empty object and an empty array are values', given: '[{},[],{ },[ ]]' },
  { name: 'a string alone is a value', given: '"a"' },
  { name: 'an empty string is a value', given: '""' },
  { name: 'a word alone is a value', given: 'true' },
  { name: 'every word is a value', given: '[true,false,null]' },
  { name: 'whitespace may stand around everything', given: ' \t\r\n{ \t\r\n"a" : [ 1 , 2 ] , "b" : "" } \t\r\n' },
  { name: 'a number alone ends with the text', given: '0' },
  { name: 'a number alone may have whitespace after it', given: '-12.5e3 \n' },
  { name: 'a number may have any form', given: '[0,-0,1,10,1.0,-1.5,0.0,1e5,1E+2,1e-2,0e0,1.25E-07,-0.0e-0]' },
  { name: 'a number may have any size', given: '[12345678901234567890,1e400,-1e-400,0.30000000000000004]' },
  { name: 'a number may end an object', given: '{"a":1}' },
  { name: 'every escape is allowed', given: '"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\u00e9\\uABCD\\uabcd"' },
  { name: 'an escaped lone surrogate is allowed', given: '["\\ud800","\\udc00x","\\udc00\\ud800"]' },
  { name: 'DEL is no control character of JSON', given: '"\x7f"' },
  { name: 'a repeated key is allowed', given: '{"a":1,"a":2}' },
  { name: 'a key may be any string', given: '{"":1,"__proto__":2,"\\u0061":3,"é":4,"{":5}' },
  { name: 'U+FEFF is allowed in a string', given: '"\ufeff"' },
  { name: 'UTF-8 of two bytes, first and last', given: utf8('c280dfbf') },
  {
    name: 'UTF-8 of three bytes, first, last before and first after the surrogates, and last',
    given: utf8('e0a080ed9fbfee8080efbfbf'),
  },
  { name: 'UTF-8 of four bytes, first and last', given: utf8('f0908080f48fbfbf') },
  { name: 'UTF-8 stands in keys as in values', given: '{"😀é€":"€é😀"}' },
]

const invalid: { name: string; given: string | Buffer; offset: number }[] = [
  { name: 'an empty text is refused', given: '', offset: 0 },
  { name: 'whitespace alone is refused', given: ' \n', offset: 2 },
  { name: 'a byte order mark is refused', given: '\ufeff{}', offset: 0 },
  { name: 'a byte order mark after the value is refused', given: '{}\ufeff', offset: 2 },
  { name: 'UTF-16 is refused', given: Buffer.from('{}', 'utf16le'), offset: 1 },
  { name: 'a truncated object is refused', given: '{"a":1', offset: 6 },
  { name: 'a truncated array is refused', given: '[1', offset: 2 },
  { name: 'a truncated array of arrays is refused', given: '[[]', offset: 3 },
  { name: 'a truncated string is refused', given: '"a', offset: 2 },
  { name: 'a truncated escape is refused', given: '"\\', offset: 2 },
  { name: 'a truncated escaped character is refused', given: '"\\u00e', offset: 6 },
  { name: 'a truncated word is refused', given: 'tru', offset: 3 },
  { name: 'a truncated key is refused', given: '{"a', offset: 3 },
  { name: 'a key without a value is refused', given: '{"a"}', offset: 4 },
  { name: 'a key without a colon is refused', given: '{"a" 1}', offset: 5 },
  { name: 'a colon without a value is refused', given: '{"a":}', offset: 5 },
  { name: 'a second colon is refused', given: '{"a"::1}', offset: 5 },
  { name: 'a colon in an array is refused', given: '["a":1]', offset: 4 },
  { name: 'a key that is no string is refused', given: '{1:2}', offset: 1 },
  { name: 'a key without quotes is refused', given: '{a:1}', offset: 1 },
  { name: 'a value in the place of a member is refused', given: '{"a":1,2}', offset: 7 },
  { name: 'a second value is refused', given: '{} {}', offset: 3 },
  { name: 'a second value on another line is refused', given: '{}\n{}', offset: 3 },
  { name: 'text after a string is refused', given: '"a"b', offset: 3 },
  { name: 'text after a number is refused', given: '1 x', offset: 2 },
  { name: 'a comma after the value is refused', given: '1,', offset: 1 },
  { name: 'a closing bracket after the value is refused', given: '1]', offset: 1 },
  { name: 'a NUL after the value is refused', given: '{}\0', offset: 2 },
  { name: 'a closing bracket alone is refused', given: ']', offset: 0 },
  { name: 'a bracket closed by a brace is refused', given: '[1}', offset: 2 },
  { name: 'a brace closed by a bracket is refused', given: '{"a":1]', offset: 6 },
  { name: 'after an inner object an array goes on as an array', given: '[{"a":1},"b":2]', offset: 12 },
  { name: 'after an inner array an object goes on as an object', given: '{"a":[1],2]', offset: 9 },
  { name: 'a trailing comma in an array is refused', given: '[1,]', offset: 3 },
  { name: 'a trailing comma in an object is refused', given: '{"a":1,}', offset: 7 },
  { name: 'a leading comma is refused', given: '[,1]', offset: 1 },
  { name: 'a leading comma in an object is refused', given: '{,"a":1}', offset: 1 },
  { name: 'two commas are refused', given: '[1,,2]', offset: 3 },
  { name: 'values without a comma are refused', given: '[1 2]', offset: 3 },
  { name: 'strings without a comma are refused', given: '["a""b"]', offset: 4 },
  { name: 'NaN is refused', given: 'NaN', offset: 0 },
  { name: 'Infinity is refused', given: '-Infinity', offset: 1 },
  { name: 'undefined is refused', given: 'undefined', offset: 0 },
  { name: 'a word in capitals is refused', given: 'True', offset: 0 },
  { name: 'a word that goes on is refused', given: 'nulll', offset: 4 },
  { name: 'a word with whitespace in it is refused', given: 'nu ll', offset: 2 },
  { name: 'single quotes are refused', given: "{'a':1}", offset: 1 },
  { name: 'a comment to the end of the line is refused', given: '[1//a\n]', offset: 2 },
  { name: 'a comment between stars is refused', given: '/**/1', offset: 0 },
  { name: 'a leading zero is refused', given: '01', offset: 1 },
  { name: 'a leading zero of a negative number is refused', given: '-01', offset: 2 },
  { name: 'a plus sign is refused', given: '+1', offset: 0 },
  { name: 'a minus sign alone is refused', given: '-', offset: 1 },
  { name: 'a minus sign without a digit is refused', given: '[-]', offset: 2 },
  { name: 'two minus signs are refused', given: '--1', offset: 1 },
  { name: 'a point without digits before it is refused', given: '.5', offset: 0 },
  { name: 'a point without digits after it is refused', given: '1.', offset: 2 },
  { name: 'a point before an exponent is refused', given: '1.e5', offset: 2 },
  { name: 'two points are refused', given: '1.2.3', offset: 3 },
  { name: 'an exponent without digits is refused', given: '1e', offset: 2 },
  { name: 'an exponent of a sign alone is refused', given: '1e+', offset: 3 },
  { name: 'an exponent with a point is refused', given: '1e5.5', offset: 3 },
  { name: 'a hexadecimal number is refused', given: '0x10', offset: 1 },
  { name: 'digits in groups are refused', given: '1_000', offset: 1 },
  { name: 'a line feed in a string is refused', given: '"a\nb"', offset: 2 },
  { name: 'a tab in a string is refused', given: '"\t"', offset: 1 },
  { name: 'a NUL in a string is refused', given: '"\0"', offset: 1 },
  { name: 'the last control character is refused in a key', given: '{"\x1f":1}', offset: 2 },
  { name: 'a control character is no whitespace', given: '\x0b1', offset: 0 },
  { name: 'a form feed is no whitespace', given: '[1\f]', offset: 2 },
  { name: 'a no-break space is no whitespace', given: '\u00a01', offset: 0 },
  { name: 'an unknown escape is refused', given: '"\\a"', offset: 2 },
  { name: 'an escape in capitals is refused', given: '"\\N"', offset: 2 },
  { name: 'an escaped single quote is refused', given: '"\\\'"', offset: 2 },
  { name: 'an escaped line feed is refused', given: '"\\\n"', offset: 2 },
  { name: 'a short escaped character is refused', given: '"\\u12"', offset: 5 },
  { name: 'an escaped character of other letters is refused', given: '"\\u00g0"', offset: 5 },
  { name: 'text outside of strings is ASCII', given: '[é]', offset: 1 },
  { name: 'a continuation byte alone is refused', given: utf8('80'), offset: 1 },
  { name: 'a lead byte alone is refused', given: utf8('c3'), offset: 2 },
  { name: 'two lead bytes are refused', given: utf8('c3c3a9'), offset: 2 },
  { name: 'three bytes cut after two are refused', given: utf8('e282'), offset: 3 },
  { name: 'four bytes cut after three are refused', given: utf8('f09f98'), offset: 4 },
  { name: 'a sequence cut by the end of the text is refused', given: Buffer.from('22e282', 'hex'), offset: 3 },
  { name: 'an overlong quote is refused', given: utf8('c0a2'), offset: 1 },
  { name: 'the last overlong form of two bytes is refused', given: utf8('c1bf'), offset: 1 },
  { name: 'an overlong form of three bytes is refused', given: utf8('e09fbf'), offset: 2 },
  { name: 'an overlong form of four bytes is refused', given: utf8('f08fbfbf'), offset: 2 },
  { name: 'the first surrogate as UTF-8 is refused', given: utf8('eda080'), offset: 2 },
  { name: 'the last surrogate as UTF-8 is refused', given: utf8('edbfbf'), offset: 2 },
  { name: 'a code point past U+10FFFF is refused', given: utf8('f4908080'), offset: 2 },
  { name: 'a lead byte past F4 is refused', given: utf8('f5808080'), offset: 1 },
  { name: 'a sequence of five bytes is refused', given: utf8('f888808080'), offset: 1 },
  { name: 'the byte FF is refused', given: utf8('ff'), offset: 1 },
  { name: 'invalid UTF-8 in a key is refused', given: Buffer.from('7b22ff223a317d', 'hex'), offset: 2 },
]

for (const { name, given } of valid) {
  test(name, () => {
    const bytes = Buffer.from(given)
    assert.equal(parseReference(bytes).length, 1)
    for (const chunks of chunkings(bytes)) assert.equal(checkText(chunks), undefined)
  })
}

for (const { name, given, offset } of invalid) {
  test(name, () => {
    const bytes = Buffer.from(given)
    assert.equal(parseReference(bytes).length, 0)
    for (const chunks of chunkings(bytes)) assert.equal(checkText(chunks)?.offset, offset)
  })
}

const nested = [
  { name: '10,000 arrays are not too deep', given: '['.repeat(10_000) + ']'.repeat(10_000), offset: undefined },
  { name: '10,001 arrays are too deep', given: '['.repeat(10_001) + ']'.repeat(10_001), offset: 10_000 },
  { name: 'a million arrays are too deep', given: '['.repeat(1e6) + ']'.repeat(1e6), offset: 10_000 },
  { name: 'a million arrays are allowed where asked for', given: '['.repeat(1e6) + ']'.repeat(1e6), maxDepth: 1e6 },
  { name: 'objects and arrays count alike', given: '[{"a":'.repeat(5000) + '1' + '}]'.repeat(5000), offset: undefined },
  { name: 'each level keeps its kind', given: '[{"a":'.repeat(5000) + '1' + '}]'.repeat(4998) + '}}', offset: 39_998 },
  {
    name: 'every level may be closed as it was opened only',
    given: '{"a":['.repeat(99) + ']}'.repeat(98) + ']]',
    offset: 791,
  },
  { name: 'the limit itself is not too deep', given: '{"a":[{"b":[]}]}', maxDepth: 4 },
  { name: 'one more than the limit is too deep', given: '{"a":[{"b":[]}]}', maxDepth: 3, offset: 11 },
  { name: 'what was closed does not count', given: '[[],[],{},[[]],[{}]]', maxDepth: 3 },
  { name: 'a limit of no level allows a word', given: 'true', maxDepth: 0 },
  { name: 'a limit of no level refuses an array', given: '[]', maxDepth: 0, offset: 0 },
]
for (const { name, given, maxDepth, offset } of nested) {
  test(name, () => {
    const bytes = Buffer.from(given)
    const third = Math.floor(bytes.length / 3)
    for (const chunks of [[bytes], [bytes.subarray(0, third), bytes.subarray(third)]]) {
      assert.equal(checkText(chunks, maxDepth)?.offset, offset)
    }
  })
}

test('many shallow values one after another stay shallow', () => {
  assert.equal(checkText([Buffer.from(`[${'[{"a":[]}],'.repeat(50_000)}1]`)]), undefined)
})

test('an error keeps nothing of the text but its place', () => {
  const error = checkText([Buffer.from('{"secret": oops}')])
  assert.deepEqual([error?.name, error?.message, error?.offset], ['JsonError', 'unexpected byte at byte 11', 11])
})

test('what was refused once stays refused', () => {
  const text = new JsonText()
  assert.throws(() => text.push(Buffer.from('[1,]')))
  assert.throws(() => text.push(Buffer.from('1]')))
  assert.throws(() => text.finish())
})

test('read stops where the value ends', () => {
  const cases = [
    { given: ' {"a":1} ,2', length: 8 },
    { given: '12,3', length: 2 },
    { given: '"a""b"', length: 3 },
    { given: 'nullnull', length: 4 },
  ]
  for (const { given, length } of cases) {
    const text = new JsonText()
    assert.deepEqual([text.read(Buffer.from(given)), text.isEnded], [length, true])
    assert.equal(text.read(Buffer.from('1')), 0)
  }
})

test('random JSON, and what damage makes of it, is judged as JSON.parse judges it', (context) => {
  const seed = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32))
  context.diagnostic(`FUZZ_SEED=${seed}`)
  context.diagnostic(`${fuzzJson(0.3, seed)} inputs`)
})
