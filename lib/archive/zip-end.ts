import { ArchiveError } from './archive-error.ts'
import type { ByteSource } from './source.ts'

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
 * Finds the record at the end of a zip archive. `source` may be only the last part of the archive, or have bytes in front
 * of it that do not belong to it: what is missing or left over is `totalBytes - source.bytes`. Throws an ArchiveError.
 */
export async function readEnd(source: ByteSource): Promise<ZipEnd> {
  throw new ArchiveError(`Not written yet: ${source.bytes}.`)
}
