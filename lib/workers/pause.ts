const FIRST_MS = 250
const LONGEST_MS = 30_000
const RAN_WELL_MS = 60_000

/** How long to wait before a worker that ended is replaced: each time twice as long, until one has run well. */
export class Pause {
  #nextMs = FIRST_MS

  /** @param ranMs how long the worker had run */
  after(ranMs: number): number {
    if (ranMs >= RAN_WELL_MS) this.#nextMs = FIRST_MS
    const pauseMs = this.#nextMs
    this.#nextMs = Math.min(LONGEST_MS, pauseMs * 2)
    return pauseMs
  }
}
