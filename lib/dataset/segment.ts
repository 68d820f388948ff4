import { sha256Of } from '../sha256.ts'
import { toStoredName } from '../store/stored-name.ts'

const MAX_BYTES = 120 // of UTF-8; eCryptfs has room for 143, and archives add a uuid
const DIGITS = 16 // a uuid ends with 12, and is never taken for one of these

// White space ends the participant's name for b2aiprep; the others mean something to a shell, to Windows or to globs.
const UNHANDY = /[\s:*?"<>|[\]{}$`'!;&]+/g
const HASHED = new RegExp(`-[0-9A-F]{${DIGITS}}(?:\\.[^.]*)?$`) // as `foldName` gives it
const DEVICE = /^(?:CON|PRN|AUX|NUL|COM\d|LPT\d)(?:\.|$)/ // Windows opens a device, whatever the extension

/**
 * Makes one path segment of an exported tree of a name that came from a participant. A name that has to be changed gets
 * the beginning of its SHA-256, and so does one that looks as if it had: two names never become one, and the same name
 * always becomes the same.
 * @param isShared whether another name is the same to a disk that does not tell them apart
 * @returns at most 120 bytes of UTF-8
 */
export function toSegment(given: string, isShared = false): string {
  const safe = toStoredName(given, MAX_BYTES).replace(UNHANDY, '_')
  if (safe === given && !isShared && isPlain(given)) return safe
  const short = toStoredName(given, MAX_BYTES - DIGITS - 1).replace(UNHANDY, '_')
  const digest = digestOf(given)
  const dot = short.lastIndexOf('.')
  return dot <= 0 ? `${short}-${digest}` : `${short.slice(0, dot)}-${digest}${short.slice(dot).replace(/\.$/, '')}`
}

/**
 * Gives what a name has in common with those that the disks of macOS and Windows do not tell from it: capitals, Unicode
 * normalisation, and what is not seen.
 */
export function foldName(name: string): string {
  return name.replace(/\p{Default_Ignorable_Code_Point}/gu, '').normalize('NFKD').toLowerCase().toUpperCase().normalize('NFKD')
}

/** The segments of names that stand in one directory: no two of them are the same to any disk, whatever the order of the names. */
export class Segments {
  readonly #shared = new Set<string>()

  /** @param names all of them; a name that comes again counts once */
  constructor(names: Iterable<string>) {
    const seen = new Set<string>()
    for (const name of new Set(names)) {
      const folded = foldName(name)
      if (seen.has(folded)) this.#shared.add(folded)
      seen.add(folded)
    }
  }

  /** Gives the segment of one of the names. Where others differ from it by case alone, each of them is changed. */
  of(name: string): string {
    return toSegment(name, this.#shared.has(foldName(name)))
  }
}

function isPlain(name: string): boolean {
  const folded = foldName(name)
  return !HASHED.test(folded) && !DEVICE.test(folded) && !name.endsWith('.') // Windows takes dots at the end away
}

// UTF-8 has no lone surrogates: it would make all of them one.
function digestOf(name: string): string {
  const bytes = /\p{Cs}/u.test(name) ? Buffer.from(name, 'utf16le') : Buffer.from(name)
  return sha256Of(bytes).slice(0, DIGITS)
}
