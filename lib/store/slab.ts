/** Memory in which a piece of a file is put together; it is used again and again. */
export class Slab {
  readonly memory: Buffer
  /** Whether the memory begins at a page, as writes past the page cache need it. */
  readonly isAligned: boolean
  #bytes: number

  /** @param bytes how many are in it already */
  constructor(memory: Buffer, isAligned: boolean, bytes = 0) {
    this.memory = memory
    this.isAligned = isAligned
    this.#bytes = bytes
  }

  /** How many bytes were put in. */
  get bytes(): number {
    return this.#bytes
  }

  /** How many more bytes it has room for. */
  get room(): number {
    return this.memory.length - this.#bytes
  }

  /** What was put in. */
  get content(): Buffer {
    return this.memory.subarray(0, this.#bytes)
  }

  /** Copies bytes behind those that are in it, as many as there is room for; says how many. */
  add(bytes: Buffer): number {
    const added = Math.min(bytes.length, this.room)
    // Not by `copy`: it goes byte by byte into shared memory that is not aligned as the source is, 25 times as slow.
    if (added > 0) this.memory.fill(added < bytes.length ? bytes.subarray(0, added) : bytes, this.#bytes, this.#bytes + added)
    this.#bytes += added
    return added
  }

  /** Takes so many bytes off its end. */
  shorten(bytes: number): void {
    this.#bytes -= bytes
  }
}
