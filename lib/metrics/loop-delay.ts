import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks'
import type { Labels } from './family.ts'

const RESOLUTION_MS = 20
const WINDOW_MS = 60_000

/** How late the event loop is: what all requests wait for. Of the minute that has passed and of the one that runs. */
export class LoopDelay {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  readonly #timer: NodeJS.Timeout
  #previous = { p50: 0, p99: 0, max: 0 }

  constructor() {
    this.#histogram.enable()
    this.#timer = setInterval(() => this.#turn(), WINDOW_MS).unref()
  }

  /** Gives the median, the 99th percentile and the longest delay, in seconds. */
  read(): (readonly [Labels, number])[] {
    const current = this.#current()
    return (['p50', 'p99', 'max'] as const).map((statistic) => [{ statistic }, Math.max(this.#previous[statistic], current[statistic])])
  }

  /** Ends the measurement. */
  close(): void {
    this.#histogram.disable()
    clearInterval(this.#timer)
  }

  #turn(): void {
    this.#previous = this.#current()
    this.#histogram.reset()
  }

  #current(): { p50: number; p99: number; max: number } {
    if (this.#histogram.count === 0) return { p50: 0, p99: 0, max: 0 }
    return {
      p50: toSeconds(this.#histogram.percentile(50)),
      p99: toSeconds(this.#histogram.percentile(99)),
      max: toSeconds(this.#histogram.max),
    }
  }
}

// What is measured, in nanoseconds, is the time between two ticks: the resolution is in it.
function toSeconds(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e9 - RESOLUTION_MS / 1000)
}
