import { fstatSync, lstatSync } from 'node:fs'
import { lstat, type FileHandle } from 'node:fs/promises'
import type { Directories } from '../directories.ts'
import { diskCall } from '../disk-call.ts'
import { createFile, remove, reopenForAppending, syncDirectory, syncFile, writeWhole, type FileOwner } from '../durable.ts'
import { sha256Of } from '../sha256.ts'
import { SharedRun } from '../shared-run.ts'
import { systemCode } from '../errors.ts'
import type { ChainEnd } from './chain-end.ts'

const callStat = diskCall((handle: FileHandle) => handle.stat(), (handle: FileHandle) => fstatSync(handle.fd))
const callLstat = diskCall((path: string) => lstat(path), (path: string) => lstatSync(path))

interface Waiting<Line> {
  readonly line: Line
  readonly isWanted: (() => Promise<boolean> | boolean) | undefined
}

/** A file of JSON lines: append-only, with one writer, each line carrying the SHA-256 of the line before it. */
export class ChainFile<Line extends object> {
  readonly #directory: string
  readonly #newPath: () => string
  readonly #directories: Directories
  readonly #owner: FileOwner | undefined
  readonly #appending = new SharedRun(() => this.#appendWaiting())
  #waiting: Waiting<Line>[] = []
  #path: string | undefined
  #handle: FileHandle | undefined
  #bytes = 0
  #previous: string | null = null

  /**
   * @param newPath names a file that nobody has created yet
   * @param owner whose new files are to be; this process's where it is not given
   */
  constructor(directory: string, newPath: () => string, directories: Directories, owner?: FileOwner) {
    this.#directory = directory
    this.#newPath = newPath
    this.#directories = directories
    this.#owner = owner
  }

  /** Says whether nothing is being written. */
  get isIdle(): boolean {
    return this.#appending.isIdle
  }

  /** Appends lines; they are durable when the promise is fulfilled. All that wait together share a write and a sync. */
  append(...lines: readonly Line[]): Promise<void> {
    for (const line of lines) this.#waiting.push({ line, isWanted: undefined })
    return this.#appending.run()
  }

  /**
   * Appends a line as `append` does, unless it is not wanted any more: that is asked right before it is written, when all
   * is over that may take long, but its own sync.
   */
  appendIf(isWanted: () => Promise<boolean> | boolean, line: Line): Promise<void> {
    this.#waiting.push({ line, isWanted })
    return this.#appending.run()
  }

  /** Goes on with a file of an earlier process, where it is still as it was found to be. */
  resume(path: string, { bytes, previous }: ChainEnd): void {
    this.#path = path
    this.#bytes = bytes
    this.#previous = previous
  }

  /** Begins another file with the next line. */
  async turn(): Promise<void> {
    await this.#appending.run()
    await this.#forget()
  }

  /** Closes the file; the next line opens it again. */
  async close(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close()
  }

  async #appendWaiting(): Promise<void> {
    const waiting = this.#waiting
    this.#waiting = []
    if (waiting.length === 0) return
    try {
      await this.#write(waiting)
    } catch (error) {
      await this.#abandon()
      throw error
    }
  }

  async #write(waiting: readonly Waiting<Line>[]): Promise<void> {
    const { handle, path } = await this.#open()
    const lines: Line[] = []
    for (const { line, isWanted } of waiting) if (isWanted === undefined || (await isWanted())) lines.push(line)
    if (lines.length === 0) return
    const content = Buffer.from(lines.map((line) => this.#format(line)).join(''))
    await writeWhole(handle, [content])
    await syncFile(handle)
    const bytes = this.#bytes + content.length
    if (!(await isAsLeft(handle, path, bytes))) throw new Error(`${path} was changed while it was written`)
    this.#bytes = bytes
  }

  #format(line: Line): string {
    const text = JSON.stringify(Object.assign({}, line, { previous: this.#previous })) // V8 takes three times as long for a spread with more behind it
    this.#previous = sha256Of(text)
    return `${text}\n`
  }

  /** Begins a new file where the last one is not as it was left: it was removed, moved away or cut. */
  async #open(): Promise<{ handle: FileHandle; path: string }> {
    const [handle, path] = [await this.#reopen(), this.#path]
    if (handle !== undefined && path !== undefined) {
      if (await isAsLeft(handle, path, this.#bytes)) return { handle, path }
    }
    await this.#forget()
    return this.#begin(this.#newPath())
  }

  async #reopen(): Promise<FileHandle | undefined> {
    if (this.#handle !== undefined || this.#path === undefined) return this.#handle
    try {
      this.#handle = await reopenForAppending(this.#path)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error
    }
    return this.#handle
  }

  async #begin(path: string): Promise<{ handle: FileHandle; path: string }> {
    const handle = await this.#create(path)
    this.#handle = handle
    this.#path = path
    await syncDirectory(this.#directory)
    return { handle, path }
  }

  async #create(path: string): Promise<FileHandle> {
    await this.#directories.ensure(this.#directory)
    return createFile(path, this.#owner)
  }

  // After a failed write or sync nothing more is known of the file's end: what was not promised is cut off where that
  // still works, and the next line begins a file of its own.
  async #abandon(): Promise<void> {
    const [handle, path] = [this.#handle, this.#path]
    try {
      if (handle !== undefined && (await callStat(handle)).size > this.#bytes) await handle.truncate(this.#bytes)
      if (path !== undefined && this.#bytes === 0) await remove(path)
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

async function isAsLeft(handle: FileHandle, path: string, bytes: number): Promise<boolean> {
  const open = await callStat(handle)
  if (open.size !== bytes || open.nlink === 0) return false
  try {
    const named = await callLstat(path)
    return named.ino === open.ino && named.dev === open.dev
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}
