import { sha256Of } from '../sha256.ts'
import { ArchiveError } from './archive-error.ts'
import type { ByteSource } from './source.ts'
import { readDirectory } from './zip-directory.ts'
import { readEnd } from './zip-end.ts'

/** What can be noted of an archive without saying what it holds. */
export interface ZipNote {
  /** The length of the whole archive. */
  readonly bytes: number
  /** SHA-256 of each entry's name, in the order of the directory. */
  readonly entries: readonly string[]
}

/**
 * Notes what the last bytes of a file say of the zip archive that it is, or is the end of; undefined where they do not
 * hold the end of one with its whole directory.
 */
export async function noteZip(end: Buffer): Promise<ZipNote | undefined> {
  try {
    const found = await readEnd(new BufferSource(end, 0))
    const headers = await readDirectory(new BufferSource(end, found.totalBytes - end.length), found)
    return { bytes: found.totalBytes, entries: headers.map(({ name }) => sha256Of(name)) }
  } catch (error) {
    if (error instanceof ArchiveError) return undefined // most files are no zips
    throw error
  }
}

/** Bytes in memory that stand at another position in the whole. */
class BufferSource implements ByteSource {
  readonly #buffer: Buffer
  readonly #position: number

  constructor(buffer: Buffer, position: number) {
    this.#buffer = buffer
    this.#position = position
  }

  get bytes(): number {
    return this.#position + this.#buffer.length
  }

  async read(position: number, length: number): Promise<Buffer> {
    const at = position - this.#position
    if (at < 0 || at + length > this.#buffer.length) throw new ArchiveError('A part of the archive is missing.')
    return this.#buffer.subarray(at, at + length)
  }

  async close(): Promise<void> {}
}
