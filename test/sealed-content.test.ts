import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openSlices, type Slice } from '../lib/archive/source.ts'
import { AlteredError, ArchiveError } from '../lib/archive/archive-error.ts'
import { AgeError, NoIdentityError } from '../lib/crypt/age-error.ts'
import { newIdentity } from '../lib/crypt/keys.ts'
import { measureContent, SealedContent } from '../lib/crypt/sealed-content.ts'
import { Keyring, LockedError, measureSealed } from '../lib/dataset/keyring.ts'
import { encrypt } from './encrypted.ts'
import { temporaryDirectory } from './harness.ts'
import { chooseSeed, makeChance } from './seeded.ts'

const CHUNK = 65_536
const SEALED = CHUNK + 16
const SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 7, 700_001]

const identity = newIdentity()
const parse = (stored: Buffer, begin = stored) => SealedContent.parse(begin, stored.length, [identity])

function readAt(content: SealedContent, stored: Buffer, position: number, length: number): Buffer {
  const run = content.find(position, length)
  const chunks = [...content.open(run, stored.subarray(run.at, run.at + run.length))]
  const [first] = chunks
  return Buffer.concat(chunks.map(({ plain }) => plain)).subarray(position - (first?.position ?? 0)).subarray(0, length)
}

for (const size of SIZES) {
  test(`any part of ${size} bytes can be read by itself`, () => {
    const plain = randomBytes(size)
    const stored = encrypt(plain, [newIdentity(), identity])
    const content = parse(stored)
    assert.equal(content?.bytes, size)
    assert.equal(measureContent(stored.subarray(0, 8192), stored.length), size)
    if (content === undefined) return
    assert.equal([...content.open(content.end, stored.subarray(content.end.at, content.end.at + content.end.length))].length, 1, 'the end opens')
    for (const at of [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, size - 1].filter((each) => each >= 0 && each < size)) {
      for (const length of [1, 2, CHUNK, CHUNK + 1, size].filter((each) => each > 0 && at + each <= size)) {
        assert.ok(plain.subarray(at, at + length).equals(readAt(content, stored, at, length)), `${length} bytes at ${at}`)
      }
    }
  })
}

test('a header that came in part asks for more', () => {
  const stored = encrypt(Buffer.from('answers'), [identity])
  const payloadAt = stored.length - 7 - 16
  for (let length = 0; length < payloadAt; length++) assert.equal(parse(stored, stored.subarray(0, length)), undefined)
  assert.equal(parse(stored, stored.subarray(0, payloadAt))?.bytes, 7)
})

test('a file that was cut has no end that opens, wherever it was cut', () => {
  const plain = randomBytes(3 * CHUNK)
  const stored = encrypt(plain, [identity])
  const payloadAt = stored.length - 3 * SEALED
  for (const lost of [1, 15, 16, 17, SEALED - 1, SEALED, SEALED + 1, 2 * SEALED, 3 * SEALED - 1, 3 * SEALED]) {
    const cut = stored.subarray(0, stored.length - lost)
    const openEnd = () => {
      const content = parse(cut)
      if (content === undefined) throw new AgeError('more is needed')
      return [...content.open(content.end, cut.subarray(content.end.at))]
    }
    assert.throws(openEnd, AgeError, `${lost} bytes are cut`)
  }
  assert.ok(payloadAt > 0, 'there is a header')
})

test('chunks in another place, of another file or altered do not open', () => {
  const stored = encrypt(randomBytes(3 * CHUNK), [identity])
  const other = encrypt(randomBytes(3 * CHUNK), [identity])
  const content = parse(stored)
  assert.ok(content, 'it is parsed')
  const [first, second] = [content.find(0, 1), content.find(CHUNK, 1)]
  const bytesOf = (file: Buffer, run: typeof first) => Buffer.from(file.subarray(run.at, run.at + run.length))
  const flipped = bytesOf(stored, first)
  flipped[100] = (flipped[100] ?? 0) ^ 1
  for (const [name, bytes] of [['another place', bytesOf(stored, second)], ['another file', bytesOf(other, first)], ['a flipped bit', flipped]] as const) {
    assert.throws(() => [...content.open(first, bytes)], AgeError, name)
  }
})

test('who has no identity for a file is told so, and learns its length', () => {
  const stored = encrypt(randomBytes(CHUNK + 5), [newIdentity()])
  assert.throws(() => parse(stored), NoIdentityError)
  assert.equal(measureContent(stored, stored.length), CHUNK + 5)
  assert.throws(() => measureContent(Buffer.from('PK and no age file'), 18), AgeError)
})

test('plain and encrypted slices, and parts of them, are read as one', async (t) => {
  const pick = makeChance(chooseSeed())
  const root = await temporaryDirectory(t)
  const keyring = new Keyring([newIdentity(), identity])
  const slices: Slice[] = []
  const expected: Buffer[] = []
  for (let index = 0; index < 12; index++) {
    const plain = randomBytes([0, 1, 5000, CHUNK, 2 * CHUNK + 3, 300_000][pick(6)] ?? 0)
    const path = join(root, String(index))
    const isSealed = pick(5) < 3
    await writeFile(path, isSealed ? encrypt(plain, [identity]) : plain)
    const from = pick(plain.length + 1)
    const to = from + pick(plain.length - from + 1)
    const range = pick(2) === 0 ? { from, to } : {}
    slices.push({ path, ...range, ...(isSealed ? { unseal: () => keyring.unseal(path) } : {}) })
    expected.push('to' in range ? plain.subarray(from, to) : plain)
  }
  const whole = Buffer.concat(expected)
  const source = await openSlices(slices)
  t.after(() => source.close())
  assert.equal(source.bytes, whole.length)
  assert.ok(whole.equals(await source.read(0, whole.length)), 'all of it at once')
  for (let read = 0; read < 300; read++) {
    const position = pick(whole.length + 1)
    const length = pick(Math.min(whole.length - position, 400_000) + 1)
    assert.ok(whole.subarray(position, position + length).equals(await source.read(position, length)), `${length} at ${position}`)
  }
  const reads = Array.from({ length: 20 }, () => pick(whole.length)).map(async (at) => [at, await source.read(at, 1)] as const)
  for (const [at, byte] of await Promise.all(reads)) assert.equal(byte[0], whole[at], 'at once')
})

test('an altered chunk fails where it is read, and the others are read on', async (t) => {
  const path = join(await temporaryDirectory(t), 'file.age')
  const plain = randomBytes(4 * CHUNK)
  const stored = encrypt(plain, [identity])
  const at = stored.length - 4 * SEALED + SEALED + 7
  stored[at] = (stored[at] ?? 0) ^ 1
  await writeFile(path, stored)
  const keyring = new Keyring([identity])
  const source = await openSlices([{ path, unseal: () => keyring.unseal(path) }])
  t.after(() => source.close())
  await assert.rejects(source.read(CHUNK - 1, 2), AlteredError)
  assert.ok(plain.subarray(0, CHUNK).equals(await source.read(0, CHUNK)), 'the chunk before')
  assert.ok(plain.subarray(2 * CHUNK).equals(await source.read(2 * CHUNK, 2 * CHUNK)), 'what follows')
})

test('a keyring says why it cannot open a file', async (t) => {
  const root = await temporaryDirectory(t)
  const cases: { name: string; content: Buffer; says: RegExp; isLocked?: boolean }[] = [
    { name: 'of somebody else', content: encrypt(Buffer.from('a'), [newIdentity()]), says: /no identity that was given opens it/, isLocked: true },
    { name: 'empty', content: Buffer.alloc(0), says: /was cut since/ },
    { name: 'cut within its header', content: encrypt(Buffer.from('a'), [identity]).subarray(0, 100), says: /was cut since/ },
    { name: 'cut behind its header', content: encrypt(Buffer.from('a'), [identity]).subarray(0, -17), says: /cannot be decrypted: its content was cut or altered\./ },
    { name: 'plain', content: Buffer.from('{"a": 1}'), says: /cannot be decrypted: it is not an age file of version 1\./ },
    { name: 'an endless header', content: Buffer.from(`age-encryption.org/v1\n-> x\n${'A'.repeat(200_000)}`), says: /cannot be decrypted: its header is too long\./ },
  ]
  const keyring = new Keyring([identity])
  for (const { name, content, says, isLocked = false } of cases) {
    await t.test(name, async () => {
      const path = join(root, name)
      await writeFile(path, content)
      await assert.rejects(keyring.unseal(path), (error) => error instanceof ArchiveError && says.test(error.reason) && error instanceof LockedError === isLocked)
    })
  }
  assert.equal(keyring.lockedFiles, 1)
  assert.equal(await measureSealed(join(root, 'plain')), undefined)
  assert.equal(await measureSealed(join(root, 'gone')), undefined)
  assert.equal(await measureSealed(join(root, 'of somebody else')), 1)
})
