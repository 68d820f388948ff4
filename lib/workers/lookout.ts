import { Alerting } from '../alerts/alerting.ts'
import type { Config } from '../config.ts'
import { rememberSubmissions } from '../dataset/last-submission.ts'
import type { Log } from '../log.ts'
import type { Family } from '../metrics/family.ts'
import { Measures } from '../metrics/measures.ts'
import type { Runtime } from '../runtime.ts'
import { FreeSpace } from '../store/free-space.ts'
import type { Layout } from '../store/layout.ts'

const LOOK_MS = 10_000

/** What the primary process works with when it watches. */
export interface LookoutParts {
  readonly config: Config
  readonly layout: Layout
  readonly log: Log
  readonly runtime: Runtime
}

/** Watches for all workers, and sends the alerts of all: each would send its own. */
export class Lookout {
  readonly #parts: LookoutParts
  readonly #freeSpace: FreeSpace
  readonly #measures: Measures
  readonly #alerting: Alerting
  #timer: NodeJS.Timeout | undefined

  constructor(parts: LookoutParts) {
    const { config, runtime } = parts
    const { alert: target, silenceHours, studyHours } = config
    const freeSpace = new FreeSpace(parts.layout.basedir, config.reserveBytes)
    const room = () => freeSpace.known
    const measures = new Measures({ ...runtime, room, tokensAlive: () => 0, isReady: () => undefined }) // those two are the workers' to tell
    this.#parts = parts
    this.#freeSpace = freeSpace
    this.#measures = measures
    this.#alerting = new Alerting({ ...runtime, ...parts, target, silenceHours, studyHours, measures, room })
  }

  /** Begins to look; nothing waits for it. */
  start(): void {
    const { layout, log } = this.#parts
    const look = () => this.#freeSpace.look().catch((error: unknown) => log.error('look for free space failed', error))
    this.#timer = setInterval(() => void look(), LOOK_MS).unref()
    void look()
      .then(() => rememberSubmissions(layout, this.#measures))
      .catch((error: unknown) => log.error('look for the last submissions failed', error))
      .then(() => this.#alerting.start())
  }

  /** Tells of a submission that failed, at a worker, through our fault. */
  noteFailure(code: string, requestId: string): void {
    this.#alerting.noteFailure(code, requestId)
  }

  /** Gives what the primary process itself has counted and measured. */
  measure(): readonly Family[] {
    return this.#measures.read()
  }

  /** Looks and sends no more. */
  stop(): void {
    clearInterval(this.#timer)
    this.#alerting.stop()
    this.#measures.close()
  }
}
