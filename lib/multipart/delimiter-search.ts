import { HttpError } from '../errors.ts'
import type { Cursor } from './cursor.ts'

const CRLF = '\r\n'
const CR = 0x0d
const LF = 0x0a
const DASH = 0x2d
const SPACE = 0x20
const TAB = 0x09
const MAX_PADDING_BYTES = 1024
const LONG_BYTES = 4096
const BYTES = 256 // there are so many
const NOTHING = Buffer.alloc(0)

/** What a search came upon: bytes that belong to no delimiter, or a delimiter read to its end. */
export type Found = Buffer | 'delimiter' | 'close delimiter'

/**
 * Divides a stream into delimiters and what stands between them (RFC 2046 §5.1.1), wherever its chunks are cut.
 *
 * The only CR of a delimiter is its first byte, for a boundary has none. So no delimiter begins within another one,
 * only the last CR of a chunk can begin one that the next chunk completes, and bytes that turn out to be none need no
 * second look. Of a delimiter that is not complete only its length is kept. A whole one is looked for from its last byte
 * (R. N. Horspool, Practical fast searching in strings, 1980): most steps pass over as many bytes as it has, and what
 * looks like its beginning costs no more than what does not.
 */
export class DelimiterSearch {
  readonly #delimiter: Buffer
  readonly #steps: Buffer // for each byte: how far the next delimiter may end behind it, at the nearest
  readonly #foreign: Buffer // for each byte: 1 where the delimiter does not have it
  #seen = CRLF.length // how much of the delimiter has been read and not been given out
  #imagined = CRLF.length // how much of that was only imagined, see startAfterLineEnd
  #padding = NOTHING // the blanks, or the one dash, that followed the whole of it
  #paddingBytes = 0
  #last: typeof CR | typeof DASH | undefined // the last byte read, where it asks for a certain next one

  /** @param boundary as `parseBoundary` returns it */
  constructor(boundary: string) {
    this.#delimiter = Buffer.from(`${CRLF}--${boundary}`, 'latin1')
    const { length } = this.#delimiter
    const tables = Buffer.allocUnsafe(2 * BYTES) // from the pool: memory of their own would cost more than a small form
    this.#steps = tables.subarray(0, BYTES).fill(length) // a boundary has 70 bytes at most (RFC 2046 §5.1.1)
    this.#foreign = tables.subarray(BYTES).fill(1)
    for (let at = 0; at < length; at++) {
      const byte = this.#delimiter[at] ?? 0
      this.#foreign[byte] = 0
      if (at < length - 1) this.#steps[byte] = length - 1 - at
    }
  }

  /**
   * Starts as if a CRLF had just been read, as the search does from the first: the line end before a delimiter may be
   * the one of the empty line after a part header, when the part has no content, and is missing at the start of a body.
   */
  startAfterLineEnd(): void {
    this.#seen = CRLF.length
    this.#imagined = CRLF.length
  }

  /**
   * Reads on and returns what comes next, or undefined where the rest of the chunk has been read.
   * @throws HttpError `malformed_form` where a delimiter is followed by too many blanks
   */
  read(cursor: Cursor): Found | undefined {
    while (cursor.at < cursor.chunk.length) {
      const found = this.#seen === 0 ? this.#search(cursor) : this.#readOn(cursor)
      if (found !== undefined) return found
    }
    return undefined
  }

  #readOn(cursor: Cursor): Found | undefined {
    return this.#seen < this.#delimiter.length ? this.#readDelimiter(cursor) : this.#readLineEnd(cursor)
  }

  /** Looks for a delimiter in the rest of the chunk, and returns what stands before it. */
  #search(cursor: Cursor): Buffer | undefined {
    const { chunk, at: start } = cursor
    const end = this.#find(chunk, start)
    this.#seen = Math.min(chunk.length - end, this.#delimiter.length)
    cursor.at = end + this.#seen
    if (end === start) return undefined
    return end - start === chunk.length ? chunk : chunk.subarray(start, end)
  }

  /** Returns where the first delimiter begins, be it whole or cut off by the end of the chunk, or the chunk's length. */
  #find(chunk: Buffer, start: number): number {
    const from = chunk.length - start > LONG_BYTES ? chunk.indexOf(CR, start) : start
    if (from === -1) return chunk.length // as in silence, or a file of dashes
    const whole = findWhole(chunk, from, this.#delimiter, this.#steps, this.#foreign)
    return whole === -1 ? this.#findBeginning(chunk, start) : whole
  }

  /** Returns where a delimiter begins that the end of the chunk cuts off, or the chunk's length. */
  #findBeginning(chunk: Buffer, start: number): number {
    const { length } = chunk
    if (this.#foreign[chunk[length - 1] ?? 0] === 1) return length
    const nearest = Math.max(start, length - this.#delimiter.length + 1)
    let at = length - 1
    while (at > nearest && chunk[at] !== CR) at-- // there is but one CR in a delimiter
    return isBegun(chunk, at, this.#delimiter) ? at : length
  }

  /** Reads on in a delimiter that an earlier chunk began; returns its bytes if it is none. */
  #readDelimiter(cursor: Cursor): Buffer | undefined {
    const { chunk } = cursor
    while (cursor.at < chunk.length && this.#seen < this.#delimiter.length) {
      if (chunk[cursor.at] !== this.#delimiter[this.#seen]) return this.#giveUp(0)
      cursor.at++
      this.#seen++
    }
    return undefined
  }

  /** Reads what follows a delimiter: two dashes, or blanks and a line end. After anything else it was none. */
  #readLineEnd(cursor: Cursor): Found | undefined {
    const { chunk } = cursor
    while (cursor.at < chunk.length) {
      const byte = chunk[cursor.at]
      if (this.#last === CR) return byte === LF ? this.#accept(cursor, 'delimiter') : this.#giveUp(1)
      if (this.#last === DASH) return byte === DASH ? this.#accept(cursor, 'close delimiter') : this.#giveUp(0)
      if (byte === CR) this.#last = CR
      else if (byte === DASH && this.#paddingBytes === 0) this.#hold((this.#last = DASH))
      else if (byte === SPACE || byte === TAB) this.#hold(byte)
      else return this.#giveUp(0)
      cursor.at++
    }
    return undefined
  }

  #hold(byte: number): void {
    if (this.#paddingBytes === MAX_PADDING_BYTES) {
      throw new HttpError('malformed_form', { detail: 'a delimiter is followed by too many blanks' })
    }
    if (this.#padding.length === 0) this.#padding = Buffer.alloc(MAX_PADDING_BYTES)
    this.#padding[this.#paddingBytes++] = byte
  }

  #accept<Kind extends Found>(cursor: Cursor, kind: Kind): Kind {
    cursor.at++
    this.#forget(0)
    return kind
  }

  /** Gives out what was held for a delimiter, but for the CR that may have ended it: that one may begin the next. */
  #giveUp(seen: 0 | 1): Buffer | undefined {
    const held = this.#seen + this.#paddingBytes > this.#imagined ? this.#copyHeld() : undefined
    this.#forget(seen)
    return held
  }

  #copyHeld(): Buffer {
    const delimiter = this.#delimiter.subarray(this.#imagined, this.#seen)
    if (this.#paddingBytes === 0) return delimiter
    return Buffer.concat([delimiter, this.#padding.subarray(0, this.#paddingBytes)])
  }

  #forget(seen: 0 | 1): void {
    this.#seen = seen
    this.#imagined = 0
    this.#paddingBytes = 0
    this.#last = undefined
  }
}

// Returns where the first whole delimiter begins, or -1. A processor fetches four bytes in the time of one where none of
// them says where to look for the next: so four steps of full length are tried at once.
function findWhole(chunk: Buffer, from: number, delimiter: Buffer, steps: Buffer, foreign: Buffer): number {
  const { length } = delimiter
  const [last, leap] = [delimiter[length - 1], 4 * length]
  const flag = (at: number) => foreign[chunk[at] ?? 0] ?? 0
  let end = from + length - 1
  while (end < chunk.length) {
    const byte = chunk[end] ?? 0
    if (byte === last && isAt(chunk, end - length + 1, delimiter) && !isRefuted(chunk, end + 1)) return end - length + 1
    const step = steps[byte] ?? 1
    end += step
    if (step < length) continue
    while (end + leap <= chunk.length && (flag(end) & flag(end + length) & flag(end + 2 * length) & flag(end + 3 * length)) === 1) end += leap
  }
  return -1
}

function isBegun(chunk: Buffer, start: number, delimiter: Buffer): boolean {
  for (let at = start; at < chunk.length; at++) if (chunk[at] !== delimiter[at - start]) return false
  return true
}

// From its front: there is but one CR in it, so that all these comparisons together take a step a byte at most.
function isAt(chunk: Buffer, start: number, delimiter: Buffer): boolean {
  for (let at = 0; at < delimiter.length; at++) if (chunk[start + at] !== delimiter[at]) return false
  return true
}

/**
 * Tells whether the bytes from `start` on show that the delimiter before them is none. Where the chunk ends too early
 * to show it, or there are too many blanks, that is left to the reading byte by byte.
 */
function isRefuted(chunk: Buffer, start: number): boolean {
  const byte = chunk[start]
  if (byte === DASH) return start + 1 < chunk.length && chunk[start + 1] !== DASH
  let at = start
  while ((chunk[at] === SPACE || chunk[at] === TAB) && at - start <= MAX_PADDING_BYTES) at++
  const after = chunk[at]
  if (after === undefined || at - start > MAX_PADDING_BYTES) return false
  return after !== CR || (at + 1 < chunk.length && chunk[at + 1] !== LF)
}
