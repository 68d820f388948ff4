const MINUTE_MS = 60_000

/** When tokens expire, to the minute: enough to say how many are alive without a look at any of them. */
export class Expiries {
  readonly #counts = new Map<number, number>()

  /** Takes in a token. */
  add(expiresAtMs: number): void {
    const minute = Math.ceil(expiresAtMs / MINUTE_MS)
    this.#counts.set(minute, (this.#counts.get(minute) ?? 0) + 1)
  }

  /** Counts those that are alive, and forgets the others. */
  countAlive(nowMs: number): number {
    let alive = 0
    for (const [minute, count] of this.#counts) {
      if (minute * MINUTE_MS > nowMs) alive += count
      else this.#counts.delete(minute)
    }
    return alive
  }
}
