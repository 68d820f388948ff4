const MOST_PIECES = 256 // held one by one; more are joined, since a piece of one byte costs a hundred in memory

/** Bytes in a row, taken out in other lengths than they came in, without being copied unless they are crumbs. */
export class Pieces {
  #pieces: Buffer[] = []
  #length = 0

  /** Bytes held. */
  get length(): number {
    return this.#length
  }

  push(bytes: Buffer): void {
    if (bytes.length > 0) this.#pieces.push(bytes)
    this.#length += bytes.length
    if (this.#pieces.length >= MOST_PIECES) this.#pieces = [Buffer.concat(this.#pieces)]
  }

  /** Takes so many bytes from the front; all that are held where they are fewer. */
  take(length: number): Buffer[] {
    const taken: Buffer[] = []
    let left = Math.min(length, this.#length)
    this.#length -= left
    let count = 0
    for (const piece of this.#pieces) {
      if (left === 0) break
      taken.push(piece.subarray(0, left))
      if (piece.length > left) {
        this.#pieces[count] = piece.subarray(left)
        break
      }
      left -= piece.length
      count++
    }
    this.#pieces.splice(0, count)
    return taken
  }
}
