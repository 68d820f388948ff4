import { ArchiveError } from './archive-error.ts'
import type { ByteSource } from './source.ts'
import { ONES_16, ONES_32, readSafe64 } from './zip-number.ts'

/** What the end of a zip archive says of the whole; all in bytes from the archive's own start. */
export interface ZipEnd {
  /** The length of the whole archive. */
  readonly totalBytes: number
  readonly directoryOffset: number
  readonly directoryBytes: number
  /** How many entries the directory has. */
  readonly entries: number
}

/**
 * Finds the record at the end of a zip archive. `source` may be only the last part of the archive, or have bytes in
 * front of it that do not belong to it: what is missing or left over is `totalBytes - source.bytes`. Throws an
 * ArchiveError where `source` does not end with such a record. Without a comment the record is the last 22 bytes, and
 * the last 98 where it is one of 64 bits: a shorter part is not enough.
 */
export async function readEnd(source: ByteSource): Promise<ZipEnd> {
  const tailBytes = Math.min(source.bytes, END_BYTES + ONES_16 + LOCATOR_BYTES + RECORD_64_BYTES + EXTENSIBLE_BYTES)
  const tail = await source.read(source.bytes - tailBytes, tailBytes)
  const at = findEnd(tail)
  if (at === undefined) throw new ArchiveError('The end of the archive is missing or damaged.')
  const plain = readPlainEnd(tail, at)
  return readEnd64(tail, at, plain) ?? endOf(plain, tail.length - at)
}

const END = Buffer.from('PK\x05\x06', 'latin1') // APPNOTE 4.3.16
const END_BYTES = 22
const LOCATOR = Buffer.from('PK\x06\x07', 'latin1') // APPNOTE 4.3.15
const LOCATOR_BYTES = 20
const RECORD_64 = Buffer.from('PK\x06\x06', 'latin1') // APPNOTE 4.3.14
const RECORD_64_BYTES = 56
const EXTENSIBLE_BYTES = 4096 // more than anything writes into the zip64 record

// Backwards, since the comment may hold anything; it has to end exactly where the archive does.
function findEnd(tail: Buffer): number | undefined {
  for (let at = tail.length - END_BYTES; at >= 0; at--) {
    at = tail.lastIndexOf(END, at)
    if (at === -1) return undefined
    if (at + END_BYTES + tail.readUInt16LE(at + 20) === tail.length) return at
  }
  return undefined
}

interface Counts {
  readonly disk: number
  readonly directoryDisk: number
  readonly entriesHere: number
  readonly entries: number
  readonly directoryBytes: number
  readonly directoryOffset: number
}

function readPlainEnd(tail: Buffer, at: number): Counts {
  return {
    disk: tail.readUInt16LE(at + 4),
    directoryDisk: tail.readUInt16LE(at + 6),
    entriesHere: tail.readUInt16LE(at + 8),
    entries: tail.readUInt16LE(at + 10),
    directoryBytes: tail.readUInt32LE(at + 12),
    directoryOffset: tail.readUInt32LE(at + 16),
  }
}

function endOf(counts: Counts, endBytes: number): ZipEnd {
  const { directoryOffset, directoryBytes, entries } = counts
  refuseDisks(counts)
  if (directoryOffset === ONES_32 || directoryBytes === ONES_32) {
    throw new ArchiveError('The end of the archive is missing or damaged.') // zip64, but what says so is not there
  }
  return { totalBytes: directoryOffset + directoryBytes + endBytes, directoryOffset, directoryBytes, entries }
}

function refuseDisks({ disk, directoryDisk, entries, entriesHere }: Counts): void {
  if (disk !== 0 || directoryDisk !== 0 || entries !== entriesHere) {
    throw new ArchiveError('The archive is one volume of several, as zip -s makes them; that is not supported.')
  }
}

/** Reads the zip64 record, where its locator stands in front of the plain one. */
function readEnd64(tail: Buffer, plainAt: number, plain: Counts): ZipEnd | undefined {
  const locatorAt = plainAt - LOCATOR_BYTES
  if (locatorAt < 0 || tail.indexOf(LOCATOR, locatorAt) !== locatorAt) return undefined
  const at = findRecord64(tail, locatorAt)
  const offset = readSafe64(tail, locatorAt + 8)
  if (at === undefined || offset === undefined) throw new ArchiveError('The end of the archive is missing or damaged.')
  const counts = readCounts64(tail, at)
  refuseDisks(counts)
  refuseUnlessSame(plain, counts)
  const { directoryOffset, directoryBytes, entries } = counts
  if (directoryOffset + directoryBytes !== offset) {
    throw new ArchiveError('The directory of the archive does not end where it should.')
  }
  return { totalBytes: offset + tail.length - at, directoryOffset, directoryBytes, entries }
}

// Not at the offset that the locator gives: `source` may lack the first bytes of the archive, or have some in front.
function findRecord64(tail: Buffer, locatorAt: number): number | undefined {
  for (let at = locatorAt - RECORD_64_BYTES; at >= 0; at--) {
    at = tail.lastIndexOf(RECORD_64, at)
    if (at === -1) return undefined
    if (readSafe64(tail, at + 4) === locatorAt - at - 12) return at
  }
  return undefined
}

function readCounts64(tail: Buffer, at: number): Counts {
  const read = (field: number) => {
    const value = readSafe64(tail, at + field)
    if (value === undefined) throw new ArchiveError('The archive claims to be larger than any file can be.')
    return value
  }
  return {
    disk: tail.readUInt32LE(at + 16),
    directoryDisk: tail.readUInt32LE(at + 20),
    entriesHere: read(24),
    entries: read(32),
    directoryBytes: read(40),
    directoryOffset: read(48),
  }
}

// APPNOTE 4.4.1.4: a field of the plain record is all ones or says the same. Else two readers see two archives.
function refuseUnlessSame(plain: Counts, wide: Counts): void {
  const isSame =
    [ONES_16, wide.disk].includes(plain.disk) &&
    [ONES_16, wide.directoryDisk].includes(plain.directoryDisk) &&
    [ONES_16, wide.entriesHere].includes(plain.entriesHere) &&
    [ONES_16, wide.entries].includes(plain.entries) &&
    [ONES_32, wide.directoryBytes].includes(plain.directoryBytes) &&
    [ONES_32, wide.directoryOffset].includes(plain.directoryOffset)
  if (!isSame) throw new ArchiveError('The end of the archive contradicts itself.')
}
