const MAX_BYTES = 200 // of the 255 that ext4 allows: a stamp, a number and an extension are added
const MAX_EXTENSION_BYTES = 40 // `.zip.0010` carries the number of a slice and must survive the cut

// Control characters and surrogates; line and paragraph separators; what reorders or
// hides text (bidirectional controls, zero-width space, byte order mark); separators of paths, and what looks like one.
const UNSAFE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}\u200b\u2060\ufeff/\\\u2044\u2215\u2216\u29f8\u29f9\ufe68\uff0f\uff3c]/gu

/** What is added to the name of a file that is stored encrypted. */
export const AGE_EXTENSION = '.age'

const UTF8 = new TextEncoder()
let characters: Intl.Segmenter | undefined // made where a name has to be cut: it takes longer than all else at a start

/**
 * Makes one safe path segment of a file's name from the network; the receipt keeps the name as it was given.
 * @param given any text, such as the filename of a part
 * @param maxBytes what it is cut to, in bytes of UTF-8
 * @returns 1 to `maxBytes` bytes of UTF-8 without control characters or separators, never starting with `.`
 */
export function toStoredName(given: string, maxBytes = MAX_BYTES): string {
  const last = given.split(/[/\\]/).findLast((segment) => segment !== '') ?? '' // RFC 7578 §4.2: directories are not to be used
  const plain = last.replace(UNSAFE, '_').replace(/^[\s.]+/, '').trimEnd()
  return shorten(plain, maxBytes) || 'unnamed'
}

function shorten(name: string, maxBytes: number): string {
  if (Buffer.byteLength(name) <= maxBytes) return name
  const dot = name.indexOf('.', Math.max(1, name.length - MAX_EXTENSION_BYTES))
  const extension = dot < 0 ? '' : name.slice(dot)
  const room = Buffer.byteLength(extension) <= MAX_EXTENSION_BYTES ? maxBytes - Buffer.byteLength(extension) : maxBytes
  return (cut(name, room) || 'unnamed') + (room < maxBytes ? extension : '') // one letter may have 200 bytes of accents
}

// By characters as a reader sees them, so that no accent and no half of an emoji is left behind. Only the place of the
// cut is looked at: to walk through a thousand long names would hold up everybody else.
function cut(text: string, bytes: number): string {
  const { read } = UTF8.encodeInto(text, new Uint8Array(bytes))
  if (read === text.length) return text
  characters ??= new Intl.Segmenter()
  const cutThrough = characters.segment(text.slice(0, read + 2)).containing(read)
  return text.slice(0, cutThrough?.index ?? 0)
}

/**
 * Names the files of one submission: `<stamp>-<name>`, and `<stamp>-2-<name>` for the second of a name.
 * @param names stored names, in the order in which they are to have the plain form
 */
export function nameFiles(stamp: string, names: readonly string[]): string[] {
  const taken = new Set<string>()
  const copies = new Map<string, number>() // of each name so far: to count from 2 again takes long for many files
  return names.map((name) => {
    let copy = copies.get(name) ?? 0
    let candidate: string
    do candidate = ++copy === 1 ? `${stamp}-${name}` : `${stamp}-${copy}-${name}`
    while (taken.has(candidate))
    copies.set(name, copy)
    taken.add(candidate)
    return candidate
  })
}
