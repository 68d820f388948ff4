import { ConfigError } from '../config.ts'

const SINCE = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/

/** Reads `--since`, and gives it as RFC 3339 in UTC; throws a `ConfigError`. */
export function parseSince(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  if (!SINCE.test(text) || Number.isNaN(Date.parse(text)) || !isDay(text.slice(0, 10))) {
    throw new ConfigError([`--since=${JSON.stringify(text)} is not allowed: use a date such as 2024-11-01 (UTC), or 2024-11-01T12:00:00Z.`])
  }
  return new Date(text).toISOString()
}

// `Date` takes 30 February for 1 March.
function isDay(date: string): boolean {
  return new Date(date).toISOString().startsWith(date)
}
