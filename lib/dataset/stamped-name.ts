const STAMPED = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\.\d{1,6})?Z-([\s\S]+)$/

/** Reads a stored name: when it arrived, RFC 3339 in UTC, where its stamp is a moment, and the name behind the stamp. */
export function parseStoredName(storedAs: string): { receivedAt: string | undefined; name: string } {
  const found = STAMPED.exec(storedAs)
  if (found === null) return { receivedAt: undefined, name: storedAs }
  const [, year, month, day, hour, minute, second, fraction = '', name = ''] = found
  const toSecond = `${year}-${month}-${day}T${hour}:${minute}:${second}`
  return { receivedAt: isMoment(toSecond) ? `${toSecond}${fraction}Z` : undefined, name }
}

// `Date` takes the 30th of February for the 1st of March.
function isMoment(toSecond: string): boolean {
  const ms = Date.parse(`${toSecond}Z`)
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(toSecond)
}
