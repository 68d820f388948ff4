import type { ZipLimits } from '../archive/zip.ts'

const MOST_ENTRIES = 20_000 // of each something is kept in memory; a session has hundreds
const ALWAYS_BYTES = 1024 * 1024 * 1024 // three hours of silence, which deflate makes a thousandth of
const MOST_INFLATION = 32 // of what is larger; speech is deflated to a half

/**
 * Gives what an upload may claim to hold. One that holds more is a bomb: an export that unpacked it would fill the disk,
 * and nobody else's data would be written.
 * @param archiveBytes its own length
 */
export function limitsOf(archiveBytes: number): ZipLimits {
  return { entries: MOST_ENTRIES, contentBytes: ALWAYS_BYTES + MOST_INFLATION * archiveBytes }
}
