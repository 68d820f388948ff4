/** Who waits for an answer of another thread. */
export interface Caller<Answer> {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

/**
 * Those who wait, each by a number that is used again. Not a `Map`: where entries come and go, V8 makes a new
 * table again and again, each old one leads to the next (its `OrderedHashTable`), and as soon as one has grown old, every
 * request that waited when the others were made stays in memory until the whole heap is collected.
 */
export class Callers<Answer> {
  readonly #callers: (Caller<Answer> | undefined)[] = []
  readonly #free: number[] = []

  /** Says whether nobody waits. */
  get isEmpty(): boolean {
    return this.#free.length === this.#callers.length
  }

  /** Gives a caller a number that no other has now. */
  add(caller: Caller<Answer>): number {
    const number = this.#free.pop() ?? this.#callers.length
    this.#callers[number] = caller
    return number
  }

  /** Takes out the caller of a number. */
  take(number: number): Caller<Answer> | undefined {
    const caller = this.#callers[number]
    if (caller === undefined) return undefined
    this.#callers[number] = undefined
    this.#free.push(number)
    return caller
  }

  /** Takes out all. */
  takeAll(): Caller<Answer>[] {
    return this.#callers.flatMap((_, number) => this.take(number) ?? [])
  }
}
