import { join } from 'node:path'
import { ChainFile } from '../chain/chain-file.ts'
import type { Directories } from '../directories.ts'
import { formatStart, makeEntry, type Entry, type EntryFields } from './entry.ts'
import { RepeatedEvent } from './repeated-event.ts'

const GATHER_MS = 100
const RETRY_MS = 5000
const MOST_WAITING = 10_000

/** What the record of a server works with. */
export interface AuditParts {
  readonly directory: string
  readonly directories: Directories
  /** 8 hex digits that no other process has, in the names of its files. */
  readonly processName: string
  /** Is told, once, when entries cannot be written. */
  readonly onFailure: (error: unknown) => void
  /** Is told when they can be written again. */
  readonly onRecovery: (lost: number) => void
}

/**
 * The record of access as a server keeps it: what is noted within a tenth of a second shares a write and a sync, and no
 * request waits for it. What cannot be written is kept and tried again; what is too much to keep is counted.
 */
export class Audit {
  readonly #parts: AuditParts
  readonly #file: ChainFile<Entry>
  readonly #repeated: RepeatedEvent[] = []
  #waiting: Entry[] = []
  #lost = 0
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()
  #hasFailed = false
  #month = ''

  constructor(parts: AuditParts) {
    const { directory, directories, processName } = parts
    this.#parts = parts
    this.#file = new ChainFile(directory, () => join(directory, `${formatStart(new Date())}-${processName}.ndjson`), directories)
  }

  /** Notes an event; it is on disk a moment later. */
  note(event: string, fields: EntryFields, now?: Date): void {
    if (this.#waiting.length >= MOST_WAITING) {
      this.#lost++
      return
    }
    this.#waiting.push(makeEntry(event, fields, now))
    this.#writeIn(GATHER_MS)
  }

  /** Makes an event that anybody can cause, and that is noted once in `windowMs`; what is returned is told each time, and by whom. */
  repeated(event: string, windowMs: number): (address: string) => void {
    const repeated = new RepeatedEvent({ event, windowMs, note: (...noted) => this.note(...noted) })
    this.#repeated.push(repeated)
    return (address) => repeated.add(address)
  }

  /** Writes what is waiting, as far as that works, and closes the file. */
  async close(): Promise<void> {
    for (const each of this.#repeated) each.close()
    clearTimeout(this.#timer)
    this.#timer = undefined
    await this.#writing
    await this.#write()
    clearTimeout(this.#timer)
    await this.#file.close()
  }

  #writeIn(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#writing = this.#write().finally(() => {
        this.#timer = undefined
        if (this.#waiting.length > 0) this.#writeIn(this.#hasFailed ? RETRY_MS : GATHER_MS)
      })
    }, ms).unref()
  }

  async #write(): Promise<void> {
    const [entries, lost] = [this.#waiting, this.#lost]
    if (entries.length === 0) return
    this.#waiting = []
    this.#lost = 0
    try {
      await this.#turnMonthly(entries[0]?.at.slice(0, 7) ?? '')
      await this.#file.append(...entries, ...(lost === 0 ? [] : [makeEntry('entries_lost', { count: lost })]))
      if (this.#hasFailed) this.#parts.onRecovery(lost)
      this.#hasFailed = false
    } catch (error) {
      this.#waiting = [...entries, ...this.#waiting] // none of them counts as written: the file's end was cut off
      this.#lost += lost
      if (!this.#hasFailed) this.#parts.onFailure(error)
      this.#hasFailed = true
    }
  }

  // So that old months can be removed whole, whenever the lab decides that they were kept long enough.
  async #turnMonthly(month: string): Promise<void> {
    if (this.#month !== '' && this.#month !== month) await this.#file.turn()
    this.#month = month
  }
}
