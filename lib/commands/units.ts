const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB']

/** Formats a number of bytes for a person, in decimal units (IEC 80000-13): `1.5 MB`. */
export function formatBytes(bytes: number): string {
  const power = bytes < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3))
  const amount = bytes / 1000 ** power
  return `${power === 0 ? Math.round(amount) : amount.toFixed(1)} ${UNITS[power]}`
}

/** Formats a count with its noun: `1 file`, `2 files`. */
export function formatCount(count: number, noun: string, nouns = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : nouns}`
}
