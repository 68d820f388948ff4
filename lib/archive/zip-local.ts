import type { ByteSource } from './source.ts'
import type { CentralHeader } from './zip-directory.ts'
import { widen } from './zip-extra.ts'

/** Where the data of an entry are, in bytes from the start of the archive. */
export interface Place {
  readonly headerOffset: number
  readonly dataOffset: number
  /** Behind the data and the data descriptor. */
  readonly end: number
}

/**
 * Reads what stands around the data of an entry: the local header (APPNOTE 4.3.7) and the data descriptor (4.3.9).
 * @param limit where the directory begins, in bytes
 * @returns the place of the data, or a sentence that says how they disagree with the directory
 */
export async function readPlace(source: ByteSource, central: CentralHeader, limit: number): Promise<Place | string> {
  const header = await readHeader(source, central, limit)
  if (header === undefined) return 'The entry is not where the directory says.'
  if (!isSame(header, central)) return 'The entry is not the one that the directory describes.'
  const dataOffset = central.offset + header.length
  const dataEnd = dataOffset + central.compressedBytes
  if (dataEnd > limit) return 'The data of the entry do not end before the directory.'
  const descriptorBytes = await measureDescriptor(source, central, dataEnd, limit)
  if (descriptorBytes === undefined) return 'What stands after the data of the entry contradicts the directory.'
  return { headerOffset: central.offset, dataOffset, end: dataEnd + descriptorBytes }
}

const SIGNATURE = 0x04034b50
const FIXED_BYTES = 30
const USUAL_EXTRA_BYTES = 64

// One read in most cases: the length of the extra field is known only when the rest has been read.
async function readHeader(source: ByteSource, central: CentralHeader, limit: number): Promise<Buffer | undefined> {
  const { offset, rawName } = central
  const usual = FIXED_BYTES + rawName.length + USUAL_EXTRA_BYTES
  if (offset + FIXED_BYTES > limit) return undefined
  const bytes = await source.read(offset, Math.min(usual, limit - offset))
  if (bytes.readUInt32LE(0) !== SIGNATURE) return undefined
  const length = FIXED_BYTES + bytes.readUInt16LE(26) + bytes.readUInt16LE(28)
  if (length <= bytes.length) return bytes.subarray(0, length)
  return offset + length <= limit ? source.read(offset, length) : undefined
}

const HAS_DESCRIPTOR = 0x0008
const SAME_FLAGS = 0x0001 | HAS_DESCRIPTOR | 0x0020 | 0x0040 | 0x2000 // what decides how the data are read

function isSame(header: Buffer, central: CentralHeader): boolean {
  const nameEnd = FIXED_BYTES + header.readUInt16LE(26)
  const sizes = widen([header.readUInt32LE(22), header.readUInt32LE(18)], header.subarray(nameEnd))
  if (sizes === undefined) return false
  const claims = [...sizes, header.readUInt32LE(14)]
  const expected = [central.bytes, central.compressedBytes, central.crc32]
  // APPNOTE 4.4.4: where a data descriptor follows, they are zero here, or already right.
  const isLater = (central.flags & HAS_DESCRIPTOR) !== 0
  return (
    ((header.readUInt16LE(6) ^ central.flags) & SAME_FLAGS) === 0 &&
    header.readUInt16LE(8) === central.method &&
    header.subarray(FIXED_BYTES, nameEnd).equals(central.rawName) &&
    claims.every((claim, index) => claim === expected[index] || (isLater && claim === 0))
  )
}

// Writers disagree on the signature and on the width of the sizes: four forms are in use.
async function measureDescriptor(
  source: ByteSource,
  central: CentralHeader,
  at: number,
  limit: number,
): Promise<number | undefined> {
  if ((central.flags & HAS_DESCRIPTOR) === 0) return 0
  const found = await source.read(at, Math.min(24, limit - at))
  return descriptorsOf(central).find((form) => found.subarray(0, form.length).equals(form))?.length
}

function descriptorsOf({ crc32, compressedBytes, bytes }: CentralHeader): Buffer[] {
  const wide = Buffer.alloc(24, 'PK\x07\x08', 'latin1')
  wide.writeUInt32LE(crc32, 4)
  wide.writeBigUInt64LE(BigInt(compressedBytes), 8)
  wide.writeBigUInt64LE(BigInt(bytes), 16)
  const narrow = Buffer.concat([wide.subarray(0, 12), wide.subarray(16, 20)])
  return [wide, wide.subarray(4), narrow, narrow.subarray(4)]
}
