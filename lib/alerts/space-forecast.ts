const HOUR_MS = 3_600_000
const SAMPLE_MS = HOUR_MS / 6
const KEEP_MS = 48 * HOUR_MS
const LEAST_MS = 6 * HOUR_MS // a morning says little of a week

/** Foretells when free space will have shrunk to the reserve, from how it shrank in the last hours, two days at most. */
export class SpaceForecast {
  #samples: { readonly freeBytes: number; readonly atMs: number }[] = []

  /** Takes in how much there is. */
  add(freeBytes: number, atMs: number): void {
    const last = this.#samples.at(-1)
    if (last !== undefined && atMs - last.atMs < SAMPLE_MS) return
    this.#samples = [...this.#samples.filter((sample) => atMs - sample.atMs <= KEEP_MS), { freeBytes, atMs }]
  }

  /** Gives in how many milliseconds the reserve is reached; undefined where it never is, or too little is known. */
  reaches(reserveBytes: number): number | undefined {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)]
    if (first === undefined || last === undefined || last.atMs - first.atMs < LEAST_MS) return undefined
    const bytesPerMs = (first.freeBytes - last.freeBytes) / (last.atMs - first.atMs)
    return bytesPerMs > 0 ? Math.max(0, last.freeBytes - reserveBytes) / bytesPerMs : undefined
  }
}
