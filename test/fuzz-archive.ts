import assert from 'node:assert/strict'
import { posix } from 'node:path'
import { crc32 } from '../lib/archive/crc32.ts'
import type { Slice } from '../lib/archive/source.ts'
import { readArchive, save, type ReadEntry } from './archive-reader.ts'
import { makeChance, type Chance } from './seeded.ts'
import { writeZip } from './zip-writer.ts'

/** An archive with a bit of everything, small enough to be broken at every place. */
export function smallArchive(): Buffer {
  const text = 'voice '.repeat(20)
  return writeZip(
    [
      { name: 'd/', content: '' },
      { name: 'd/größe.txt', content: text },
      { name: 'stored', content: text, method: 'stored' },
      { name: 'after', content: text, descriptor: 'signed' },
      { name: 'wide', content: text, zip64: true, descriptor: 'unsigned' },
    ],
    { zip64: true, comment: 'end' },
  )
}

/**
 * Reads archives that were broken at random, from random slices.
 * @returns the number of inputs; throws where one gives another error than an ArchiveError or content that is not as the
 *   directory says, naming the seed and the input
 */
export async function fuzzArchive(directory: string, seconds: number, seed: number): Promise<number> {
  const chance = makeChance(seed)
  const endMs = performance.now() + seconds * 1000
  const whole = [smallArchive(), writeZip([{ name: 'a', content: 'x' }, { name: 'b', content: 'x', method: 'stored' }])]
  let inputs = 0
  for (; performance.now() < endMs; inputs++) {
    const bytes = breakAtRandom(whole[chance(whole.length)] ?? Buffer.alloc(0), chance)
    const slices = cutAtRandom(await save(directory, 'fuzz.zip', bytes), bytes.length, chance)
    try {
      check(await readArchive(slices))
    } catch (error) {
      throw new Error(`seed ${seed}, input ${inputs}, in base64 ${bytes.toString('base64')}`, { cause: error })
    }
  }
  return inputs
}

// Numbers that mean something to a reader of zip archives.
const TELLING = [0, 1, 7, 0x7f, 0x80, 0xff, 0x50, 0x4b, 0x2f, 0x5c, 0x2e]
const RECORDS = ['PK\x01\x02', 'PK\x03\x04', 'PK\x05\x06', 'PK\x06\x06', 'PK\x06\x07', 'PK\x07\x08']
const SIGNATURES = [...RECORDS, '\xff\xff\xff\xff', '\0\0\0\0']

function breakAtRandom(whole: Buffer, chance: Chance): Buffer {
  let bytes = Buffer.from(whole)
  for (let times = chance(4) + 1; times > 0 && bytes.length > 0; times--) {
    const at = chance(bytes.length)
    const kind = chance(7)
    if (kind < 2) bytes[at] = chance(256)
    else if (kind === 2) bytes[at] = TELLING[chance(TELLING.length)] ?? 0
    else if (kind === 3) bytes[at] = (bytes[at] ?? 0) ^ (1 << chance(8))
    else if (kind === 4) bytes.write(SIGNATURES[chance(SIGNATURES.length)] ?? '', at, 'latin1')
    else if (kind === 5) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + chance(20))])
    else bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(chance(bytes.length))])
  }
  return bytes
}

function cutAtRandom(path: string, length: number, chance: Chance): Slice[] {
  const cuts = Array.from({ length: chance(8) }, () => chance(length + 1)).toSorted((a, b) => a - b)
  return [...cuts, length].map((to, index) => ({ path, from: cuts[index - 1] ?? 0, to }))
}

function check(found: readonly ReadEntry[] | string): void {
  if (typeof found === 'string') return assert.match(found, SENTENCE)
  for (const { entry, content, reason } of found) {
    if (content === undefined) {
      assert.match(reason ?? '', SENTENCE)
      continue
    }
    assert.equal(content.length, entry.bytes)
    assert.equal(crc32(content, 0), entry.crc32)
    assert.equal(posix.join('/base', entry.name), `/base/${entry.name}`) // it stays below, and is in its plainest form
  }
  const read = found.filter(({ content }) => content !== undefined).map(({ entry }) => entry)
  assert.equal(new Set(read.map((entry) => entry.name)).size, read.length)
  const places = read.toSorted((a, b) => a.dataOffset - b.dataOffset)
  places.forEach((entry, index) => {
    const next = places[index + 1]?.dataOffset ?? Infinity
    assert.ok(entry.dataOffset + entry.compressedBytes <= next, 'two entries share bytes')
  })
}

const SENTENCE = /^[A-Z][A-Za-z0-9 ,:;'-]+\.$/
