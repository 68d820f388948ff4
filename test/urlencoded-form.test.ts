import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UrlencodedForm } from '../lib/form/urlencoded-form.ts'
import { LIMITS, chunkings, readForm } from './fuzz-json.ts'
import { checkBody, fuzzUrlencoded } from './fuzz-urlencoded.ts'

const accepted: { name: string; given: string; expected: [name: string, value: string][] }[] = [
  { name: 'an empty body has no fields', given: '', expected: [] },
  { name: 'a pair is a field', given: 'a=b', expected: [['a', 'b']] },
  { name: 'pairs keep their order', given: 'b=1&a=2&b=3', expected: [['b', '1'], ['a', '2'], ['b', '3']] },
  { name: 'empty pairs are passed over', given: '&&a=b&&&c=d&&', expected: [['a', 'b'], ['c', 'd']] },
  { name: 'a body of empty pairs has no fields', given: '&&&&', expected: [] },
  { name: 'a name without a value has an empty one', given: 'a&b=&c', expected: [['a', ''], ['b', ''], ['c', '']] },
  { name: 'a value without a name has an empty one', given: '=a&=b', expected: [['', 'a'], ['', 'b']] },
  { name: 'an equals sign alone is a pair', given: '=&=', expected: [['', ''], ['', '']] },
  { name: 'the first equals sign ends the name', given: 'a=b=c==&d==', expected: [['a', 'b=c=='], ['d', '=']] },
  { name: 'a plus sign is a space', given: 'a+b=+c++d+', expected: [['a b', ' c  d ']] },
  { name: 'a percent sequence is one byte', given: '%61=%62%2F%2f', expected: [['a', 'b//']] },
  { name: 'an encoded delimiter delimits nothing', given: 'a%3D%26=%26%3D', expected: [['a=&', '&=']] },
  { name: 'an encoded plus sign is a plus sign', given: '%2B=%2B', expected: [['+', '+']] },
  { name: 'what was decoded is not decoded again', given: '%2541=%2541', expected: [['%41', '%41']] },
  { name: 'a percent sign without digits stays', given: '%=%', expected: [['%', '%']] },
  { name: 'a percent sign with one digit stays', given: '%4=%4&%a', expected: [['%4', '%4'], ['%a', '']] },
  { name: 'a percent sign with other letters stays', given: '%zz=%4z%z4', expected: [['%zz', '%4z%z4']] },
  { name: 'a percent sign before a sequence stays', given: '%%41=%%41%4%41%', expected: [['%A', '%A%4A%']] },
  {
    name: 'a delimiter ends a percent sequence',
    given: 'a=%4&1=%&41=%4',
    expected: [['a', '%4'], ['1', '%'], ['41', '%4']],
  },
  { name: 'a plus sign ends a percent sequence', given: 'a=%+41', expected: [['a', '% 41']] },
  { name: 'UTF-8 may be encoded, or not', given: 'é%C3%A9=€%E2%82%AC😀', expected: [['éé', '€€😀']] },
  { name: 'a byte order mark is of the name', given: '\ufeffa=%EF%BB%BFb', expected: [['\ufeffa', '\ufeffb']] },
  { name: 'line feeds and semicolons are text', given: 'a=b;c\r\n=d%00', expected: [['a', 'b;c\r\n=d\0']] },
  {
    name: 'JSON comes through',
    given: 'responses=%5B%7B%22a%22%3A+1.0%7D%5D',
    expected: [['responses', '[{"a": 1.0}]']],
  },
]
for (const { name, given, expected } of accepted) {
  test(name, () => {
    const fields = expected.map(([key, value]) => ({
      name: key,
      mediaType: undefined,
      value: Buffer.from(value).toString('latin1'),
    }))
    checkBody(Buffer.from(given), { fields })
    for (const chunks of chunkings(Buffer.from(given))) {
      assert.deepEqual(readForm(new UrlencodedForm(LIMITS), chunks), { fields })
    }
  })
}

const bytewise = [
  {
    name: 'an encoded value need not be UTF-8',
    given: 'a=%ff%c3',
    expected: [{ name: 'a', mediaType: undefined, value: '\xff\xc3' }],
  },
  {
    name: 'a raw value need not be UTF-8',
    given: 'a=\xff&b=',
    expected: [{ name: 'a', mediaType: undefined, value: '\xff' }, { name: 'b', mediaType: undefined, value: '' }],
  },
  { name: 'an encoded name must be UTF-8', given: 'b=1&%ff=2', code: 'malformed_text' },
  { name: 'a raw name must be UTF-8', given: '\xff=1', code: 'malformed_text' },
  { name: 'a name that ends with the body must be UTF-8', given: 'a%c3', code: 'malformed_text' },
  { name: 'a surrogate is not UTF-8', given: '%ed%a0%80=1', code: 'malformed_text' },
]
for (const { name, given, expected, code } of bytewise) {
  test(name, () => {
    const bytes = Buffer.from(given, 'latin1')
    for (const chunks of chunkings(bytes)) {
      assert.deepEqual(readForm(new UrlencodedForm(LIMITS), chunks), expected ? { fields: expected } : { code })
    }
  })
}

const limited = [
  { name: 'a name of as many bytes as allowed is read', given: 'abcdef=1&ghijkl', names: ['abcdef', 'ghijkl'] },
  { name: 'a longer name is refused', given: 'abcdefg=1', code: 'part_header_too_large' },
  { name: 'a longer name at the end is refused', given: 'a=1&abcdefg', code: 'part_header_too_large' },
  { name: 'the limit counts a percent sequence as it stands', given: '%61%62%63', code: 'part_header_too_large' },
  { name: 'the limit counts no empty pairs', given: '&&&&&&&&&&a=1', names: ['a'] },
  { name: 'a value may be longer', given: 'a=bcdefghijk', names: ['a'] },
  { name: 'as many pairs as allowed are read', given: 'a=1&b&&a=2&', names: ['a', 'b', 'a'] },
  { name: 'one more is refused', given: 'a=1&b&a=2&d=', code: 'too_many_parts' },
  { name: 'one more without a value is refused', given: 'a=1&b&a=2&d', code: 'too_many_parts' },
  { name: 'one more without a name is refused', given: '=&=&=&=', code: 'too_many_parts' },
]
for (const { name, given, names, code } of limited) {
  test(name, () => {
    for (const chunks of chunkings(Buffer.from(given))) {
      const outcome = readForm(new UrlencodedForm({ partHeaderBytes: 6, parts: 3 }), chunks)
      if ('code' in outcome) assert.equal(outcome.code, code)
      else assert.deepEqual(outcome.fields.map((field) => field.name), names)
    }
  })
}

test('a large value is given out as it arrives', () => {
  const form = new UrlencodedForm(LIMITS)
  let bytes = 0
  const chunk = Buffer.alloc(65_536, 'abc%41+') // 7 bytes that are cut at every place
  for (const event of form.push(Buffer.from('a='))) assert.equal(event.type, 'part')
  for (let times = 0; times < 256; times++) {
    for (const event of form.push(chunk)) {
      assert.ok(event.type === 'data' && event.bytes.length > 45_000 && event.bytes.length < 48_000, 'event.type === data && event.bytes.length > 45_000 && event.')
      bytes += event.bytes.length
    }
  }
  assert.deepEqual([...form.finish()], [{ type: 'end' }])
  assert.ok(bytes > 256 * 46_000, 'bytes > 256 * 46_000')
})

const TIMES = 1 << 20
const floods = [
  { flood: '&', expected: 0 },
  { flood: '%', expected: 1 },
  { flood: '=', expected: 1 },
  { flood: 'a&', expected: TIMES },
  { flood: '=&', expected: TIMES },
  { flood: 'a=%', expected: 1 },
  { flood: '%4', expected: 1 },
  { flood: '+=%&', expected: TIMES },
]
for (const { flood, expected } of floods) {
  test(`a flood of ${flood} takes linear time`, () => {
    const body = Buffer.from(flood.repeat(TIMES))
    const form = new UrlencodedForm({ partHeaderBytes: body.length, parts: body.length })
    const started = process.cpuUsage()
    let parts = 0
    for (const event of form.push(body)) parts += Number(event.type === 'part')
    for (const event of form.finish()) parts += Number(event.type === 'part')
    assert.equal(parts, expected)
    const { user } = process.cpuUsage(started) // of this process alone, however busy the machine is
    assert.ok(user < 3_000_000, `${user} µs`) // seconds more where one delimiter is searched for again and again
  })
}

test('random bodies are read as URLSearchParams reads them', (context) => {
  const seed = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32))
  context.diagnostic(`FUZZ_SEED=${seed}`)
  context.diagnostic(`${fuzzUrlencoded(0.3, seed)} inputs`)
})
