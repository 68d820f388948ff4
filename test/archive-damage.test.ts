import assert from 'node:assert/strict'
import { truncate } from 'node:fs/promises'
import { test } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import { ArchiveError } from '../lib/archive/archive-error.ts'
import { openSlices } from '../lib/archive/source.ts'
import { readEnd } from '../lib/archive/zip-end.ts'
import { readEntries, readEntry } from '../lib/archive/zip.ts'
import { describeArchive, save } from './archive-reader.ts'
import { fuzzArchive, smallArchive } from './fuzz-archive.ts'
import { temporaryDirectory } from './harness.ts'
import { chooseSeed } from './seeded.ts'
import { unicodePath, writeZip, zip64Extra, type ZipInput } from './zip-writer.ts'

const text = 'voice '.repeat(40)
const one = [{ name: 'a', content: text }]
const MISSING_END = 'The end of the archive is missing or damaged.'
const DAMAGED = 'The directory of the archive is damaged.'
const WRONG_END = 'The directory of the archive does not end where it should.'
const VOLUME = 'The archive is one volume of several, as zip -s makes them; that is not supported.'
const CONTRADICTION = 'The end of the archive contradicts itself.'
const IN_FRONT = 'Bytes stand in front of the archive that are not part of it.'
const MISSING_PART = 'A part of the archive is missing.'

// The length of the directory of `one`, and where it begins.
const directoryBytes = 47
const directoryOffset = writeZip(one).length - 22 - directoryBytes

const refused = [
  { name: 'an empty file is no archive', bytes: Buffer.alloc(0), reason: MISSING_END },
  { name: 'text is no archive', bytes: Buffer.from(text), reason: MISSING_END },
  {
    name: 'a comment that ends too early is refused',
    bytes: writeZip(one, { end: { commentBytes: 1 } }),
    reason: MISSING_END,
  },
  {
    name: 'bytes after the end are refused',
    bytes: Buffer.concat([writeZip(one), Buffer.from('x')]),
    reason: MISSING_END,
  },
  { name: 'bytes in front are refused', bytes: Buffer.concat([Buffer.from('x'), writeZip(one)]), reason: IN_FRONT },
  { name: 'a missing first byte is told', bytes: writeZip(one).subarray(1), reason: MISSING_PART },
  {
    name: 'a volume of several is refused',
    bytes: writeZip(one, { end: { disk: 1, directoryDisk: 1 } }),
    reason: VOLUME,
  },
  {
    name: 'a volume that has only some entries is refused',
    bytes: writeZip(one, { end: { entriesHere: 0 } }),
    reason: VOLUME,
  },
  {
    name: 'fewer entries than the directory has are refused',
    bytes: writeZip([...one, { name: 'b', content: '' }], { end: { entries: 1, entriesHere: 1 } }),
    reason: WRONG_END,
  },
  {
    name: 'more entries than fit into the directory are refused',
    bytes: writeZip(one, { end: { entries: 2, entriesHere: 2 } }),
    reason: DAMAGED,
  },
  {
    name: 'more entries than the directory has are refused',
    bytes: writeZip([{ name: 'a'.repeat(50), content: '' }], { end: { entries: 2, entriesHere: 2 } }),
    reason: DAMAGED,
  },
  {
    name: 'a directory without its signature is refused',
    bytes: writeZip([{ name: 'a', content: text, central: { signature: 7 } }]),
    reason: DAMAGED,
  },
  {
    name: 'a directory that begins too early is refused',
    bytes: writeZip(one, { end: { directoryOffset: directoryOffset - 1, directoryBytes: directoryBytes + 1 } }),
    reason: DAMAGED,
  },
  {
    name: 'a directory that begins too late is refused',
    bytes: writeZip(one, { end: { directoryOffset: directoryOffset + 1, directoryBytes: directoryBytes - 1 } }),
    reason: DAMAGED,
  },
  {
    name: 'a directory that ends too early is refused',
    bytes: writeZip(one, { end: { directoryBytes: directoryBytes - 1 } }),
    reason: IN_FRONT,
  },
  {
    name: 'bytes after the directory are refused',
    bytes: writeZip(one, { afterDirectory: Buffer.from('x') }),
    reason: IN_FRONT,
  },
  {
    name: 'bytes after the directory are refused in 64 bits too',
    bytes: writeZip(one, { afterDirectory: Buffer.from('x'), zip64: true }),
    reason: WRONG_END,
  },
  {
    name: 'a directory too large to be read is refused',
    bytes: writeZip(one, { zip64: true, end64: { directoryBytes: 2 ** 40, offset: directoryOffset + 2 ** 40 } }),
    reason: MISSING_PART,
  },
  {
    name: '64 bits that are nowhere are refused',
    bytes: writeZip(one, { end: { directoryOffset: 0xffffffff } }),
    reason: MISSING_END,
  },
  {
    name: 'a size above any file is refused',
    bytes: writeZip(one, { zip64: true, end64: { directoryBytes: 2 ** 60 } }),
    reason: 'The archive claims to be larger than any file can be.',
  },
  {
    name: 'an offset above any file is refused',
    bytes: writeZip(one, { zip64: true, end64: { offset: 2 ** 60 } }),
    reason: MISSING_END,
  },
  {
    name: 'the locator has to point at the record',
    bytes: writeZip(one, { zip64: true, end64: { offset: 5 } }),
    reason: WRONG_END,
  },
  {
    name: 'a volume of several is refused in 64 bits too',
    bytes: writeZip(one, { zip64: true, end64: { disk: 1 } }),
    reason: VOLUME,
  },
  ...['entries', 'entriesHere', 'directoryBytes', 'directoryOffset', 'disk', 'directoryDisk'].map((field) => ({
    name: `a plain end that says something else than the 64 bits is refused: ${field}`,
    bytes: writeZip(one, { zip64: true, end: { [field]: 7 } }),
    reason: CONTRADICTION,
  })),
]
for (const { name, bytes, reason } of refused) {
  test(name, async (t) => {
    assert.equal(await describeArchive([{ path: await save(await temporaryDirectory(t), 'a.zip', bytes) }]), reason)
  })
}

const NOT_DESCRIBED = 'The entry is not the one that the directory describes.'
const UNSUPPORTED = 'The entry is compressed in a way that is not supported.'
const SAME_NAME = 'Another entry has the same name.'
const FILE_AND_FOLDER = 'Another entry has the same name, once as a file and once as a folder.'
const SHARED = 'The entry shares bytes with another entry.'
const INFLATED = 'The content of the entry is damaged: it cannot be inflated.'
const CHECKSUM = 'The content of the entry is damaged: its checksum is wrong.'
const LONGER = 'The content of the entry is longer than the directory says.'
const SHORTER = 'The content of the entry is shorter than the directory says.'
const LEFT = 'The content of the entry is damaged: it ends before its data do.'
const SIZES = 'The size of the entry contradicts itself.'
const ABSENT = 'The size of the entry is missing.'
const AFTER = 'What stands after the data of the entry contradicts the directory.'
const ELSEWHERE = 'The entry is not where the directory says.'
const PLAIN = 'The name of the entry is not a plain path.'
const CONTROL = 'The name of the entry has control characters in it.'
const ABSOLUTE = 'The name of the entry is an absolute path.'
const OUT = 'The name of the entry leads out of the archive.'
const BACKSLASH = 'The name of the entry has a backslash in it.'
const NOT_UTF8 = 'The name of the entry is not UTF-8, though it is said to be.'
const TOO_LONG = 'The name of the entry is too long.'

const bad: { name: string; entries: readonly (Partial<ZipInput> & { reason: string })[] }[] = [
  ...[
    { given: '../a', reason: OUT },
    { given: 'd/../../a', reason: OUT },
    { given: 'd/..', reason: OUT },
    { given: '../', reason: OUT },
    { given: '/etc/passwd', reason: ABSOLUTE },
    { given: '/', reason: ABSOLUTE },
    { given: 'C:a', reason: ABSOLUTE },
    { given: 'c:/a', reason: ABSOLUTE },
    { given: '..\\a', reason: BACKSLASH },
    { given: '\\\\host\\a', reason: BACKSLASH },
    { given: 'a\0.wav', reason: CONTROL },
    { given: 'a\n.wav', reason: CONTROL },
    { given: 'a\x1b[2J', reason: CONTROL },
    { given: 'a\x7f', reason: CONTROL },
    { given: 'a\u009b2J', reason: CONTROL },
    { given: './a', reason: PLAIN },
    { given: 'd//a', reason: PLAIN },
    { given: 'd//', reason: PLAIN },
    { given: '', reason: 'The entry has no name.' },
    { given: 'a'.repeat(256), reason: TOO_LONG },
    { given: 'ü'.repeat(128), reason: TOO_LONG },
    { given: 'a/'.repeat(512) + 'b', reason: TOO_LONG },
  ].map(({ given, reason }) => ({
    name: `the name ${JSON.stringify(given.slice(0, 20))} is refused`,
    entries: [{ name: given, content: given.endsWith('/') ? '' : 'x', reason }],
  })),
  {
    name: 'a name that is not the UTF-8 it claims to be is refused',
    entries: [
      { both: { name: Buffer.from([0xff]), flags: 0x800 }, reason: NOT_UTF8 },
    ],
  },
  {
    name: 'a name that escapes in the extra field is refused',
    entries: [{ both: { extra: unicodePath('bad', '../bad') }, reason: OUT }],
  },
  { name: 'an encrypted entry is refused', entries: [{ both: { flags: 1 }, reason: 'The entry is encrypted.' }] },
  {
    name: 'a strongly encrypted entry is refused',
    entries: [{ both: { flags: 0x40 }, reason: 'The entry is encrypted.' }],
  },
  {
    name: 'an entry with hidden sizes is refused',
    entries: [{ both: { flags: 0x2000 }, reason: 'The entry is encrypted.' }],
  },
  { name: 'a patch is refused', entries: [{ both: { flags: 0x20 }, reason: UNSUPPORTED }] },
  { name: 'Deflate64 is refused', entries: [{ both: { method: 9 }, reason: UNSUPPORTED }] },
  { name: 'LZMA is refused', entries: [{ both: { method: 14 }, reason: UNSUPPORTED }] },
  {
    name: 'a symbolic link is refused',
    entries: [{ both: { madeBy: 0x31e, attributes: 0o120777 * 65536 }, reason: 'The entry is a link or a device.' }],
  },
  {
    name: 'a folder with content is refused',
    entries: [{ name: 'd/', content: 'x', reason: 'The entry is a folder, but has content.' }],
  },
  {
    name: 'an entry of another volume is refused',
    entries: [{ central: { disk: 3 }, reason: 'The entry is on another volume of the archive.' }],
  },
  {
    name: 'more content than deflate can hold is refused',
    entries: [{ both: { bytes: 2 ** 31 }, reason: 'The entry claims more content than its data can hold.' }],
  },
  {
    name: 'a stored entry of two sizes is refused',
    entries: [{ method: 'stored', both: { bytes: 7 }, reason: SIZES }],
  },
  { name: '64 bits that are missing are refused', entries: [{ central: { bytes: 0xffffffff }, reason: ABSENT }] },
  {
    name: '64 bits that are too few are refused',
    entries: [{ central: { bytes: 0xffffffff, offset: 0xffffffff, extra: zip64Extra([9]) }, reason: ABSENT }],
  },
  {
    name: 'a size above any file is refused in an entry',
    entries: [{ central: { bytes: 0xffffffff, extra: zip64Extra([2 ** 60]) }, reason: ABSENT }],
  },
  {
    name: 'local 64 bits that are missing are refused',
    entries: [{ local: { bytes: 0xffffffff }, reason: NOT_DESCRIBED }],
  },
  ...['crc32', 'compressedBytes', 'bytes', 'method'].map((field) => ({
    name: `a local header with another ${field} is refused`,
    entries: [{ local: { [field]: 0 }, reason: NOT_DESCRIBED }],
  })),
  {
    name: 'a local header with another name is refused',
    entries: [{ local: { name: Buffer.from('sad') }, reason: NOT_DESCRIBED }],
  },
  { name: 'a local header that says encrypted is refused', entries: [{ local: { flags: 1 }, reason: NOT_DESCRIBED }] },
  {
    name: 'a local header that alone announces a data descriptor is refused',
    entries: [{ local: { flags: 8 }, reason: NOT_DESCRIBED }],
  },
  {
    name: 'a local header before a data descriptor may not lie',
    entries: [{ descriptor: 'signed', local: { bytes: 9 }, reason: NOT_DESCRIBED }],
  },
  {
    name: 'a local header without its signature is refused',
    entries: [{ local: { signature: 7 }, reason: ELSEWHERE }],
  },
  {
    name: 'a local header behind the archive is refused',
    entries: [{ central: { offset: 0x7fffffff }, reason: ELSEWHERE }],
  },
  {
    name: 'data that run into the directory are refused',
    entries: [{ both: { compressedBytes: 100_000 }, reason: 'The data of the entry do not end before the directory.' }],
  },
  {
    name: 'a data descriptor with another CRC-32 is refused',
    entries: [{ descriptor: 'signed', afterData: Buffer.alloc(16), reason: AFTER }],
  },
  {
    name: 'a missing data descriptor is refused',
    entries: [{ descriptor: 'signed', afterData: Buffer.alloc(0), reason: AFTER }],
  },
  {
    name: 'two entries of one name are refused',
    entries: [{ name: 'b', reason: SAME_NAME }, { name: 'b', content: 'y', reason: SAME_NAME }],
  },
  {
    name: 'a file and a folder of one name are refused',
    entries: [{ name: 'b', reason: SAME_NAME }, { name: 'b/', content: '', reason: SAME_NAME }],
  },
  {
    name: 'a file below a file is refused',
    entries: [{ name: 'b', reason: FILE_AND_FOLDER }, { name: 'b/c/d', reason: FILE_AND_FOLDER }],
  },
  {
    name: 'an entry within the data of another is refused',
    entries: [
      { name: 'b', method: 'stored', both: { bytes: 36, compressedBytes: 36 }, data: Buffer.from('xx'), reason: SHARED },
      { name: 'c', reason: SHARED },
    ],
  },
  {
    name: 'an entry that reaches over several makes them all refused',
    entries: [
      { name: 'b', method: 'stored', both: { bytes: 40, compressedBytes: 40 }, data: Buffer.from('xx'), reason: SHARED },
      { name: 'c', reason: SHARED },
      { name: 'd', reason: SHARED },
    ],
  },
  {
    name: 'an entry that begins within a data descriptor is refused',
    // The CRC-32 and the sizes of this one are the first twelve bytes of the other's local header.
    entries: [
      {
        name: 'b',
        descriptor: 'unsigned',
        data: Buffer.alloc(20),
        both: { crc32: 0x04034b50, bytes: 8 },
        afterData: Buffer.alloc(0),
        reason: SHARED,
      },
      { name: 'c', reason: SHARED },
    ],
  },
  { name: 'data that are no deflate are refused', entries: [{ data: Buffer.from([7, 7, 7]), reason: INFLATED }] },
  {
    name: 'deflated data that end too early are refused',
    entries: [{ content: text, data: deflateRawSync(text).subarray(0, -1), reason: INFLATED }],
  },
  {
    name: 'bytes after the deflated data are refused',
    entries: [{ content: text, data: Buffer.concat([deflateRawSync(text), Buffer.from('x')]), reason: LEFT }],
  },
  {
    name: 'many bytes after the deflated data are refused',
    entries: [{ content: text, data: Buffer.concat([deflateRawSync(text), Buffer.alloc(900_000)]), reason: LEFT }],
  },
  { name: 'content longer than claimed is refused', entries: [{ both: { bytes: 0 }, reason: LONGER }] },
  { name: 'content shorter than claimed is refused', entries: [{ both: { bytes: 2 }, reason: SHORTER }] },
  { name: 'deflated content of another CRC-32 is refused', entries: [{ both: { crc32: 7 }, reason: CHECKSUM }] },
  {
    name: 'stored content of another CRC-32 is refused',
    entries: [{ method: 'stored', both: { crc32: 7 }, reason: CHECKSUM }],
  },
]
for (const { name, entries } of bad) {
  test(`${name}, and the others are read`, async (t) => {
    const first = { name: 'first', content: text }
    const last = { name: 'last', content: 'last', method: 'stored' as const }
    const bytes = writeZip([first, ...entries.map((entry) => ({ name: 'bad', content: 'x', ...entry })), last])
    const found = await describeArchive([{ path: await save(await temporaryDirectory(t), 'a.zip', bytes) }])
    assert.ok(typeof found !== 'string', String(found))
    assert.deepEqual(found.slice(1, -1).map(([, reason]) => reason), entries.map(({ reason }) => reason))
    assert.deepEqual([found.at(0), found.at(-1)], [['first', text], ['last', 'last']])
  })
}

test('a local header that claims to reach into the directory is refused, and the others are read', async (t) => {
  const bytes = writeZip([{ name: 'bad', content: 'x' }, { name: 'last', content: text }])
  bytes.writeUInt16LE(0xffff, 28) // the length of the local extra field
  const found = await describeArchive([{ path: await save(await temporaryDirectory(t), 'a.zip', bytes) }])
  assert.deepEqual(found, [['bad', ELSEWHERE], ['last', text]])
})

test('a header of the directory that claims more bytes than there are is refused', async (t) => {
  const bytes = writeZip(one)
  bytes.writeUInt16LE(1, directoryOffset + 32) // the length of the comment
  assert.equal(await describeArchive([{ path: await save(await temporaryDirectory(t), 'a.zip', bytes) }]), DAMAGED)
})

test('a directory that is too large for memory is refused', async (t) => {
  const directory = await temporaryDirectory(t)
  const holes = await save(directory, 'holes', Buffer.alloc(0))
  await truncate(holes, 2 ** 27)
  const end = writeZip([], { end: { directoryBytes: 2 ** 27, entries: 1, entriesHere: 1 } })
  const slices = [{ path: holes }, { path: await save(directory, 'end', end) }]
  assert.equal(await describeArchive(slices), 'The directory of the archive is too large.')
})

test('entries that no longer fit under a limit are refused, and those that do are read', async (t) => {
  const entries = [10, 95, 50, 45].map((length, index) => ({ name: String(index), content: 'x'.repeat(length) }))
  const path = await save(await temporaryDirectory(t), 'a.zip', writeZip(entries))
  const tooLarge = 'The content of the archive is too large.'
  const expected = [['0', 'x'.repeat(10)], ['1', tooLarge], ['2', 'x'.repeat(50)], ['3', tooLarge]]
  assert.deepEqual(await describeArchive([{ path }], { contentBytes: 100 }), expected)
})

test('a bomb gives no byte above what it claims', async (t) => {
  const data = deflateRawSync(Buffer.alloc(50_000_000))
  const bytes = writeZip([{ name: 'a', content: '', data, both: { bytes: 100_000 } }])
  const source = await openSlices([{ path: await save(await temporaryDirectory(t), 'a.zip', bytes) }])
  const [entry] = await readEntries(source)
  assert.ok(entry !== undefined, 'the archive has an entry')
  let given = 0
  await assert.rejects(async () => {
    for await (const piece of readEntry(source, entry)) given += piece.length
  }, new ArchiveError(LONGER))
  assert.ok(given <= 100_000, `${given} bytes were given`)
  await source.close()
})

test('every beginning of an archive is refused with a sentence, and so is every end', async (t) => {
  const bytes = smallArchive()
  const path = await save(await temporaryDirectory(t), 'a.zip', bytes)
  assert.notEqual(typeof (await describeArchive([{ path }])), 'string')
  for (let at = 0; at < bytes.length; at++) {
    assert.equal(typeof (await describeArchive([{ path, to: at }])), 'string', `the first ${at} bytes`)
    assert.equal(typeof (await describeArchive([{ path, from: at + 1 }])), 'string', `all but the first ${at + 1} bytes`)
  }
})

test('what is missing within an archive is told', async (t) => {
  const bytes = smallArchive()
  const path = await save(await temporaryDirectory(t), 'a.zip', bytes)
  for (let at = 0; at < bytes.length - 151; at += 7) {
    const source = await openSlices([{ path, to: at }, { path, from: at + 50 }])
    assert.equal((await readEnd(source)).totalBytes - source.bytes, 50)
    await source.close()
  }
})

const wrongSlices = [
  { name: 'a range behind the end of a file is refused', range: { from: 11 } },
  { name: 'a range longer than a file is refused', range: { to: 11 } },
  { name: 'a range that ends before it begins is refused', range: { from: 3, to: 2 } },
  { name: 'a range before the file is refused', range: { from: -1 } },
]
for (const { name, range } of wrongSlices) {
  test(name, async (t) => {
    const path = await save(await temporaryDirectory(t), 'a', Buffer.alloc(10))
    await assert.rejects(openSlices([{ path, ...range }]), new ArchiveError('A part of the archive is too short.'))
  })
}

test('only files are slices, and only what is there is read', async (t) => {
  const directory = await temporaryDirectory(t)
  await assert.rejects(openSlices([{ path: directory }]), new ArchiveError('A part of the archive is not a file.'))
  await assert.rejects(openSlices([{ path: `${directory}/none` }]), { code: 'ENOENT' })
  const path = await save(directory, 'a', Buffer.alloc(10))
  const source = await openSlices([{ path }])
  for (const [position, length] of [[0, 11], [0, 2 ** 40], [-1, 2], [10, 1], [NaN, 1], [0, -1]] as const) {
    await assert.rejects(source.read(position, length), ArchiveError)
  }
  assert.equal((await source.read(10, 0)).length, 0)
  await save(directory, 'a', Buffer.alloc(5))
  await assert.rejects(source.read(0, 10), new ArchiveError('A part of the archive became shorter while it was read.'))
  await source.close()
  await assert.rejects(source.read(0, 1), /closed/)
})

test('a broken archive gives a sentence or content that is right, whatever is broken', async (t) => {
  t.diagnostic(`${await fuzzArchive(await temporaryDirectory(t), 1, chooseSeed())} inputs`)
})
