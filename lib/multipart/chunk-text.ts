import type { PartHead } from '../form-event.ts'
import type { Cursor } from './cursor.ts'
import { makePartHead } from './part-head.ts'

const WINDOW_BYTES = 4096
const FIRST_WINDOW_BYTES = 1024 // most forms have one file and its auth token
const LEAST_BYTES = 512 // left in a window: most fields that begin in it then end in it, and few bytes are in two
const MANY_WINDOWS = 8 // of one form: from then on an expression of its own saves more time than its making takes
const CRLF = '\r\n'
const CR = 0x0d
const LF = 0x0a
const QUOTE = 0x22

const PLAIN = String.raw`[^"\\%\0\r\n\x80-\xff]*` // of a quoted value: without anything to be decoded
const TEXT_HEADER = String.raw`Content-Disposition: form-data; name="${PLAIN}"\r\n\r\n`
const NAME_START = 'Content-Disposition: form-data; name="'.length
const NAME_END = '"\r\n\r\n'.length

/** The header block of a text field, with the empty line that ends it, as browsers and curl write nearly all of them. */
const TEXT_FIELD = new RegExp(TEXT_HEADER, 'y')

/** The same of any part. */
const ANY_PART = new RegExp(
  `Content-Disposition: form-data; name="(${PLAIN})"(?:; filename="(${PLAIN})")?` +
    String.raw`(?:\r\nContent-Type: ([^\0\r\n\x80-\xff]*))?\r\n\r\n`,
  'y',
)

/**
 * The quick way through small parts, which comes to the same as the long one. A window of the chunk is made a string
 * of: the engine searches and matches short stretches of a string several times faster than those of a buffer.
 */
export class ChunkText {
  readonly #delimiter: string
  readonly #limitBytes: number
  #start = 0 // where in the chunk the window begins
  #end = 0 // where in the chunk the next window begins, at the latest
  #text = '' // the window as latin1: a character a byte
  #windows = 0
  #wholeField: RegExp | undefined // of this form, once there have been many windows
  #delimiterAt = -1 // where in the chunk the delimiter begins that was found together with the last header

  /**
   * @param boundary as `parseBoundary` returns it
   * @param limitBytes how long a header block may be, with the empty line that ends it
   */
  constructor(boundary: string, limitBytes: number) {
    this.#delimiter = `${CRLF}--${boundary}`
    this.#limitBytes = limitBytes
  }

  /** How many bytes a delimiter takes that `findDelimiter` has found, with both its line ends. */
  get delimiterBytes(): number {
    return this.#delimiter.length + CRLF.length
  }

  /** Says that the next cursor is one of another chunk. */
  forget(): void {
    this.#end = 0
    this.#text = ''
  }

  /** Reads the header block that begins at the cursor, or leaves it to the long way, giving undefined. */
  readHead(cursor: Cursor): PartHead | undefined {
    this.#show(cursor)
    const from = cursor.at - this.#start
    this.#delimiterAt = this.#matchWholeField(from)
    TEXT_FIELD.lastIndex = from
    const isTextField = this.#delimiterAt !== -1 || TEXT_FIELD.test(this.#text)
    return isTextField ? this.#readTextField(cursor, from) : this.#readAnyPart(cursor, from)
  }

  /** Returns where the delimiter begins that ends the text field there, or -1 where there is no such field. */
  #matchWholeField(from: number): number {
    const wholeField = this.#wholeField
    if (wholeField === undefined) return -1
    wholeField.lastIndex = from
    return wholeField.test(this.#text) ? this.#start + wholeField.lastIndex - this.delimiterBytes : -1
  }

  #readTextField(cursor: Cursor, from: number): PartHead | undefined {
    const { chunk, at } = cursor
    let quote = at + NAME_START
    while (chunk[quote] !== QUOTE) quote++ // there is one; over names as short as most are, faster than indexOf
    if (quote + NAME_END - at > this.#limitBytes) return undefined
    cursor.at = quote + NAME_END
    return makePartHead(this.#text.slice(from + NAME_START, quote - this.#start), undefined, undefined)
  }

  #readAnyPart(cursor: Cursor, from: number): PartHead | undefined {
    ANY_PART.lastIndex = from
    const found = ANY_PART.exec(this.#text)
    const end = ANY_PART.lastIndex
    if (found === null || end - from > this.#limitBytes) return undefined
    cursor.at = this.#start + end
    return makePartHead(found[1] ?? '', found[2], found[3]?.trim())
  }

  /**
   * Finds the delimiter that ends the content at the cursor, where `readHead` has just read the header. The line end
   * before a delimiter may be the one of the empty line (RFC 2046 §5.1.1).
   * @returns where it begins, or -1, for the long way, where it is not near, has blanks after it, or closes the form
   */
  findDelimiter({ at }: Cursor): number {
    if (this.#delimiterAt !== -1) return this.#delimiterAt
    const found = this.#text.indexOf(this.#delimiter, at - this.#start - CRLF.length)
    const end = found + this.#delimiter.length
    const isFound = found !== -1 && this.#text.charCodeAt(end) === CR && this.#text.charCodeAt(end + 1) === LF
    return isFound ? this.#start + found : -1
  }

  /** Moves the window where little of it is left. */
  #show({ chunk, at }: Cursor): void {
    if (at < this.#end) return
    if (++this.#windows === MANY_WINDOWS) this.#wholeField = makeWholeField(this.#delimiter)
    const bytes = this.#windows === 1 ? FIRST_WINDOW_BYTES : WINDOW_BYTES
    this.#start = at
    this.#end = at + bytes - LEAST_BYTES
    this.#text = chunk.toString('latin1', at, at + bytes)
  }
}

/**
 * Makes the expression of a text field, its content and the delimiter after it, for content without a CR. What begins
 * with dashes is left out: the empty line may be the line end of a delimiter, and the part have no content.
 */
function makeWholeField(delimiter: string): RegExp {
  return new RegExp(String.raw`${TEXT_HEADER}(?!--)[^\r]*${delimiter.replace(/[^\w\r\n]/g, '\\$&')}\r\n`, 'y')
}
