import type { Writable } from 'node:stream'

const MOST_WAITING_BYTES = 1024 * 1024

/**
 * Writes lines to a stream that may be slow, full or closed, and never waits for it: what it does not take is held, up to
 * a limit, and beyond that lines are lost and counted.
 */
export class LineWriter {
  readonly #stream: Writable
  #lost = 0

  constructor(stream: Writable) {
    this.#stream = stream
  }

  /** Writes a line, some time soon. */
  write(line: string): void {
    if (this.#stream.destroyed || this.#stream.writableLength > MOST_WAITING_BYTES) {
      this.#lost++
      return
    }
    if (this.#lost > 0) this.#stream.write(`${new Date().toISOString()} WARNING ${this.#lost} lines were lost\n`)
    this.#lost = 0
    this.#stream.write(`${line}\n`)
  }
}
