const TOLERANCE_MS = 3_600_000 // more than a clock is set by while it is right

/** A moment, by the clock of the system and by the one that is never set. */
export interface Moment {
  /** `Date.now`, in milliseconds. */
  readonly nowMs: number
  /** `performance.now`, in milliseconds. */
  readonly elapsedMs: number
}

/**
 * Knows for how long the clock of the system has been believable. A machine that begins with a wrong one, as some do until
 * they reach the network, says so by the jump to the right one.
 */
export class SteadyClock {
  #since: Moment

  constructor(moment: Moment) {
    this.#since = moment
  }

  /** Looks at the clock, and says for how many milliseconds it has not been set by more than an hour, as far as it was looked at. */
  look(moment: Moment): number {
    const wentMs = moment.nowMs - this.#since.nowMs
    const elapsedMs = moment.elapsedMs - this.#since.elapsedMs
    if (Math.abs(wentMs - elapsedMs) <= TOLERANCE_MS) return elapsedMs
    this.#since = moment
    return 0
  }
}
