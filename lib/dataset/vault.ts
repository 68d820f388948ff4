import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { ArchiveError } from '../archive/archive-error.ts'
import type { Slice as Range } from '../archive/source.ts'
import type { SealedContent } from '../crypt/sealed-content.ts'
import { systemCode } from '../errors.ts'
import type { StoredFile } from './arrivals.ts'
import { Keyring, LockedError } from './keyring.ts'
import { readStoredContent, type StoredContent } from './stored-content.ts'
import { readRanges } from './upload-archive.ts'
import type { Slice } from './upload.ts'

/** The stored files of a project, read as participants sent them: also those that are encrypted, as far as there is a key. */
export class Vault {
  readonly #directory: string
  readonly #keyring: Keyring | undefined

  /** @param keyring undefined where nothing that is encrypted is to be opened */
  constructor(directory: string, keyring: Keyring | undefined) {
    this.#directory = directory
    this.#keyring = keyring
  }

  /** Says whether one may try to read a file: it is not encrypted, or there is a keyring. */
  mayRead({ sealed }: StoredFile): boolean {
    return sealed === undefined || this.#keyring !== undefined
  }

  /** How many of the files that were to be read are encrypted to none of the identities. */
  get lockedFiles(): number {
    return this.#keyring?.countLocked(this.#directory) ?? 0
  }

  /** Says whether an identity opens an encrypted file, be it damaged or not. */
  async opens({ storedAs }: StoredFile): Promise<boolean> {
    try {
      await this.#unseal(storedAs)
      return true
    } catch (error) {
      if (error instanceof ArchiveError) return !(error instanceof LockedError)
      throw error
    }
  }

  /** Gives where a file's bytes are, as they were sent. */
  rangeOf({ storedAs, sealed }: StoredFile): Range {
    const path = join(this.#directory, storedAs)
    return sealed === undefined ? { path } : { path, unseal: () => this.#unseal(storedAs) }
  }

  /**
   * Gives where the bytes of an upload are, as they were sent.
   * @param skipBytes bytes at the front that do not belong to it
   */
  rangesOf(slices: readonly Slice[], skipBytes = 0): Range[] {
    const ranges: Range[] = []
    let left = skipBytes
    for (const { file } of slices) {
      const from = Math.min(left, file.bytes)
      left -= from
      if (from < file.bytes) ranges.push({ ...this.rangeOf(file), from, to: file.bytes })
    }
    return ranges
  }

  /** Gives where a file's bytes are, as they are stored: of an encrypted one nobody can read anything in them. */
  storedRangeOf({ storedAs }: StoredFile): Range {
    return { path: join(this.#directory, storedAs) }
  }

  /** Reads a file to its end, as it was sent. What is encrypted and cannot be opened is given as no plain file. */
  async readContent(file: StoredFile): Promise<StoredContent> {
    if (file.sealed === undefined) return readStoredContent(join(this.#directory, file.storedAs))
    try {
      const hash = createHash('sha256')
      let bytes = 0
      for await (const piece of readRanges([this.rangeOf(file)])) {
        hash.update(piece)
        bytes += piece.length
      }
      return { type: 'file', bytes, sha256: hash.digest('hex') }
    } catch (error) {
      if (error instanceof ArchiveError) return { type: 'irregular' }
      if (systemCode(error) === 'ENOENT') return { type: 'missing' }
      throw error
    }
  }

  #unseal(storedAs: string): Promise<SealedContent> {
    return (this.#keyring ?? new Keyring([])).unseal(join(this.#directory, storedAs))
  }
}
