import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readlink, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { crc32, tableCrc32 } from '../lib/archive/crc32.ts'
import { openSlices } from '../lib/archive/source.ts'
import { readEnd } from '../lib/archive/zip-end.ts'
import { readEntries, readEntry } from '../lib/archive/zip.ts'
import { describeArchive, readArchive, save } from './archive-reader.ts'
import { needs, sleep, temporaryDirectory, until } from './harness.ts'
import { extraField, unicodePath, writeZip, zip64Extra, type ZipInput, type ZipOptions } from './zip-writer.ts'

const text = 'voice '.repeat(40)
const cutField = (field: Buffer) => {
  field.writeUInt16LE(field.length, 2) // four more than there are
  return field
}
const rawName = (bytes: string) => ({ name: Buffer.from(bytes, 'latin1'), flags: 0 })

interface Good {
  readonly name: string
  readonly entries: readonly ZipInput[]
  readonly options?: ZipOptions
  /** The names, where they are not those of `entries`. */
  readonly names?: readonly string[]
}

const good: Good[] = [
  { name: 'an archive may be empty', entries: [] },
  { name: 'an entry may be stored', entries: [{ name: 'a', content: text, method: 'stored' }] },
  { name: 'an entry may be deflated', entries: [{ name: 'a', content: text }] },
  {
    name: 'an entry may be empty, either way',
    entries: [{ name: 'a', content: '', method: 'stored' }, { name: 'b', content: '' }],
  },
  { name: 'folders are entries too', entries: [{ name: 'd/', content: '' }, { name: 'd/a', content: 'x' }] },
  {
    name: 'a folder may be deflated',
    entries: [{ name: 'd/', content: '', data: Buffer.from([3, 0]), both: { method: 8 } }],
  },
  { name: 'dots that are no segment are plain', entries: [{ name: '..a/b../...', content: 'x' }] },
  { name: 'names may be UTF-8', entries: [{ name: 'größe 声音 😀.wav', content: 'x' }] },
  { name: 'a byte order mark is of the name', entries: [{ name: '\ufeffa', content: 'x' }] },
  {
    name: 'names are code page 437 where nothing else is said',
    entries: [{ name: 'a', content: 'x', both: rawName('gr\x94\xe1e.wav') }],
    names: ['größe.wav'],
  },
  {
    name: 'names that were made on Unix are UTF-8 where they can be',
    entries: [
      { name: 'a', content: 'x', both: { name: Buffer.from('größe'), flags: 0, madeBy: 0x31e } },
      { name: 'b', content: 'x', both: { ...rawName('\x94\xe1'), madeBy: 0x31e } },
      { name: 'c', content: 'x', both: { name: Buffer.from('größe'), flags: 0 } },
    ],
    names: ['größe', 'öß', 'gr├╢├ƒe'],
  },
  {
    name: 'a name may stand in the extra field 7075',
    entries: [{ name: 'a', content: 'x', both: { ...rawName('gr__e'), extra: unicodePath('gr__e', 'größe') } }],
    names: ['größe'],
  },
  {
    name: 'an extra field 7075 that was made of another name does not count',
    entries: [{ name: 'a', content: 'x', both: { ...rawName('new'), extra: unicodePath('old', 'größe') } }],
    names: ['new'],
  },
  {
    name: 'an extra field that claims too many bytes is passed over',
    entries: [{ name: 'a', content: 'x', both: { extra: Buffer.from([1, 0, 255, 255, 0]) } }],
  },
  {
    name: 'an extra field 7075 that is cut does not count',
    entries: [{ name: 'a', content: 'x', both: { ...rawName('raw'), extra: cutField(unicodePath('raw', 'größe')) } }],
    names: ['raw'],
  },
  {
    name: 'only the numbers that need it may have 64 bits',
    entries: [{ name: 'a', content: 'x', central: { offset: 0xffffffff, extra: zip64Extra([0]) } }],
  },
  {
    name: 'a local header may have a long extra field of its own',
    entries: [{ name: 'a', content: text, local: { extra: extraField(0xcafe, Buffer.alloc(80)) } }],
  },
  {
    name: 'a data descriptor may have a signature',
    entries: [
      { name: 'a', content: text, descriptor: 'signed' },
      { name: 'b', content: 'x', method: 'stored', descriptor: 'signed' },
    ],
  },
  {
    name: 'a data descriptor may have no signature',
    entries: [{ name: 'a', content: text, descriptor: 'unsigned' }, { name: 'b', content: '', descriptor: 'unsigned' }],
  },
  {
    name: 'sizes may have 64 bits',
    entries: [{ name: 'a', content: text, zip64: true }, { name: 'b', content: 'x', zip64: true, method: 'stored' }],
  },
  {
    name: 'sizes of a data descriptor may have 64 bits',
    entries: [
      { name: 'a', content: text, zip64: true, descriptor: 'signed' },
      { name: 'b', content: 'x', zip64: true, descriptor: 'unsigned' },
    ],
  },
  { name: 'the end may have 64 bits', entries: [{ name: 'a', content: 'x' }], options: { zip64: true } },
  { name: 'an empty archive may have 64 bits', entries: [], options: { zip64: true } },
  {
    name: 'the end of 64 bits may have extensible data',
    entries: [{ name: 'a', content: 'x' }],
    options: { zip64: true, extensible: Buffer.concat([Buffer.from('PK\x06\x06'), Buffer.alloc(60)]) },
  },
  {
    name: 'the end may have a comment, even one that looks like an end',
    entries: [{ name: 'a', content: 'x' }],
    options: { comment: Buffer.concat([writeZip([]), Buffer.from('!')]) },
  },
  {
    name: 'a nested archive is content',
    entries: [{ name: 'a.zip', content: writeZip([{ name: 'b', content: 'x' }]), method: 'stored' }],
  },
  {
    name: 'bytes between entries are passed over',
    entries: [{ name: 'a', content: 'x', afterData: Buffer.from('between') }, { name: 'b', content: 'y' }],
  },
]
for (const { name, entries, options, names } of good) {
  test(`${name}, cut at every place`, async (t) => {
    const bytes = writeZip(entries, options)
    const path = await save(await temporaryDirectory(t), 'a.zip', bytes)
    const expected = entries.map((entry, index) => [names?.[index] ?? entry.name, entry.content.toString('latin1')])
    assert.deepEqual(await describeArchive([{ path }]), expected)
    for (let at = 0; at <= bytes.length; at++) {
      assert.deepEqual(await describeArchive([{ path, to: at }, { path, from: at }]), expected, `cut at ${at}`)
    }
    const single = Array.from(bytes, (_, at) => ({ path, from: at, to: at + 1 }))
    assert.deepEqual(await describeArchive(single), expected, 'byte by byte')
  })
}

const everything: ZipInput[] = [
  { name: 'd/', content: '' },
  { name: 'd/größe.txt', content: text },
  { name: 'stored', content: 'abc', method: 'stored', descriptor: 'signed' },
  { name: 'wide', content: text, zip64: true },
  { name: 'wide after', content: text, zip64: true, descriptor: 'signed' },
  { name: 'large', content: randomBytes(700_000) },
  { name: 'large stored', content: randomBytes(700_000), method: 'stored' },
]
const contentsOf = (entries: readonly ZipInput[]) => entries.map(({ name, content }) => [name, content.toString('latin1')])

test('many files of any length are one archive, and few of them are open', async (t) => {
  const directory = await temporaryDirectory(t)
  const bytes = writeZip(everything, { zip64: true })
  const slices = []
  for (let at = 0; at < bytes.length; at += 9_973) {
    slices.push({ path: await save(directory, String(at), bytes.subarray(at, at + 9_973)) })
  }
  slices.splice(3, 0, { path: await save(directory, 'empty', Buffer.alloc(0)) })
  assert.deepEqual(await describeArchive(slices), contentsOf(everything))
  const source = await openSlices(slices)
  const pieces = await Promise.all(slices.map((_, index) => source.read(index * 9000, 9000)))
  assert.deepEqual(Buffer.concat(pieces), bytes.subarray(0, slices.length * 9000))
  const open = await openBelow(directory)
  assert.ok(open <= 4, `${open} files are open`)
  await source.close()
  assert.equal(await openBelow(directory), 0)
})

test('a slice that cannot be opened is told to who reads it, and to nobody else', async (t) => {
  const directory = await temporaryDirectory(t)
  const slices = await Promise.all(Array.from({ length: 8 }, async (_, index) => ({ path: await save(directory, `${index}`, Buffer.alloc(1000)) })))
  const unhandled: unknown[] = []
  const note = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', note)
  t.after(() => process.off('unhandledRejection', note))
  const source = await openSlices(slices)
  await rm(join(directory, '5'))
  await assert.rejects(source.read(0, 8000), { code: 'ENOENT' })
  await source.close()
  await sleep(0)
  assert.deepEqual(unhandled, [])
})

test('two entries are read at the same time, and one that is left early leaves nothing open', async (t) => {
  const directory = await temporaryDirectory(t)
  const path = await save(directory, 'a.zip', writeZip(everything))
  const source = await openSlices([{ path }])
  const large = (await readEntries(source)).filter((entry) => entry.name.startsWith('large'))
  const lengths = await Promise.all(large.map(async (entry) => {
    let bytes = 0
    for await (const piece of readEntry(source, entry)) bytes += piece.length
    return bytes
  }))
  assert.deepEqual(lengths, [700_000, 700_000])
  for (const entry of large) for await (const piece of readEntry(source, entry)) if (piece.length > 0) break
  await source.close()
  await until('nothing is open', async () => (await openBelow(directory)) === 0)
})

test('who reads slowly makes the disk wait', async (t) => {
  const large = { content: randomBytes(8_000_000) }
  const bytes = writeZip([{ ...large, name: 'a' }, { ...large, name: 'b', method: 'stored' }])
  const path = await save(await temporaryDirectory(t), 'a.zip', bytes)
  const opened = await openSlices([{ path }])
  for (const entry of await readEntries(opened)) {
    let readBytes = 0
    const read = (position: number, length: number) => {
      readBytes += length
      return opened.read(position, length)
    }
    const content = readEntry({ bytes: opened.bytes, read, close: () => opened.close() }, entry)
    await content.next()
    await sleep(50)
    assert.ok(readBytes < 1_000_000, `${readBytes} bytes were read for one piece of ${entry.name}`)
    await content.return(undefined)
  }
  await opened.close()
})

test('of the last part of an archive, the end tells the length of the whole', async (t) => {
  const directory = await temporaryDirectory(t)
  const extensible = Buffer.alloc(9)
  for (const options of [{}, { zip64: true }, { zip64: true, extensible }, { comment: 'x'.repeat(300) }]) {
    const bytes = writeZip([{ name: 'a', content: text }, { name: 'b', content: text }], options)
    const path = await save(directory, 'a.zip', bytes)
    const whole = await openSlices([{ path }])
    const end = await readEnd(whole)
    await whole.close()
    assert.equal(end.totalBytes, bytes.length)
    assert.equal(end.entries, 2)
    for (let from = 0; from <= end.directoryOffset + end.directoryBytes; from++) {
      const part = await openSlices([{ path, from }])
      assert.deepEqual(await readEnd(part), end, `from ${from}`)
      await part.close()
    }
  }
})

test('bytes left over in front are told, and cut off', async (t) => {
  const directory = await temporaryDirectory(t)
  const bytes = writeZip([{ name: 'a', content: text }], { zip64: true })
  const path = await save(directory, 'a.zip', Buffer.concat([randomBytes(1000), bytes]))
  assert.equal(await describeArchive([{ path }]), 'Bytes stand in front of the archive that are not part of it.')
  const source = await openSlices([{ path }])
  const from = source.bytes - (await readEnd(source)).totalBytes
  await source.close()
  assert.deepEqual(await describeArchive([{ path, from }]), [['a', text]])
})

test('a CRC-32 is the same with and without the help of Node, in pieces too', () => {
  assert.equal(tableCrc32(Buffer.from('123456789'), 0), 0xcbf43926)
  const bytes = randomBytes(10_000)
  for (const cut of [0, 1, 4999, 10_000]) {
    assert.equal(tableCrc32(bytes.subarray(cut), tableCrc32(bytes.subarray(0, cut), 0)), crc32(bytes, 0))
  }
})

test('unzip and zipfile read what the writer of the tests writes', async (t) => {
  if (!needs(t, 'unzip', 'unzip') || !needs(t, 'python3', 'python3')) return
  const path = await save(await temporaryDirectory(t), 'a.zip', writeZip(everything, { zip64: true, comment: 'x' }))
  assert.equal(spawnSync('unzip', ['-tqq', path]).status, 0)
  const script = 'import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).testzip())'
  assert.equal(spawnSync('python3', ['-c', script, path], { encoding: 'utf8' }).stdout, 'None\n')
})

const WRITE_WITH_PYTHON = `
import io, sys, zipfile
class Pipe(io.RawIOBase): # cannot seek, so that sizes stand after the data
    def __init__(self, path): self.file = open(path, 'wb')
    def writable(self): return True
    def write(self, data): return self.file.write(data)
path, how = sys.argv[1:]
method = zipfile.ZIP_STORED if 'stored' in how else zipfile.ZIP_DEFLATED
with zipfile.ZipFile(Pipe(path) if 'pipe' in how else path, 'w', method) as archive:
    archive.mkdir('d') if hasattr(archive, 'mkdir') else archive.writestr('d/', '')
    for name, content in [('d/größe.txt', b'voice ' * 40), ('empty', b''), ('large', bytes(range(256)) * 4000)]:
        with archive.open(name, 'w', force_zip64='wide' in how) as entry: entry.write(content)
`
const LARGE = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)).toString('latin1').repeat(4000)

const ways = ['deflated', 'stored', 'deflated wide', 'stored wide', 'deflated pipe', 'stored pipe', 'deflated wide pipe']
for (const how of ways) {
  test(`an archive that Python writes is read: ${how}`, async (t) => {
    if (!needs(t, 'python3', 'python3')) return
    const path = join(await temporaryDirectory(t), 'a.zip')
    const python = spawnSync('python3', ['-c', WRITE_WITH_PYTHON, path, how], { encoding: 'utf8' })
    assert.equal(python.stderr, '')
    const expected = [['d/', ''], ['d/größe.txt', text], ['empty', ''], ['large', LARGE]]
    assert.deepEqual(await describeArchive([{ path }]), expected)
  })
}

for (const options of [['-r'], ['-r', '-0'], ['-r', '-fz'], ['-r', '-fd'], ['-r', '-D', '-X', '-9']]) {
  test(`an archive that zip ${options.join(' ')} writes is read`, async (t) => {
    if (!needs(t, 'zip', 'zip')) return
    const directory = await temporaryDirectory(t)
    await mkdir(join(directory, 'in', 'd'), { recursive: true })
    await writeFile(join(directory, 'in', 'd', 'größe.txt'), text)
    await writeFile(join(directory, 'in', 'large'), LARGE, 'latin1')
    const path = join(directory, 'a.zip')
    assert.equal(spawnSync('zip', ['-q', ...options, path, '.'], { cwd: join(directory, 'in') }).status, 0)
    const found = await readArchive([{ path }])
    assert.ok(typeof found !== 'string', String(found))
    const files = found.filter(({ entry }) => !entry.isDirectory)
    const contents = files.map(({ entry, content }) => [entry.name, content?.toString('latin1')])
    assert.deepEqual(contents.toSorted(), [['d/größe.txt', text], ['large', LARGE]])
  })
}

// Linux lists what is open; elsewhere the list is missing and the test says so.
async function openBelow(directory: string): Promise<number> {
  const descriptors = await readdir('/proc/self/fd')
  const paths = await Promise.all(descriptors.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')))
  return paths.filter((path) => path.startsWith(directory)).length
}
