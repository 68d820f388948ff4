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
  /** Its name ends with a slash; it has no content. */
  readonly isDirectory: boolean
  /** 0 is stored, 8 is deflated (APPNOTE 4.4.5). */
  readonly method: number
  /** Where its compressed content begins in the archive, in bytes; 0 where there is a `problem`. */
  readonly dataOffset: number
  readonly problem?: EntryProblem
}
