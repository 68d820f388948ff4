import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { ChainFile } from '../chain/chain-file.ts'
import { entriesOf, type Directories } from '../directories.ts'
import type { Layout } from './layout.ts'
import type { Receipt } from './receipt.ts'
import type { StampClock } from './stamp.ts'

const MOST_OPEN = 64

/** The receipts of every project, as this process writes them. */
export class Receipts {
  readonly #layout: Layout
  readonly #directories: Directories
  readonly #clock: StampClock
  readonly #processName: string
  readonly #files = new Map<string, ChainFile<Receipt>>()
  readonly #used = new Set<ChainFile<Receipt>>() // those that may be open, the last used last

  constructor(layout: Layout, directories: Directories, clock: StampClock, processName: string) {
    this.#layout = layout
    this.#directories = directories
    this.#clock = clock
    this.#processName = processName
  }

  /** Appends one receipt; it is durable when the promise is fulfilled, unless it was not wanted any more: see `ChainFile`. */
  async append(receipt: Receipt, isWanted: () => Promise<boolean> | boolean = () => true): Promise<void> {
    const file = this.#fileOf(receipt.project)
    this.#used.delete(file)
    this.#used.add(file)
    try {
      await file.appendIf(isWanted, receipt)
    } finally {
      if (this.#used.size > MOST_OPEN) await Promise.allSettled([this.#closeIdle()]) // what becomes of other files is not this receipt's trouble
    }
  }

  /** Says whether any process has written this receipt: who recovers may die after it, and be recovered in turn. */
  async has({ id, project }: Receipt): Promise<boolean> {
    const directory = this.#layout.receiptsOf(project)
    for (const entry of await entriesOf(directory)) {
      if (entry.endsWith('.ndjson') && (await holds(join(directory, entry), `"id":"${id}"`))) return true
    }
    return false
  }

  /** Closes what is open. */
  async close(): Promise<void> {
    await Promise.all([...this.#files.values()].map((file) => file.close()))
  }

  #fileOf(project: string): ChainFile<Receipt> {
    const known = this.#files.get(project)
    if (known !== undefined) return known
    const directory = this.#layout.receiptsOf(project)
    const newPath = () => join(directory, `${this.#clock.next().basic}-${this.#processName.slice(-8)}.ndjson`)
    const file = new ChainFile<Receipt>(directory, newPath, this.#directories)
    this.#files.set(project, file)
    return file
  }

  async #closeIdle(): Promise<void> {
    for (const file of this.#used) {
      if (this.#used.size <= MOST_OPEN) return
      if (!file.isIdle) continue
      this.#used.delete(file)
      await file.close()
    }
  }
}

async function holds(path: string, text: string): Promise<boolean> {
  let end = ''
  for await (const chunk of createReadStream(path, 'latin1')) {
    const piece = `${end}${String(chunk)}`
    if (piece.includes(text)) return true
    end = piece.slice(-text.length)
  }
  return false
}
