const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB']

/** Formats a number of bytes for a person, in decimal units (IEC 80000-13): `1.5 MB`. */
export function formatBytes(bytes: number): string {
  let power = 0
  let amount = bytes
  while (amount >= (power === 0 ? 999.5 : 999.95) && power < UNITS.length - 1) { // it is rounded to 1000 then
    amount /= 1000
    power++
  }
  return `${power === 0 ? Math.round(amount) : amount.toFixed(1)} ${UNITS[power]}`
}

/** Formats a count with its noun: `1 file`, `2 files`. */
export function formatCount(count: number, noun: string, nouns = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : nouns}`
}
