import { isUtf8 } from 'node:buffer'
import { TextDecoder } from 'node:util'
import { HttpError } from '../errors.ts'

/**
 * The text of one field, which comes in pieces that are cut anywhere and has to be UTF-8. What it holds may be taken out
 * on the way, so that a long text need not be in memory whole.
 */
export class FieldText {
  #utf8: TextDecoder | undefined // from the first piece on that is not UTF-8 by itself: a character may have been cut
  #pieces: Buffer[] = []
  #bytes = 0

  /** How many bytes have come and have not been taken. */
  get bytes(): number {
    return this.#bytes
  }

  /** Takes in the next bytes; throws `malformed_text` where they are not UTF-8. */
  add(piece: Buffer): void {
    if (this.#utf8 !== undefined || !isUtf8(piece)) this.#check(piece)
    this.#bytes += piece.length
    this.#pieces.push(Buffer.from(piece)) // a copy, for the piece belongs to the caller
    if (this.#pieces.length >= 256) this.#pieces = [Buffer.concat(this.#pieces)] // a piece may be one byte
  }

  /** Gives the bytes that have come since the last time. */
  take(): Buffer {
    const [first, ...others] = this.#pieces
    this.#pieces = []
    this.#bytes = 0
    if (first === undefined) return Buffer.alloc(0)
    return others.length === 0 ? first : Buffer.concat([first, ...others])
  }

  /** Says that the text has ended, and gives what of it was not taken; throws `malformed_text`. */
  finish(): string {
    if (this.#utf8 !== undefined) this.#check(undefined)
    return this.take().toString()
  }

  /** Checks the next bytes, or that the last ones end a character. */
  #check(piece: Buffer | undefined): void {
    this.#utf8 ??= new TextDecoder('utf-8', { fatal: true })
    try {
      this.#utf8.decode(piece, { stream: piece !== undefined })
    } catch (error) {
      throw error instanceof TypeError ? new HttpError('malformed_text', { cause: error }) : error
    }
  }
}
