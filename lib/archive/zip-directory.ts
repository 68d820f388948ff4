import { ArchiveError } from './archive-error.ts'
import type { ByteSource } from './source.ts'
import type { ZipEnd } from './zip-end.ts'
import { widen } from './zip-extra.ts'
import { decodeName, findNameProblem } from './zip-name.ts'
import { ONES_16 } from './zip-number.ts'

const MAX_DIRECTORY_BYTES = 64 * 1024 * 1024 // half a million entries; it is held in memory

/** One entry as the directory has it (APPNOTE 4.3.12); sizes and offset in bytes. */
export interface CentralHeader {
  readonly rawName: Buffer
  readonly name: string
  readonly flags: number
  readonly method: number
  readonly crc32: number
  readonly compressedBytes: number
  readonly bytes: number
  /** Where the local header is. */
  readonly offset: number
  /** Why the entry cannot be read, as far as the directory tells. */
  readonly problem: string | undefined
}

/** Reads the directory of an archive. Throws an ArchiveError where it is not the one that the end names. */
export async function readDirectory(source: ByteSource, end: ZipEnd): Promise<CentralHeader[]> {
  if (end.directoryBytes > MAX_DIRECTORY_BYTES) throw new ArchiveError('The directory of the archive is too large.')
  const directory = await source.read(end.directoryOffset, end.directoryBytes)
  const headers: CentralHeader[] = []
  let at = 0
  for (let entry = 0; entry < end.entries; entry++) {
    const headerBytes = measure(directory, at)
    headers.push(parseHeader(directory.subarray(at, at + headerBytes)))
    at += headerBytes
  }
  if (at !== directory.length) throw new ArchiveError('The directory of the archive does not end where it should.')
  return headers
}

const SIGNATURE = 0x02014b50
const FIXED_BYTES = 46

function measure(directory: Buffer, at: number): number {
  const isThere = at + FIXED_BYTES <= directory.length && directory.readUInt32LE(at) === SIGNATURE
  if (!isThere) throw new ArchiveError('The directory of the archive is damaged.')
  const lengths = [28, 30, 32].map((field) => directory.readUInt16LE(at + field)) // name, extra field, comment
  const bytes = lengths.reduce((sum, length) => sum + length, FIXED_BYTES)
  if (at + bytes > directory.length) throw new ArchiveError('The directory of the archive is damaged.')
  return bytes
}

function parseHeader(header: Buffer): CentralHeader {
  const nameEnd = FIXED_BYTES + header.readUInt16LE(28)
  const rawName = header.subarray(FIXED_BYTES, nameEnd)
  const extra = header.subarray(nameEnd, nameEnd + header.readUInt16LE(30))
  const flags = header.readUInt16LE(8)
  const method = header.readUInt16LE(10)
  const name = decodeName(rawName, { flags, extra, madeOn: header.readUInt8(5) })
  const sizes = widen([header.readUInt32LE(24), header.readUInt32LE(20), header.readUInt32LE(42)], extra)
  const [bytes = 0, compressedBytes = 0, offset = 0] = sizes ?? []
  const problem =
    (name === undefined ? 'The name of the entry is not UTF-8, though it is said to be.' : findNameProblem(name)) ??
    (sizes === undefined ? 'The size of the entry is missing.' : undefined) ??
    findProblem({ name: name ?? '', bytes, compressedBytes, flags, method, header })
  const content = { crc32: header.readUInt32LE(16), compressedBytes, bytes, offset }
  return { rawName, name: name ?? rawName.toString('latin1'), flags, method, ...content, problem }
}

const ENCRYPTED = 0x0001 | 0x0040 | 0x2000 // APPNOTE 4.4.4: bits 0, 6 and 13
const PATCHED = 0x0020
const STORED = 0
const DEFLATED = 8
// The best that deflate can do is 258 bytes for 2 bits (RFC 1951 §3.2.5, §3.2.7).
const MOST_INFLATION = 1032

interface Claims {
  readonly name: string
  readonly bytes: number
  readonly compressedBytes: number
  readonly flags: number
  readonly method: number
  readonly header: Buffer
}

function findProblem({ name, bytes, compressedBytes, flags, method, header }: Claims): string | undefined {
  if ((flags & ENCRYPTED) !== 0) return 'The entry is encrypted.'
  if ((flags & PATCHED) !== 0 || (method !== STORED && method !== DEFLATED)) {
    return 'The entry is compressed in a way that is not supported.'
  }
  if (![0, ONES_16].includes(header.readUInt16LE(34))) return 'The entry is on another volume of the archive.'
  if (isSpecialFile(header)) return 'The entry is a link or a device.'
  if (name.endsWith('/') && bytes > 0) return 'The entry is a folder, but has content.'
  if (method === STORED && bytes !== compressedBytes) return 'The size of the entry contradicts itself.'
  if (bytes > compressedBytes * MOST_INFLATION) return 'The entry claims more content than its data can hold.'
  return undefined
}

// What Unix makes of it stands in the upper half of the attributes (Info-ZIP, APPNOTE 4.4.15).
function isSpecialFile(header: Buffer): boolean {
  const isUnix = header.readUInt8(5) === 3
  const fileType = header.readUInt16LE(40) & 0o170000
  return isUnix && ![0, 0o100000, 0o040000].includes(fileType)
}
