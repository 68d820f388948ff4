import type { FormEvent } from '../form-event.ts'
import type { Cursor } from './cursor.ts'

interface EventSource {
  read(cursor: Cursor): FormEvent | undefined
}

/** The events of one chunk, read as they are asked for; for steps as small as these it takes half the time of a generator. */
export class ChunkEvents implements IterableIterator<FormEvent>, Cursor {
  readonly chunk: Buffer
  at = 0
  readonly #source: EventSource

  constructor(source: EventSource, chunk: Buffer) {
    this.#source = source
    this.chunk = chunk
  }

  [Symbol.iterator](): this {
    return this
  }

  next(): IteratorResult<FormEvent, undefined> {
    const value = this.#source.read(this)
    // An object of one shape, made in one place, is none at all where a loop reads it (V8's escape analysis).
    return { done: value === undefined, value } as IteratorResult<FormEvent, undefined>
  }
}
