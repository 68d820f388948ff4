import type { Alert, AlertKind, Notice } from './alert.ts'

/** What alerts are sent with. */
export interface AlertsParts {
  readonly send: (notice: Notice) => Promise<void>
  /** How long a kind is held back after one of it was sent. */
  readonly pauseMs: number
  /** Is told what became of each; `error` is undefined where it was sent. */
  readonly onOutcome: (notice: Notice, error: unknown) => void
}

/** Sends alerts, each kind at most once in a while; those held back are counted, and told when the while is over. */
export class Alerts {
  readonly #parts: AlertsParts
  readonly #held = new Map<AlertKind, { count: number; last: Alert | undefined; timer: NodeJS.Timeout }>()
  #isClosed = false

  constructor(parts: AlertsParts) {
    this.#parts = parts
  }

  /** Sends an alert some time soon, or holds it back. Never throws, and nothing waits for it. */
  raise(alert: Alert): void {
    if (this.#isClosed) return
    const held = this.#held.get(alert.kind)
    if (held === undefined) return this.#send(alert, 1)
    held.count++
    held.last = alert
  }

  /** Sends nothing any more. */
  close(): void {
    this.#isClosed = true
    for (const { timer } of this.#held.values()) clearTimeout(timer)
  }

  #send(alert: Alert, count: number): void {
    const timer = setTimeout(() => this.#release(alert.kind), this.#parts.pauseMs).unref()
    this.#held.set(alert.kind, { count: 0, last: undefined, timer })
    const notice = { ...alert, count, atMs: Date.now() }
    const { send, onOutcome } = this.#parts
    void send(notice).then(
      () => onOutcome(notice, undefined),
      (error: unknown) => onOutcome(notice, error),
    )
  }

  #release(kind: AlertKind): void {
    const held = this.#held.get(kind)
    this.#held.delete(kind)
    if (held?.last !== undefined) this.#send(held.last, held.count)
  }
}
