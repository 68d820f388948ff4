import { deflateRawSync } from 'node:zlib'
import { crc32 } from '../lib/archive/crc32.ts'

/** The fields of a header that a test may want to be wrong. Sizes and offsets in bytes. */
export interface ZipFields {
  readonly signature: number
  readonly flags: number
  readonly method: number
  readonly crc32: number
  readonly compressedBytes: number
  readonly bytes: number
  readonly name: Buffer
  readonly extra: Buffer
  /** Central directory only: where the local header is said to be. */
  readonly offset: number
  /** Central directory only: the system in the upper byte, 3 for Unix. */
  readonly madeBy: number
  /** Central directory only: on Unix the file's mode in the upper 16 bits. */
  readonly attributes: number
  /** Central directory only. */
  readonly disk: number
}

/** One file or folder to be written; a folder's name ends with a slash. */
export interface ZipInput {
  readonly name: string
  readonly content: Buffer | string
  readonly method?: 'stored' | 'deflate'
  /** Sizes and CRC-32 stand after the data (APPNOTE 4.3.9), as where a program writes to a pipe. */
  readonly descriptor?: 'signed' | 'unsigned'
  /** The sizes and the offset stand in the extra field 1 (APPNOTE 4.5.3). */
  readonly zip64?: boolean
  /** The data themselves, where they shall not be the content's. */
  readonly data?: Buffer
  /** What stands after the data, where it shall not be the right data descriptor. */
  readonly afterData?: Buffer
  /** Fields of both headers, then of one, that differ from the right ones. */
  readonly both?: Partial<ZipFields>
  readonly local?: Partial<ZipFields>
  readonly central?: Partial<ZipFields>
}

/** The fields at the end of an archive that a test may want to be wrong. */
export interface ZipEndFields {
  readonly disk: number
  readonly directoryDisk: number
  readonly entriesHere: number
  readonly entries: number
  readonly directoryBytes: number
  readonly directoryOffset: number
  readonly commentBytes: number
}

/** What a test may want of the archive as a whole. */
export interface ZipOptions {
  readonly comment?: Buffer | string
  /** The end has a zip64 record and its locator (APPNOTE 4.3.14, 4.3.15), and the plain one its all-ones. */
  readonly zip64?: boolean
  readonly end?: Partial<ZipEndFields>
  /** Fields of the zip64 record that differ from the right ones, and where the locator says that it stands. */
  readonly end64?: Partial<ZipEndFields> & { readonly offset?: number; readonly disks?: number }
  /** Stands between the directory and the record at the end. */
  readonly afterDirectory?: Buffer
  /** Extensible data of the zip64 record. */
  readonly extensible?: Buffer
}

const UTF8 = 0x800
const DESCRIPTOR = 0x8
const ONES_16 = 0xffff
const ONES_32 = 0xffffffff

/** Writes a zip archive (APPNOTE), right in every field that the test does not name. */
export function writeZip(entries: readonly ZipInput[], options: ZipOptions = {}): Buffer {
  const pieces: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const entry of entries) {
    const { before, data, after, fields } = writeEntry(entry)
    directory.push(writeCentral({ ...fields, offset }, entry))
    pieces.push(before, data, after)
    offset += before.length + data.length + after.length
  }
  const centrals = Buffer.concat(directory)
  const end = {
    disk: 0,
    directoryDisk: 0,
    entriesHere: entries.length,
    entries: entries.length,
    directoryBytes: centrals.length,
    directoryOffset: offset,
  }
  return Buffer.concat([...pieces, centrals, options.afterDirectory ?? Buffer.alloc(0), writeEnd(end, options)])
}

type Right = Omit<ZipFields, 'offset'>

function writeEntry(entry: ZipInput) {
  const content = Buffer.from(entry.content)
  const isStored = entry.method === 'stored' || entry.name.endsWith('/')
  const data = entry.data ?? (isStored ? content : deflateRawSync(content))
  const name = Buffer.from(entry.name)
  const fields: Right = {
    signature: 0x04034b50,
    flags: (name.some((byte) => byte > 0x7f) ? UTF8 : 0) | (entry.descriptor === undefined ? 0 : DESCRIPTOR),
    method: isStored ? 0 : 8,
    crc32: crc32(content, 0),
    compressedBytes: data.length,
    bytes: content.length,
    name,
    extra: Buffer.alloc(0),
    madeBy: 45,
    attributes: 0,
    disk: 0,
    ...entry.both,
  }
  return { before: writeLocal(fields, entry), data, after: entry.afterData ?? writeDescriptor(fields, entry), fields }
}

// APPNOTE 4.3.7
function writeLocal(right: Right, { descriptor, zip64, local }: ZipInput): Buffer {
  const later = descriptor === undefined ? {} : { crc32: 0, compressedBytes: 0, bytes: 0 }
  const given = { ...right, ...later }
  const wide = zip64 === true ? zip64Extra([given.bytes, given.compressedBytes]) : Buffer.alloc(0)
  const extra = Buffer.concat([given.extra, wide])
  const sizes = zip64 === true ? { bytes: ONES_32, compressedBytes: ONES_32 } : {}
  const fields = { ...given, ...sizes, extra, ...local }
  const head = [u32(fields.signature), u16(20), ...shared(fields), u16(fields.name.length), u16(fields.extra.length)]
  return Buffer.concat([...head, fields.name, fields.extra])
}

// APPNOTE 4.3.12
function writeCentral(right: Right & { offset: number }, { zip64, central }: ZipInput): Buffer {
  const values = [right.bytes, right.compressedBytes, right.offset]
  const extra = zip64 === true ? Buffer.concat([right.extra, zip64Extra(values)]) : right.extra
  const sizes = zip64 === true ? { bytes: ONES_32, compressedBytes: ONES_32, offset: ONES_32 } : {}
  const fields = { ...right, ...sizes, extra, ...central, signature: central?.signature ?? 0x02014b50 }
  const head = [u32(fields.signature), u16(fields.madeBy), u16(20), ...shared(fields)]
  const tail = [u16(fields.name.length), u16(fields.extra.length), u16(0), u16(fields.disk), u16(0)]
  return Buffer.concat([...head, ...tail, u32(fields.attributes), u32(fields.offset), fields.name, fields.extra])
}

function shared(fields: Right): Buffer[] {
  const time = [u16(0), u16(0x21)] // midnight of the first day of 1980
  const sizes = [u32(fields.crc32), u32(fields.compressedBytes), u32(fields.bytes)]
  return [u16(fields.flags), u16(fields.method), ...time, ...sizes]
}

/** Writes a zip64 extended information extra field (APPNOTE 4.5.3) with the values given, in bytes. */
export function zip64Extra(values: readonly number[]): Buffer {
  return extraField(1, Buffer.concat(values.map(u64)))
}

/** Writes one extra field (APPNOTE 4.5). */
export function extraField(id: number, data: Buffer): Buffer {
  return Buffer.concat([u16(id), u16(data.length), data])
}

/** Writes the extra field 7075, the name of an entry in UTF-8 beside the `raw` one (APPNOTE 4.6.9). */
export function unicodePath(raw: string, name: string): Buffer {
  const head = Buffer.alloc(5, 1)
  head.writeUInt32LE(crc32(Buffer.from(raw, 'latin1'), 0), 1)
  return extraField(0x7075, Buffer.concat([head, Buffer.from(name)]))
}

// APPNOTE 4.3.9
function writeDescriptor(fields: Right, { descriptor, zip64 }: ZipInput): Buffer {
  if (descriptor === undefined) return Buffer.alloc(0)
  const size = zip64 === true ? u64 : u32
  const values = [u32(fields.crc32), size(fields.compressedBytes), size(fields.bytes)]
  return Buffer.concat(descriptor === 'signed' ? [u32(0x08074b50), ...values] : values)
}

// APPNOTE 4.3.14 to 4.3.16
function writeEnd(right: Omit<ZipEndFields, 'commentBytes'>, options: ZipOptions): Buffer {
  const comment = Buffer.from(options.comment ?? '')
  const ones = { entriesHere: ONES_16, entries: ONES_16, directoryBytes: ONES_32, directoryOffset: ONES_32 }
  const fields = { commentBytes: comment.length, ...right, ...(options.zip64 === true ? ones : {}), ...options.end }
  const counts = [fields.disk, fields.directoryDisk, fields.entriesHere, fields.entries].map(u16)
  const place = [u32(fields.directoryBytes), u32(fields.directoryOffset)]
  const plain = Buffer.concat([u32(0x06054b50), ...counts, ...place, u16(fields.commentBytes), comment])
  return options.zip64 === true ? Buffer.concat([writeEnd64(right, options), plain]) : plain
}

function writeEnd64(right: Omit<ZipEndFields, 'commentBytes'>, options: ZipOptions): Buffer {
  const start = right.directoryOffset + right.directoryBytes + (options.afterDirectory?.length ?? 0)
  const fields = { offset: start, disks: 1, ...right, ...options.end64 }
  const extensible = options.extensible ?? Buffer.alloc(0)
  const disks = [u32(fields.disk), u32(fields.directoryDisk)]
  const head = [u32(0x06064b50), u64(44 + extensible.length), u16(45), u16(45), ...disks]
  const values = [fields.entriesHere, fields.entries, fields.directoryBytes, fields.directoryOffset].map(u64)
  const locator = [u32(0x07064b50), u32(0), u64(fields.offset), u32(fields.disks)]
  return Buffer.concat([...head, ...values, extensible, ...locator])
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(value & 0xffff)
  return bytes
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value >>> 0)
  return bytes
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}
