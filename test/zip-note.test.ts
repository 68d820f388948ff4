import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { noteZip } from '../lib/archive/zip-note.ts'
import { sha256Of } from './sha256.ts'
import { writeZip } from './zip-writer.ts'

const KiB = 1024
const voice = randomBytes(200 * KiB)
const zip = writeZip([{ name: 'größe 声音.wav', content: voice, method: 'stored' }, { name: 'activity_0.jsonld', content: '[]' }])
const noted = { bytes: zip.length, entries: [sha256Of('größe 声音.wav'), sha256Of('activity_0.jsonld')] }
const directoryAt = zip.indexOf('PK\x01\x02', 'latin1')
const many = writeZip(Array.from({ length: 2000 }, (_, index) => ({ name: `${index}`, content: '' })))

const cases: { name: string; end: Buffer; expected: object | undefined }[] = [
  { name: 'a whole zip', end: zip, expected: noted },
  { name: 'the last 64 KiB of a zip', end: zip.subarray(-64 * KiB), expected: noted },
  { name: 'its directory and what follows', end: zip.subarray(directoryAt), expected: noted },
  { name: 'less than its directory', end: zip.subarray(directoryAt + 1), expected: undefined },
  { name: 'its last record alone', end: zip.subarray(-22), expected: undefined },
  { name: 'a zip with other bytes in front', end: Buffer.concat([voice.subarray(0, 1000), zip]), expected: noted },
  { name: 'a zip with a byte behind', end: Buffer.concat([zip, Buffer.from('x')]), expected: undefined },
  { name: 'a slice from its middle', end: zip.subarray(1000, 70_000), expected: undefined },
  { name: 'an empty zip', end: writeZip([]), expected: { bytes: 22, entries: [] } },
  { name: 'a directory that is longer than what is looked at', end: many.subarray(-64 * KiB), expected: undefined },
  { name: 'a recording', end: voice, expected: undefined },
  { name: 'nothing', end: Buffer.alloc(0), expected: undefined },
]
for (const { name, end, expected } of cases) {
  test(`what is noted of ${name}`, async () => assert.deepEqual(await noteZip(end), expected))
}
