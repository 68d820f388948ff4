/**
 * Splits the text of a JSON array into the texts of its elements, as they are spelled: reading and writing them would
 * change numbers such as 12345678901234567890. The text must have been parsed before.
 */
export function splitElements(array: string): string[] {
  return split(array, '[').map((piece) => piece.text)
}

/** Splits the text of a JSON object into its members; of a name that comes twice the last holds, as for `JSON.parse`. */
export function splitMembers(object: string): Map<string, string> {
  const members = new Map<string, string>()
  for (const { name, text } of split(object, '{')) members.set(name, text)
  return members
}

/** Takes the blanks out of the text of a JSON value that stand outside of its strings. The text must have been parsed before. */
export function compactJson(text: string): string {
  const pieces: string[] = []
  for (let at = 0; at < text.length; ) {
    const quote = text.indexOf('"', at)
    pieces.push(text.slice(at, quote < 0 ? text.length : quote).replace(/\s+/g, ''))
    if (quote < 0) break
    at = endOfString(text, quote)
    pieces.push(text.slice(quote, at))
  }
  return pieces.join('')
}

interface Piece {
  readonly name: string
  readonly text: string
}

const MARKS = /["[\]{},:]/g

function split(text: string, opening: '[' | '{'): Piece[] {
  const pieces: Piece[] = []
  let depth = 0
  let start = text.indexOf(opening) + 1
  let name = ''
  MARKS.lastIndex = 0
  for (let found = MARKS.exec(text); found !== null; found = MARKS.exec(text)) {
    const [mark] = found
    const isOutermost = depth === 1
    if (mark === '"') MARKS.lastIndex = endOfString(text, found.index)
    if (mark === '[' || mark === '{') depth++
    if (mark === ']' || mark === '}') depth--
    if (isOutermost && opening === '{' && mark === ':') {
      name = String(JSON.parse(text.slice(start, found.index)))
      start = found.index + 1
    }
    if (isOutermost && (mark === ',' || depth === 0)) {
      const piece = text.slice(start, found.index).trim()
      if (piece !== '') pieces.push({ name, text: piece })
      start = found.index + 1
    }
  }
  return pieces
}

// A quotation mark ends the string unless an odd number of backslashes stands before it (RFC 8259 §7).
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0
    while (text[end - 1 - backslashes] === '\\') backslashes++
    if (backslashes % 2 === 0) return end + 1
  }
  return text.length
}
