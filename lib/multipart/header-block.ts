import { HttpError } from '../errors.ts'
import type { Cursor } from './cursor.ts'

const CR = 0x0d
const LF = 0x0a
const LEAST_BYTES = 256 // of the memory that a block is held in
const NOTHING = Buffer.alloc(0)
const END_BYTES = 4 // CRLF CRLF: the end of the last line, and the empty line

/** Collects the header block of a part, which may come in any number of chunks; used again for each part. */
export class HeaderBlock {
  readonly #limitBytes: number
  #held = NOTHING // grows by doubling
  #heldBytes = 0
  #endBytes = 2 // how much of CRLF CRLF has been seen; 2, as the delimiter's own CRLF stands before the block

  /** @param limitBytes how long a block may be, with the empty line that ends it */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  /**
   * Reads on until the empty line that ends the block.
   * @returns the lines before it, without the last CRLF, or undefined where the block goes on in the next chunk
   * @throws HttpError `part_header_too_large` once the block cannot end within the limit any more
   */
  read(cursor: Cursor): string | undefined {
    const { chunk, at } = cursor
    const start = at
    cursor.at = this.#findEnd(chunk, start, Math.min(chunk.length, start + this.#limitBytes - this.#heldBytes))
    if (this.#endBytes === END_BYTES) return this.#take(chunk, start, cursor.at)
    this.#hold(chunk, start, cursor.at)
    if (this.#heldBytes === this.#limitBytes) throw new HttpError('part_header_too_large')
    return undefined
  }

  /** Returns where the block ends, or `limit`; a loop, which for so few bytes is as quick as a call of indexOf. */
  #findEnd(chunk: Buffer, start: number, limit: number): number {
    let at = start
    let seen = this.#endBytes
    while (at < limit && seen < END_BYTES) {
      const byte = chunk[at++]
      if (byte === (seen % 2 === 0 ? CR : LF)) seen++
      else seen = byte === CR ? 1 : 0
    }
    this.#endBytes = seen
    return at
  }

  #take(chunk: Buffer, start: number, end: number): string {
    this.#endBytes = 2
    if (this.#heldBytes === 0) return chunk.toString('utf8', start, Math.max(start, end - END_BYTES))
    this.#hold(chunk, start, end)
    const text = this.#held.toString('utf8', 0, Math.max(0, this.#heldBytes - END_BYTES))
    this.#heldBytes = 0
    return text
  }

  #hold(chunk: Buffer, start: number, end: number): void {
    const bytes = this.#heldBytes + end - start
    if (bytes > this.#held.length) {
      const grown = Buffer.alloc(Math.max(bytes, 2 * this.#held.length, LEAST_BYTES))
      this.#held.copy(grown, 0, 0, this.#heldBytes)
      this.#held = grown
    }
    chunk.copy(this.#held, this.#heldBytes, start, end)
    this.#heldBytes = bytes
  }
}
