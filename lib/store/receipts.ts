import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createFile, openForAppending, SharedRun, syncDirectory, writeWhole, type Directories } from '../durable.ts'
import { systemCode } from '../errors.ts'
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
  readonly #files = new Map<string, ReceiptsFile>()

  constructor(layout: Layout, directories: Directories, clock: StampClock, processName: string) {
    this.#layout = layout
    this.#directories = directories
    this.#clock = clock
    this.#processName = processName
  }

  /** Appends one receipt; it is durable when the promise is fulfilled. */
  async append(receipt: Receipt): Promise<void> {
    const file = this.#fileOf(receipt.project)
    try {
      await file.append(receipt)
    } finally {
      await this.#closeIdle()
    }
  }

  /** Says whether a process has written the receipt of this id. */
  async has(receipt: Receipt, processName: string): Promise<boolean> {
    const directory = this.#layout.receiptsOf(receipt.project)
    for (const entry of await readdir(directory)) {
      if (entry.endsWith(`-${processName.slice(-8)}.ndjson`) && (await holds(join(directory, entry), receipt.id))) return true
    }
    return false
  }

  /** Closes what is open. */
  async close(): Promise<void> {
    await Promise.all([...this.#files.values()].map((file) => file.close()))
  }

  #fileOf(project: string): ReceiptsFile {
    const known = this.#files.get(project)
    if (known !== undefined) {
      this.#files.delete(project) // and set again: the map is in order of use
      this.#files.set(project, known)
      return known
    }
    const directory = this.#layout.receiptsOf(project)
    const newPath = () => join(directory, `${this.#clock.next().basic}-${this.#processName.slice(-8)}.ndjson`)
    const file = new ReceiptsFile(directory, newPath, this.#directories)
    this.#files.set(project, file)
    return file
  }

  async #closeIdle(): Promise<void> {
    let open = [...this.#files.values()].filter((file) => file.isOpen).length
    for (const file of this.#files.values()) {
      if (open <= MOST_OPEN) return
      if (file.isOpen && file.isIdle) {
        open--
        await file.close()
      }
    }
  }
}

/** One project's receipts: append-only, with one writer, each line carrying the SHA-256 of the line before it. */
class ReceiptsFile {
  readonly #directory: string
  readonly #newPath: () => string
  readonly #directories: Directories
  readonly #appending = new SharedRun(() => this.#appendWaiting())
  #waiting: Receipt[] = []
  #path: string | undefined
  #handle: FileHandle | undefined
  #bytes = 0
  #previous: string | null = null

  constructor(directory: string, newPath: () => string, directories: Directories) {
    this.#directory = directory
    this.#newPath = newPath
    this.#directories = directories
  }

  get isOpen(): boolean {
    return this.#handle !== undefined
  }

  get isIdle(): boolean {
    return this.#appending.isIdle
  }

  append(receipt: Receipt): Promise<void> {
    this.#waiting.push(receipt)
    return this.#appending.run()
  }

  async close(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close()
  }

  async #appendWaiting(): Promise<void> {
    const receipts = this.#waiting
    this.#waiting = []
    try {
      if (!(await this.#write(receipts))) await this.#write(receipts)
    } catch (error) {
      await this.#abandon()
      throw error
    }
  }

  /** Returns false where the file had been removed from under the writer. */
  async #write(receipts: readonly Receipt[]): Promise<boolean> {
    const handle = await this.#open()
    const lines = receipts.map((receipt) => this.#lineOf(receipt))
    const content = Buffer.from(lines.join(''))
    await writeWhole(handle, [content])
    await handle.sync()
    if ((await handle.stat()).nlink === 0) {
      await this.#forget()
      return false
    }
    this.#bytes += content.length
    return true
  }

  #lineOf(receipt: Receipt): string {
    const line = JSON.stringify({ ...receipt, previous: this.#previous })
    this.#previous = createHash('sha256').update(line).digest('hex')
    return `${line}\n`
  }

  async #open(): Promise<FileHandle> {
    if (this.#handle !== undefined) return this.#handle
    if (this.#path !== undefined) {
      this.#handle = await openForAppending(this.#path)
      return this.#handle
    }
    const path = this.#newPath()
    this.#handle = await this.#create(path)
    this.#path = path
    await syncDirectory(this.#directory)
    return this.#handle
  }

  async #create(path: string): Promise<FileHandle> {
    await this.#directories.ensure(this.#directory)
    try {
      return await createFile(path)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error
      this.#directories.forget(this.#directory)
      await this.#directories.ensure(this.#directory)
      return createFile(path)
    }
  }

  // After a failed write or sync nothing more is known of the file's end: what was not promised is cut off where that
  // still works, and the next receipt begins a file of its own.
  async #abandon(): Promise<void> {
    try {
      await this.#handle?.truncate(this.#bytes)
    } catch (error) {
      if (systemCode(error) === undefined) throw error // the disk's own trouble was told already
    }
    await this.#forget()
  }

  async #forget(): Promise<void> {
    this.#path = undefined
    this.#bytes = 0
    this.#previous = null
    await this.close()
  }
}

async function holds(path: string, id: string): Promise<boolean> {
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    if (line.includes(`"id":"${id}"`)) return true
  }
  return false
}
