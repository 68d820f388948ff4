import type { Zip } from './arriving.ts'

/** What was encrypted, as far as it may be told to somebody who has no key. */
export interface ReceiptPlain {
  readonly bytes: number
  /** Where the file is a zip archive, or the end of one. */
  readonly zip?: Zip
}

/** One stored file, as its receipt describes it. */
export interface ReceiptFile {
  /** The name of the form's field it came in. */
  readonly field: string
  /** The name it was given by the sender. */
  readonly name: string
  /** Its name in the project's directory. */
  readonly stored_as: string
  readonly media_type?: string
  /** Of what is stored, as is the SHA-256. */
  readonly bytes: number
  readonly sha256: string
  /** Where what is stored is an age file. */
  readonly plain?: ReceiptPlain
  /** Where it is no file of the form's, but its text fields: a JSON array of names and values. */
  readonly holds?: 'fields'
}

/** The record of what was promised to a sender: one line of a receipts file, written before the answer. */
export interface Receipt {
  /** 32 hex digits, also in the answer. */
  readonly id: string
  /** RFC 3339 in UTC, to the microsecond: the same moment as the stamp in the files' names. */
  readonly received_at: string
  readonly project: string
  /** SHA-256 of the auth token. */
  readonly token_sha256: string
  readonly participant?: string
  /** The form's other text fields, in the order in which they came; without those that are stored in a file. */
  readonly fields: readonly { readonly name: string; readonly value: string }[]
  readonly files: readonly ReceiptFile[]
  /** Where the same files came again and were not stored twice: the id of the first receipt, which names them. */
  readonly repeats?: string
}
