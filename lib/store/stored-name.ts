const MAX_BYTES = 200 // of the 255 that ext4 allows: a stamp, a number and an extension are added
const MAX_EXTENSION_BYTES = 40 // `.zip.0010` carries the number of a slice and must survive the cut

// Control characters and surrogates; line and paragraph separators; what reorders or
// hides text (bidirectional controls, zero-width space, byte order mark); separators of paths, and what looks like one.
const UNSAFE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}\u200b\u2060\ufeff/\\\u2044\u2215\u2216\u29f8\u29f9\ufe68\uff0f\uff3c]/gu

/**
 * Makes one safe path segment of a file's name from the network; the receipt keeps the name as it was given.
 * @param given any text, such as the filename of a part
 * @returns 1 to 200 bytes of UTF-8 without control characters or separators, never starting with `.`
 */
export function toStoredName(given: string): string {
  const last = given.split(/[/\\]/).findLast((segment) => segment !== '') ?? '' // RFC 7578 §4.2: directories are not to be used
  const plain = last.replace(UNSAFE, '_').trim().replace(/^\.+/, '').trim()
  return shorten(plain) || 'unnamed'
}

function shorten(name: string): string {
  if (Buffer.byteLength(name) <= MAX_BYTES) return name
  const dot = name.indexOf('.', Math.max(1, name.length - MAX_EXTENSION_BYTES))
  const extension = dot < 0 ? '' : name.slice(dot)
  const room = Buffer.byteLength(extension) <= MAX_EXTENSION_BYTES ? MAX_BYTES - Buffer.byteLength(extension) : MAX_BYTES
  return cut(name, room) + (room < MAX_BYTES ? extension : '')
}

// By characters as a reader sees them, so that no accent and no half of an emoji is left behind.
function cut(text: string, bytes: number): string {
  let kept = ''
  let left = bytes
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    left -= Buffer.byteLength(segment)
    if (left < 0) break
    kept += segment
  }
  return kept
}

/**
 * Names the files of one submission: `<stamp>-<name>`, and `<stamp>-2-<name>` for the second of a name.
 * @param names stored names, in the order in which they are to have the plain form
 */
export function nameFiles(stamp: string, names: readonly string[]): string[] {
  const taken = new Set<string>()
  return names.map((name) => {
    let candidate = `${stamp}-${name}`
    for (let copy = 2; taken.has(candidate); copy++) candidate = `${stamp}-${copy}-${name}`
    taken.add(candidate)
    return candidate
  })
}
