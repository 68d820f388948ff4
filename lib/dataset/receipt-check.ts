import { createHash } from 'node:crypto'
import type { StoredFile } from './arrivals.ts'
import { titleOf } from './sealed-file.ts'
import { readRanges } from './upload-archive.ts'
import type { Slice } from './upload.ts'
import type { Vault } from './vault.ts'

/** Holds what an export has read against the receipts. What is encrypted carries its own proof, and no receipt knows what it holds. */
export class ReceiptCheck {
  readonly #changed = new Set<string>()

  /** How many of the files that were read are not what their receipts promised. */
  get changedFiles(): number {
    return this.#changed.size
  }

  /** Says how a file differs from its receipt; undefined where it does not, or where no receipt tells. */
  describe(file: StoredFile, found: { readonly bytes: number; readonly sha256: string }): string | undefined {
    if (file.sealed !== undefined || file.sha256 === undefined || file.sha256 === found.sha256) return undefined
    this.#changed.add(file.storedAs)
    return `It differs from its receipt, which promised ${file.bytes} bytes with the SHA-256 ${file.sha256}: it has ${found.bytes} bytes with the SHA-256 ${found.sha256}.`
  }
}

/** The slices of an upload, each held against its receipt while they are read as one. */
export class CheckedSlices {
  readonly #vault: Vault
  readonly #slices: readonly Slice[]
  readonly #check: ReceiptCheck
  readonly #changes: string[] = []

  constructor(vault: Vault, slices: readonly Slice[], check: ReceiptCheck) {
    this.#vault = vault
    this.#slices = slices
    this.#check = check
  }

  /** Which of them differ from their receipts, and how: known when all of them have been read. */
  get changes(): readonly string[] {
    return this.#changes
  }

  /**
   * Gives the bytes of all of them. Throws an `ArchiveError` where they cannot be decrypted.
   * @param skipBytes bytes at the front that are not given
   */
  async *read(skipBytes: number): AsyncGenerator<Buffer> {
    let left = skipBytes
    for (const { file } of this.#slices) {
      const hash = file.sealed === undefined && file.sha256 !== undefined ? createHash('sha256') : undefined
      for await (const piece of readRanges([{ ...this.#vault.rangeOf(file), from: 0, to: file.bytes }])) {
        hash?.update(piece)
        const wanted = piece.subarray(left)
        left -= piece.length - wanted.length
        if (wanted.length > 0) yield wanted
      }
      const change = hash && this.#check.describe(file, { bytes: file.bytes, sha256: hash.digest('hex') })
      if (change !== undefined) this.#changes.push(`${titleOf(file)}: ${change}`)
    }
  }
}
