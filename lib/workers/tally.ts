import { mergeFamilies, type Family } from '../metrics/family.ts'

/**
 * The numbers of the workers that have one place after another. What is counted only grows, for whoever looks: of a
 * worker that has ended, or does not answer, the counts stay as it told them last.
 */
export class Tally {
  readonly #ask: (question: number) => void
  readonly #waiting = new Map<number, (hasAnswered: boolean) => void>()
  #ended: readonly Family[] = []
  #last: readonly Family[] = []
  #question = 0
  #isServing = false

  /** @param ask has the worker measure; what it measured is then given to `take` */
  constructor(ask: (question: number) => void) {
    this.#ask = ask
  }

  /** A worker begins to serve. */
  begin(): void {
    this.#isServing = true
  }

  /** Takes in what the worker measured, late as it may be. */
  take(question: number, families: readonly Family[]): void {
    if (!this.#isServing) return
    this.#last = families
    this.#waiting.get(question)?.(true)
  }

  /** The worker has ended. */
  end(): void {
    this.#isServing = false
    this.#ended = mergeFamilies([this.#ended, this.#last.filter(isCounted)])
    this.#last = []
    for (const settle of [...this.#waiting.values()]) settle(false)
  }

  /** Asks the worker, where there is one; says whether it has answered in time. */
  look(limitMs: number): Promise<boolean> {
    if (!this.#isServing) return Promise.resolve(false)
    const question = ++this.#question
    return new Promise((resolve) => {
      const late = setTimeout(() => settle(false), limitMs)
      const settle = (hasAnswered: boolean) => {
        clearTimeout(late)
        this.#waiting.delete(question)
        resolve(hasAnswered)
      }
      this.#waiting.set(question, settle)
      this.#ask(question)
    })
  }

  /** Gives what was counted, and where the worker has answered what it measured too. */
  read(hasAnswered: boolean): readonly Family[] {
    return mergeFamilies([this.#ended, hasAnswered ? this.#last : this.#last.filter(isCounted)])
  }
}

function isCounted({ type }: Family): boolean {
  return type !== 'gauge'
}
