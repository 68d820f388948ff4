import { isObject } from '../json.ts'

/** What an entry says beside its event: never a token, never an answer, never a participant's words or name. */
export type EntryFields = Readonly<Record<string, string | number | readonly string[] | Readonly<Record<string, number>> | undefined>>

/** One line of the record of access: who did what, on what, and when. */
export type Entry = EntryFields & {
  /** RFC 3339 in UTC, to the millisecond. */
  readonly at: string
  /** A name that stays the same, such as `token_issued` or `export_begun`. */
  readonly event: string
}

/** Makes an entry of an event that happens now. */
export function makeEntry(event: string, fields: EntryFields, now: Date = new Date()): Entry {
  return { at: now.toISOString(), event, ...fields }
}

/** Says whether a line that was read is an entry. */
export function isEntry(value: unknown): value is Entry {
  if (!isObject(value)) return false
  const { at, event } = value
  return typeof at === 'string' && !Number.isNaN(Date.parse(at)) && typeof event === 'string' && /^[a-z][a-z0-9_]*$/.test(event)
}

/** Writes when a file of the record was begun, as it stands at the head of its name: `20241101T023615.123Z`. */
export function formatStart(now: Date): string {
  return now.toISOString().replace(/[:-]/g, '')
}
