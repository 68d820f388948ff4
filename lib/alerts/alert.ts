/** What an alert may be about. */
export type AlertKind = 'submission_failed' | 'low_space' | 'space_forecast' | 'silence' | 'incomplete_upload'

/** Something the lab should know at once. Nothing of a participant is ever in it. */
export interface Alert {
  readonly kind: AlertKind
  /** One sentence for a person. */
  readonly message: string
  /** The same for a program. */
  readonly facts: Readonly<Record<string, string | number | readonly string[]>>
}

/** An alert as it is sent. */
export interface Notice extends Alert {
  /** How many of the kind it stands for: more than one where others were held back. */
  readonly count: number
  readonly atMs: number
}

/** Writes an alert as JSON. */
export function formatNotice({ kind, message, facts, count, atMs }: Notice, host: string): string {
  return JSON.stringify({ kind, message, count, time: new Date(atMs).toISOString(), host, ...facts })
}
