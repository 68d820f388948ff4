import type { Log } from '../log.ts'
import type { Measures } from '../metrics/measures.ts'
import type { AlertTarget } from '../settings/observation.ts'
import type { Layout } from '../store/layout.ts'
import { Alerts } from './alerts.ts'
import { createSender } from './sender.ts'
import type { StudyHours } from './study-hours.ts'
import { Watch } from './watch.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const SEND_LIMIT_MS = 30_000

/** What alerting works with. */
export interface AlertingParts {
  readonly target: AlertTarget | undefined
  readonly silenceHours: number | undefined
  readonly studyHours: StudyHours
  readonly layout: Layout
  readonly log: Log
  readonly measures: Measures
  readonly room: () => { readonly freeBytes: number; readonly reserveBytes: number } | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly killGroup: (pid: number) => void
}

/** Watches while the server runs, and sends alerts where it is set where to. */
export class Alerting {
  readonly #parts: AlertingParts
  readonly #alerts: Alerts | undefined
  readonly #watch: Watch | undefined
  #timers: readonly NodeJS.Timeout[] = []
  readonly #looking = new Set<() => Promise<void>>()
  #isStopped = false

  constructor(parts: AlertingParts) {
    this.#parts = parts
    const { target, environment, killGroup, log, measures } = parts
    if (target === undefined) return
    const alerts = new Alerts({
      send: createSender({ target, environment, killGroup, limitMs: SEND_LIMIT_MS }),
      pauseMs: HOUR_MS,
      retryMs: MINUTE_MS,
      onOutcome: ({ kind, count }, error) => {
        measures.alerted(kind, error === undefined ? 'sent' : 'failed')
        if (error === undefined) log.info('alert sent', { kind, count })
        else log.error('alert failed', error, { kind, count })
      },
    })
    this.#alerts = alerts
    this.#watch = new Watch({ ...parts, alerts })
  }

  /** Begins to look, now and every minute or hour. */
  start(): void {
    const watch = this.#watch
    if (watch === undefined || this.#isStopped) return
    const often = async () => {
      watch.lookAtSpace(Date.now())
      await watch.lookAtSilence(Date.now())
    }
    const seldom = () => watch.lookAtUploads(Date.now())
    this.#timers = [
      setInterval(() => void this.#look(often), MINUTE_MS).unref(),
      setInterval(() => void this.#look(seldom), HOUR_MS).unref(),
    ]
    void this.#look(often).then(() => this.#look(seldom))
  }

  /** Tells of a submission that failed through our fault. */
  noteFailure(code: string, requestId: string): void {
    this.#watch?.noteFailure(code, requestId)
  }

  /** Looks and sends no more. */
  stop(): void {
    this.#isStopped = true
    for (const timer of this.#timers) clearInterval(timer)
    this.#alerts?.close()
  }

  // Never the same twice at a time: on a mount that hangs they would pile up.
  async #look(look: () => Promise<void>): Promise<void> {
    if (this.#looking.has(look)) return
    this.#looking.add(look)
    try {
      await look()
    } catch (error) {
      this.#parts.log.error('look for trouble failed', error)
    } finally {
      this.#looking.delete(look)
    }
  }
}
