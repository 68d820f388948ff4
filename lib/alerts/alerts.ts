import type { Alert, AlertKind, Notice } from './alert.ts'

/** What alerts are sent with. */
export interface AlertsParts {
  readonly send: (notice: Notice) => Promise<void>
  /** How long a kind is held back after one of it was sent. */
  readonly pauseMs: number
  /** How long one that failed waits until it is sent again; each time twice as long, up to the pause. */
  readonly retryMs: number
  /** Is told what became of each; `error` is undefined where it was sent. */
  readonly onOutcome: (notice: Notice, error: unknown) => void
}

interface Raised {
  readonly alert: Alert
  readonly atMs: number
  readonly onSent: () => void
}

/** What of a kind is held back while one is sent, and for a while after. */
interface Held {
  count: number
  last: Raised | undefined
  timer: NodeJS.Timeout | undefined
}

/**
 * Sends alerts, each kind at most once in a while; those held back are counted, and told when the while is over. One that
 * fails is held back too, but not as long.
 */
export class Alerts {
  readonly #parts: AlertsParts
  readonly #held = new Map<AlertKind, Held>()
  #isClosed = false

  constructor(parts: AlertsParts) {
    this.#parts = parts
  }

  /**
   * Sends an alert some time soon, or holds it back. Never throws, and nothing waits for it.
   * @param onSent is told when it was sent; not where a later one of its kind took its place
   */
  raise(alert: Alert, onSent: () => void = () => undefined): void {
    if (this.#isClosed) return
    const raised = { alert, atMs: Date.now(), onSent }
    const held = this.#held.get(alert.kind)
    if (held === undefined) return this.#send(raised, 1, this.#parts.retryMs)
    held.count++
    held.last = raised
  }

  /** Sends nothing any more. */
  close(): void {
    this.#isClosed = true
    for (const { timer } of this.#held.values()) clearTimeout(timer)
  }

  #send(raised: Raised, count: number, retryMs: number): void {
    const { send, onOutcome, pauseMs, retryMs: firstRetryMs } = this.#parts
    const { kind } = raised.alert
    const held: Held = { count: 0, last: undefined, timer: undefined }
    this.#held.set(kind, held)
    const notice = { ...raised.alert, count, atMs: raised.atMs }
    void send(notice).then(
      () => {
        raised.onSent()
        this.#releaseAfter(pauseMs, { kind, held, retryMs: firstRetryMs })
        onOutcome(notice, undefined)
      },
      (error: unknown) => {
        held.last ??= raised
        held.count += count
        this.#releaseAfter(retryMs, { kind, held, retryMs: Math.min(2 * retryMs, pauseMs) })
        onOutcome(notice, error)
      },
    )
  }

  #releaseAfter(waitMs: number, { kind, held, retryMs }: { kind: AlertKind; held: Held; retryMs: number }): void {
    if (this.#isClosed) return
    const release = () => {
      this.#held.delete(kind)
      if (held.last !== undefined) this.#send(held.last, held.count, retryMs)
    }
    held.timer = setTimeout(release, waitMs).unref()
  }
}
