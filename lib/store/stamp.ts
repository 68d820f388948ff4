/**
 * A moment that names a submission, in UTC to the microsecond.
 * `basic` is ISO 8601 basic format (`20241101T023615.123456Z`), `extended` is RFC 3339 (`2024-11-01T02:36:15.123456Z`).
 */
export interface Stamp {
  readonly basic: string
  readonly extended: string
}

/** Gives stamps that rise and never repeat within this process, also where the wall clock is set back. */
export class StampClock {
  #lastMicroseconds = 0

  /** @param now milliseconds since the epoch, with a fraction where the clock has one */
  next(now: number = Date.now() + (performance.now() % 1)): Stamp {
    this.#lastMicroseconds = Math.max(Math.floor(now * 1000), this.#lastMicroseconds + 1)
    return formatStamp(this.#lastMicroseconds)
  }
}

function formatStamp(microseconds: number): Stamp {
  const toSecond = new Date(Math.floor(microseconds / 1000)).toISOString().slice(0, 19)
  const fraction = String(microseconds % 1_000_000).padStart(6, '0')
  const extended = `${toSecond}.${fraction}Z`
  return { basic: extended.replace(/[:-]/g, ''), extended }
}
