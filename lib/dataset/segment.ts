import { createHash } from 'node:crypto'
import { toStoredName } from '../store/stored-name.ts'

// White space ends the participant's name for b2aiprep; the others mean something to a shell, to Windows or to globs.
const UNHANDY = /[\s:*?"<>|[\]{}$`'!;&]+/g
const DIGITS = 8

/**
 * Makes one path segment of an exported tree of a name that came from a participant. A name that has to be changed gets
 * the beginning of its SHA-256, so that two names never become one and the same name always becomes the same.
 */
export function toSegment(given: string): string {
  const safe = toStoredName(given).replace(UNHANDY, '_')
  if (safe === given) return safe
  const digest = createHash('sha256').update(given).digest('hex').slice(0, DIGITS)
  const dot = safe.lastIndexOf('.')
  return dot <= 0 ? `${safe}-${digest}` : `${safe.slice(0, dot)}-${digest}${safe.slice(dot)}`
}
