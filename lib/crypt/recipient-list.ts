import { sha256Of } from '../sha256.ts'
import { AgeError } from './age-error.ts'
import { parseRecipients, type Recipient } from './keys.ts'

/** How many recipients a list may have: the header of one this long still fits where files keep room for it. */
export const MOST_RECIPIENTS = 32

/** Whom files are encrypted to: each of the recipients can open them. */
export interface RecipientList {
  /** Each once, sorted by their texts; at least one. */
  readonly recipients: readonly Recipient[]
  /** SHA-256 of the texts, sorted, a line each, as 64 hex digits: `sort -u FILE | sha256sum` gives the same. */
  readonly digest: string
}

/** Reads a list of recipients as `parseRecipients` does. Throws an `AgeError` where one is wrong, or there are none or too many. */
export function parseRecipientList(text: string): RecipientList {
  const byText = new Map(parseRecipients(text).map((recipient) => [recipient.text, recipient]))
  if (byText.size === 0) throw new AgeError('no recipient stands there')
  if (byText.size > MOST_RECIPIENTS) throw new AgeError(`${byText.size} recipients stand there, and ${MOST_RECIPIENTS} are the most`)
  const sorted = [...byText].toSorted(([a], [b]) => (a < b ? -1 : 1))
  const lines = sorted.map(([each]) => `${each}\n`)
  return { recipients: sorted.map(([, recipient]) => recipient), digest: sha256Of(lines.join('')) }
}
