import { ArchiveError } from './archive-error.ts'
import type { ByteSource } from './source.ts'

/** Why one entry of an archive cannot be read: one plain sentence for a researcher, without the entry's name. */
export type EntryProblem = string

/** One file or folder of a zip archive. */
export interface ZipEntry {
  /** As the archive gives it; may be anything where there is a `problem`, and else is a plain relative path. */
  readonly name: string
  /** The length of its content. */
  readonly bytes: number
  readonly compressedBytes: number
  /** The CRC-32 of its content. */
  readonly crc32: number
  /** Its name ends with a slash, and it has no content. */
  readonly isDirectory: boolean
  /** 0 is stored, 8 is deflated (APPNOTE 4.4.5). */
  readonly method: number
  /** Where its compressed content begins in the archive, in bytes; 0 where there is a `problem`. */
  readonly dataOffset: number
  readonly problem?: EntryProblem
}

/** What an archive may claim at most. */
export interface ZipLimits {
  /** The bytes of the contents of all entries together; entries that no longer fit get a `problem`. No limit if absent. */
  readonly contentBytes?: number
}

/**
 * Reads the directory of a zip archive and the local header of every entry. An entry that cannot be trusted has a
 * `problem`; the others can be read. Throws an ArchiveError where the archive as a whole cannot be read, which it cannot
 * either where bytes of it are missing or stand in front of it (`readEnd` tells which).
 */
export async function readEntries(source: ByteSource, limits: ZipLimits = {}): Promise<ZipEntry[]> {
  throw new ArchiveError(`Not written yet: ${source.bytes} ${limits.contentBytes}.`)
}

/**
 * Gives the content of an entry in pieces, at most a few of them in memory. Throws an ArchiveError where the entry has a
 * problem, or its data turn out to be damaged: what was given before is then not to be used.
 */
export async function* readEntry(source: ByteSource, entry: ZipEntry): AsyncGenerator<Buffer> {
  if (entry.problem !== undefined) throw new ArchiveError(entry.problem)
  yield source.read(entry.dataOffset, entry.compressedBytes)
}
