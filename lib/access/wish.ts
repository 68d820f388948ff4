const MAX_MINUTES = 525_600 // a year

/** How long an auth token is good where nobody says. */
export const DEFAULT_MINUTES = 90

/** Reads for how many minutes an auth token is wished for, 1 to 525600; undefined where the text is no such number. */
export function parseMinutes(text: string): number | undefined {
  const minutes = /^\d{1,6}$/.test(text) ? Number(text) : 0
  return minutes >= 1 && minutes <= MAX_MINUTES ? minutes : undefined
}

/** Says whether `text` may name a participant: 1 to 200 characters without control characters. */
export function isParticipant(text: string): boolean {
  return /^[^\p{Cc}\p{Cs}]{1,200}$/u.test(text)
}
