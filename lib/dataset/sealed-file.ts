import { sha256Of } from '../sha256.ts'
import type { ReceiptFile } from '../store/receipt.ts'

const EXTENSION = '.age'
const MOST_ACTIVITIES = 1000

/** Says of a file why it ends with `.age` in an export. */
export const AS_STORED = 'It is here as it is stored, encrypted.'

/** What is known without a key of a file that is stored encrypted. */
export interface Sealed {
  /** Where a zip ends in the file. */
  readonly zip: SealedZip | undefined
}

/** What is known without a key of a zip. */
export interface SealedZip {
  /** The length of all of it, also of what is in the slices before. */
  readonly bytes: number
  readonly entries: number
  /** How many of the entries are files of answers. */
  readonly activities: number
}

/** Gives what a receipt tells of an encrypted file; undefined where the file is not encrypted. */
export function sealedOf({ plain, name }: ReceiptFile): Sealed | undefined {
  if (plain === undefined) return undefined
  const { zip } = plain
  return { zip: zip && { bytes: zip.bytes, entries: zip.entries.length, activities: countActivities(zip.entries, name) } }
}

/** Says whether a stored file holds what else stands in a receipt, such as the form's text fields: it is none of the form's files. */
export function isOfReceipt({ holds }: ReceiptFile): boolean {
  return holds !== undefined
}

/** Says whether a stored name is that of an encrypted file. */
export function isSealedName(storedAs: string): boolean {
  return storedAs.endsWith(EXTENSION)
}

/** Gives the stored name that a file has in an export: what is decrypted is named as if it had never been encrypted. */
export function titleOf({ storedAs, sealed }: { readonly storedAs: string; readonly sealed: Sealed | undefined }): string {
  return sealed !== undefined && isSealedName(storedAs) ? withoutSeal(storedAs) : storedAs
}

/** Gives the name that an encrypted file would be stored under if it were not. */
export function withoutSeal(storedAs: string): string {
  return storedAs.slice(0, -EXTENSION.length)
}

// Names are known by their hashes alone; those that the web app gives to files of answers can be made again from the name
// of the upload.
function countActivities(entries: readonly string[], name: string): number {
  const known = new Set(entries)
  const stem = name.replace(/(?:-activity\d+)?\.zip(?:\.\d+)?$/i, '')
  let activities = 0
  for (let number = 0; number < Math.min(known.size, MOST_ACTIVITIES); number++) {
    if (known.has(sha256Of(`${stem}/activity_${number}.jsonld`))) activities++
  }
  return activities
}
