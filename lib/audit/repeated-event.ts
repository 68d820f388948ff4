import type { EntryFields } from './entry.ts'

const MOST_ADDRESSES = 20

/** What an event that may come in floods works with. */
export interface RepeatedEventParts {
  readonly event: string
  /** How long what comes after an entry is counted before the next entry. */
  readonly windowMs: number
  readonly note: (event: string, fields: EntryFields) => void
}

/** An event that anybody can cause: its first is noted at once, what follows is counted per address and noted once a window. */
export class RepeatedEvent {
  readonly #parts: RepeatedEventParts
  #addresses = new Map<string, number>()
  #count = 0
  #timer: NodeJS.Timeout | undefined

  constructor(parts: RepeatedEventParts) {
    this.#parts = parts
  }

  /** Counts an event. */
  add(address: string): void {
    this.#count++
    const known = this.#addresses.get(address)
    if (known !== undefined || this.#addresses.size < MOST_ADDRESSES) this.#addresses.set(address, (known ?? 0) + 1)
    if (this.#timer === undefined) this.#flush()
  }

  /** Notes what was counted; what comes after that is noted at once again. */
  close(): void {
    this.#note()
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #flush(): void {
    this.#note()
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#count > 0) this.#flush()
    }, this.#parts.windowMs).unref()
  }

  #note(): void {
    if (this.#count === 0) return
    const addresses = Object.fromEntries(this.#addresses)
    const named = [...this.#addresses.values()].reduce((sum, count) => sum + count, 0)
    this.#parts.note(this.#parts.event, { count: this.#count, addresses, ...(named === this.#count ? {} : { from_others: this.#count - named }) })
    this.#addresses = new Map()
    this.#count = 0
  }
}
