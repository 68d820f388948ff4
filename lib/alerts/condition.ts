/** Something that lasts: it is told when it begins, and again now and then while it lasts. */
export class Condition {
  readonly #repeatMs: number
  #toldAtMs: number | undefined

  constructor(repeatMs: number) {
    this.#repeatMs = repeatMs
  }

  /** Takes in whether it holds; says whether it is to be told now. */
  isDue(holds: boolean, nowMs: number): boolean {
    if (!holds) this.#toldAtMs = undefined
    if (!holds || (this.#toldAtMs !== undefined && nowMs - this.#toldAtMs < this.#repeatMs)) return false
    this.#toldAtMs = nowMs
    return true
  }
}
