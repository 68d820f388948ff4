import { pipeline } from 'node:stream/promises'
import { createInflateRaw } from 'node:zlib'
import { systemCode } from '../errors.ts'
import { ArchiveError } from './archive-error.ts'
import { crc32 } from './crc32.ts'
import type { ByteSource } from './source.ts'
import type { ZipEntry } from './zip-entry.ts'

const READ_BYTES = 256 * 1024 // one trip to the disk
const INFLATE_BYTES = 64 * 1024
const STORED = 0

/**
 * Gives the content of an entry in pieces, a few of them in memory at a time. Throws an ArchiveError where the entry
 * has a problem or its data turn out to be damaged, which may be known only at the end: what came before is then not to be
 * used.
 */
export async function* readEntry(source: ByteSource, entry: ZipEntry): AsyncGenerator<Buffer> {
  if (entry.problem !== undefined) throw new ArchiveError(entry.problem)
  let bytes = 0
  let crc = 0
  for await (const piece of entry.method === STORED ? readData(source, entry) : inflate(source, entry)) {
    bytes += piece.length
    if (bytes > entry.bytes) throw new ArchiveError('The content of the entry is longer than the directory says.')
    crc = crc32(piece, crc)
    yield piece
  }
  if (bytes < entry.bytes) throw new ArchiveError('The content of the entry is shorter than the directory says.')
  if (crc !== entry.crc32) throw new ArchiveError('The content of the entry is damaged: its checksum is wrong.')
}

async function* readData(source: ByteSource, { dataOffset, compressedBytes }: ZipEntry): AsyncGenerator<Buffer> {
  for (let at = 0; at < compressedBytes; at += READ_BYTES) {
    yield await source.read(dataOffset + at, Math.min(READ_BYTES, compressedBytes - at))
  }
}

async function* inflate(source: ByteSource, entry: ZipEntry): AsyncGenerator<Buffer> {
  const stream = createInflateRaw({ chunkSize: INFLATE_BYTES })
  const fed = pipeline(readData(source, entry), stream)
  fed.catch(() => undefined) // `stream` throws the same; where nobody reads on, it is only closed
  try {
    for await (const piece of stream) yield piece as Buffer // a stream without encoding gives nothing else
  } catch (error) {
    if (!DAMAGES.includes(systemCode(error) ?? '')) throw error
    throw new ArchiveError('The content of the entry is damaged: it cannot be inflated.', { cause: error })
  }
  // Before `fed`, which in this case ends only because nobody takes the rest.
  if (stream.bytesWritten !== entry.compressedBytes) {
    throw new ArchiveError('The content of the entry is damaged: it ends before its data do.')
  }
  await fed
}

// What zlib says of its input; anything else is no matter of the archive.
const DAMAGES = ['Z_DATA_ERROR', 'Z_BUF_ERROR', 'Z_NEED_DICT']
