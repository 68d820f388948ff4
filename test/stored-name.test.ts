import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nameFiles, toStoredName } from '../lib/store/stored-name.ts'

const FAMILY = '👩‍👩‍👧' // 18 bytes that are one character

const names = [
  { name: 'a plain name stays', given: 'voice.wav', expected: 'voice.wav' },
  { name: 'directories are left out', given: '../a\\b/voice.wav', expected: 'voice.wav' },
  { name: 'separators at the end are left out', given: 'a/b\\/', expected: 'b' },
  { name: 'a drive alone is a name', given: 'C:\\', expected: 'C:' },
  { name: 'nothing has a substitute', given: '', expected: 'unnamed' },
  { name: 'the parent directory has a substitute', given: '..', expected: 'unnamed' },
  { name: 'dots and blanks have a substitute', given: ' . .. ', expected: 'unnamed' },
  { name: 'leading dots and blanks in any order are left out', given: '. .\t. a.b', expected: '_. a.b' },
  { name: 'a dot at the end stays', given: 'a.', expected: 'a.' },
  { name: 'blanks at the end are left out', given: 'a. \u00a0', expected: 'a.' },
  { name: 'a control character is replaced', given: 'a\0b\x7f\x9f', expected: 'a_b__' },
  { name: 'a lone surrogate is replaced', given: 'a\ud800b\udfff', expected: 'a_b_' },
  { name: 'a pair of surrogates is no lone one', given: '😀', expected: '😀' },
  { name: 'the joiner within an emoji stays', given: `${FAMILY}.wav`, expected: `${FAMILY}.wav` },
  ...[...'\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069'].map((character) => ({
    name: `the bidirectional U+${character.charCodeAt(0).toString(16)} is replaced`,
    given: `a${character}b`,
    expected: 'a_b',
  })),
  ...[...'\u2044\u2215\u2216\u29f8\u29f9\ufe68\uff0f\uff3c'].map((character) => ({
    name: `U+${character.charCodeAt(0).toString(16)}, which looks like a separator, is replaced`,
    given: `..${character}a`,
    expected: '_a',
  })),
  { name: '200 bytes stay', given: 'a'.repeat(200), expected: 'a'.repeat(200) },
  { name: '201 bytes are cut', given: 'a'.repeat(201), expected: 'a'.repeat(200) },
  { name: '200 bytes of two each stay', given: 'é'.repeat(100), expected: 'é'.repeat(100) },
  { name: 'no half of a character is left', given: `a${'é'.repeat(100)}`, expected: `a${'é'.repeat(99)}` },
  { name: 'no accent is cut off its letter', given: 'e\u0301'.repeat(67), expected: 'e\u0301'.repeat(66) },
  { name: 'no half of an emoji is left', given: FAMILY.repeat(12), expected: FAMILY.repeat(11) },
  { name: 'a CR is not cut off its LF by mistake', given: `${'a'.repeat(199)}\r\nb`, expected: `${'a'.repeat(199)}_` },
  { name: 'the extension is kept', given: `${'a'.repeat(300)}.tar.gz`, expected: `${'a'.repeat(193)}.tar.gz` },
  { name: 'an extension of 40 bytes is kept', given: `${'a'.repeat(300)}.${'b'.repeat(39)}`, expected: `${'a'.repeat(160)}.${'b'.repeat(39)}` },
  { name: 'an extension of 41 bytes is cut', given: `${'a'.repeat(300)}.${'b'.repeat(40)}`, expected: 'a'.repeat(200) },
  { name: 'an extension of few characters may be too long', given: `${'a'.repeat(300)}.${'漢'.repeat(20)}`, expected: 'a'.repeat(200) },
  { name: 'a letter of 300 accents has a substitute', given: `a${'\u0301'.repeat(300)}`, expected: 'unnamed' },
  { name: 'a letter of 300 accents keeps its extension', given: `a${'\u0301'.repeat(300)}.wav`, expected: 'unnamed.wav' },
]
for (const { name, given, expected } of names) test(name, () => assert.equal(toStoredName(given), expected))

test('a stored name is safe and short whatever was given', () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)
  console.log(`SEED=${seed}`)
  const random = randomNumbers(seed)
  const pieces = ['a', '.', ' ', '/', '\\', '\0', '\n', 'é', 'e\u0301', '漢', '😀', FAMILY, '\u202e', '\ud83d', '\udc69', '\ufeff', '\uff0f', '\u0600']
  for (let round = 0; round < 20_000; round++) {
    const length = Math.floor(random() * (round % 2 === 0 ? 8 : 200))
    const given = Array.from({ length }, () => pieces[Math.floor(random() * pieces.length)] ?? '').join('')
    const stored = toStoredName(given)
    const bytes = Buffer.from(stored)
    assert.ok(bytes.length >= 1 && bytes.length <= 200, JSON.stringify(given))
    assert.equal(bytes.toString(), stored)
    assert.doesNotMatch(stored, /^[.\s]|[\p{Cc}\p{Bidi_Control}/\\]/u, JSON.stringify(given))
    assert.equal(toStoredName(stored.trimEnd()), stored.trimEnd(), 'a stored name stays as it is')
  }
})

// mulberry32: the same numbers for the same seed
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const submissions = [
  { name: 'no file needs no name', given: [], expected: [] },
  { name: 'each file has the stamp before its name', given: ['a', 'b'], expected: ['S-a', 'S-b'] },
  { name: 'the second of a name is numbered, and the third', given: ['a', 'b', 'a', 'a'], expected: ['S-a', 'S-b', 'S-2-a', 'S-3-a'] },
  { name: 'a number that a name already has is passed over', given: ['2-a', 'a', 'a', 'a'], expected: ['S-2-a', 'S-a', 'S-3-a', 'S-4-a'] },
  { name: 'a name that a number has made is passed over', given: ['a', 'a', '2-a', '2-a'], expected: ['S-a', 'S-2-a', 'S-2-2-a', 'S-3-2-a'] },
  { name: 'names of what every object has are names', given: ['__proto__', '__proto__'], expected: ['S-__proto__', 'S-2-__proto__'] },
]
for (const { name, given, expected } of submissions) test(name, () => assert.deepEqual(nameFiles('S', given), expected))

test('a hundred thousand files of one name are told apart', () => {
  const stored = nameFiles('S', Array.from({ length: 100_000 }, () => 'a'))
  assert.equal(new Set(stored).size, 100_000)
  assert.equal(stored.at(-1), 'S-100000-a')
})
