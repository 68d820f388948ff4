import type { Submission } from './publisher.ts'
import type { Receipt, ReceiptFile } from './receipt.ts'

const KEPT = 10_000 // at the least
const FORGOTTEN_AT_ONCE = 500 // a Map steps over the places of all that were deleted, to find its oldest
const MOST_KEY_CHARACTERS = 4096 // of names and digests; the forms that are sent again hold one file
const MOST_CHARACTERS = 8 * 1024 * 1024 // of all that are remembered

/**
 * What was published lately, to know a form that is sent again: web apps do so when an answer was lost, browsers when a
 * connection was. In memory only: where it is not known a form is stored again, and a duplicate is harmless.
 */
export class Repeats {
  readonly #receipts = new Map<string, Receipt>() // the oldest first
  #characters = 0 // of their keys

  /** Finds the first receipt of the same files under the same token. Answers and mere text fields never count as repeated. */
  find(submission: Submission): Receipt | undefined {
    const key = keyOf(submission)
    return key === undefined ? undefined : this.#receipts.get(key)
  }

  /** Remembers what was published. */
  remember(submission: Submission, receipt: Receipt): void {
    const key = keyOf(submission)
    if (key === undefined) return
    this.#forget(key)
    this.#receipts.set(key, Object.assign({}, receipt, { fields: [], files: receipt.files.map(withoutMore) }))
    this.#characters += key.length
    if (this.#receipts.size >= KEPT + FORGOTTEN_AT_ONCE || this.#characters > MOST_CHARACTERS) this.#forgetOldest()
  }

  #forgetOldest(): void {
    for (const key of this.#receipts.keys()) {
      if (this.#receipts.size <= KEPT && this.#characters <= MOST_CHARACTERS - FORGOTTEN_AT_ONCE * MOST_KEY_CHARACTERS) return
      this.#forget(key)
    }
  }

  #forget(key: string): void {
    if (this.#receipts.delete(key)) this.#characters -= key.length
  }
}

// What the key bounds: a media type, and what is told of a zip, may be long.
function withoutMore({ field, name, stored_as, bytes, sha256 }: ReceiptFile): ReceiptFile {
  return { field, name, stored_as, bytes, sha256 }
}

function keyOf({ tokenSha256, files }: Submission): string | undefined {
  if (files.some((file) => file.isAnswers) || files.every((file) => file.holds !== undefined)) return undefined
  const key = JSON.stringify([tokenSha256, ...files.map(({ field, name, sha256, plain }) => [field, name, plain?.sha256 ?? sha256])])
  return key.length > MOST_KEY_CHARACTERS ? undefined : key
}
