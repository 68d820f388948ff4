import type { SealedZip } from './sealed-file.ts'

/** What is known without a key of what a session holds. */
export interface SealedHold {
  readonly uploads: number
  /** Of the upload at its end; undefined where its receipts do not tell. */
  readonly zip: SealedZip | undefined
}

/** What there is to tell of a session. */
export interface SessionState {
  readonly id: string
  readonly participant: string | undefined
  /** Everybody whom a token, a file name or an answer names. */
  readonly claimed: readonly string[]
  readonly conflicts: readonly string[]
  /** What is not there: slices, recordings that an answer names, the upload at the end. Empty where the session is complete. */
  readonly missing: readonly string[]
  /** What may be missing, and is not known without a key. */
  readonly unknown: readonly string[]
  /** What receipts tell where it was not looked into, for want of a key: nobody knows then whether all of it is there. */
  readonly sealed: SealedHold | undefined
  readonly bytes: number
  readonly firstAt: string
  readonly lastAt: string
}

/** Says whether everything of a session has arrived, and that is known. */
export function isComplete({ missing, unknown, sealed }: SessionState): boolean {
  return missing.length === 0 && unknown.length === 0 && sealed === undefined
}

/** Says whether it takes a key to know whether everything of a session has arrived. */
export function isUnknown({ missing, unknown, sealed }: SessionState): boolean {
  return missing.length === 0 && (unknown.length > 0 || sealed !== undefined)
}
