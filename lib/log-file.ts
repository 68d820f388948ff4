import { writeSync } from 'node:fs'
import { readdir, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Directories } from './directories.ts'
import { openForAppending, putInPlace, remove, writeWhole } from './durable.ts'
import { SharedRun } from './shared-run.ts'
import { systemCode } from './errors.ts'

const KEEP = 10
const MOST_WAITING_CHARACTERS = 8 * 1024 * 1024
const GATHER_MS = 20 // of lines that are written together
const DAY_MS = 24 * 3600 * 1000
const TURNED = /^\.\d{4}-\d\d-\d\d(-\d+)?$/ // what follows the name of the log

/**
 * A log file that is turned every Monday (UTC): `console.log` becomes `console.log.2024-10-28`, and ten such are kept.
 * Several processes may append to one. A log that cannot be written loses lines and says how many; it stops nothing else.
 */
export class LogFile {
  readonly #path: string
  readonly #writing = new SharedRun(() => this.#write())
  #handle: FileHandle | undefined
  #week = 0
  #isClosing = false
  #waiting: string[] = []
  #waitingCharacters = 0
  #lost = 0

  constructor(path: string) {
    this.#path = path
  }

  /** Appends a line, some time soon. */
  append(line: string): void {
    if (this.#waitingCharacters > MOST_WAITING_CHARACTERS) {
      this.#lost++
      return
    }
    this.#waiting.push(`${line}\n`)
    this.#waitingCharacters += line.length
    void this.#writing.run()
  }

  /** Opens the file, and turns it where it is of an earlier week. */
  async open(): Promise<void> {
    await this.#open().catch(() => undefined) // the first line says so, by being lost
  }

  /** Appends a line before it returns, where the file is open: for a start, when whoever reads it may come at once. */
  appendNow(line: string): void {
    try {
      if (this.#handle === undefined) this.append(line)
      else writeSync(this.#handle.fd, `${line}\n`)
    } catch {
      this.#lost++ // as in `#write`
    }
  }

  /** Writes what is waiting and closes the file. */
  async close(): Promise<void> {
    this.#isClosing = true
    await this.#writing.run()
    await this.#reopen()
  }

  async #write(): Promise<void> {
    const lines = this.#waiting
    this.#waiting = []
    this.#waitingCharacters = 0
    if (lines.length === 0) return
    try {
      const handle = await this.#open()
      const warning = `${new Date().toISOString()} WARNING ${this.#lost} lines of this log were lost\n`
      await writeWhole(handle, [Buffer.from(this.#lost > 0 ? warning : ''), Buffer.from(lines.join(''))])
      this.#lost = 0
    } catch {
      this.#lost += lines.length // whatever it was: to log that a log cannot be written would fail again, for ever
      await this.#reopen()
    }
    if (!this.#isClosing) await sleep(GATHER_MS)
  }

  async #open(): Promise<FileHandle> {
    const week = weekOf(Date.now())
    if (this.#handle !== undefined && !(await this.#isCurrent(this.#handle))) await this.#reopen() // turned by another
    if (this.#handle === undefined) {
      this.#handle = await openOrMake(this.#path)
      const { size, mtimeMs } = await this.#handle.stat()
      this.#week = size === 0 ? week : weekOf(mtimeMs)
    }
    if (this.#week >= week) return this.#handle
    await this.#turn()
    this.#week = week
    this.#handle = await openForAppending(this.#path)
    return this.#handle
  }

  async #isCurrent(handle: FileHandle): Promise<boolean> {
    try {
      const [open, named] = await Promise.all([handle.stat(), stat(this.#path)])
      return open.ino === named.ino
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return false
      throw error
    }
  }

  async #reopen(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close().catch(() => undefined) // of a full disk, perhaps; what was lost is counted already
  }

  async #turn(): Promise<void> {
    await this.#reopen()
    const monday = new Date((this.#week * 7 - 3) * DAY_MS).toISOString().slice(0, 10)
    await linkUnderFreeName(this.#path, `${this.#path}.${monday}`)
    await remove(this.#path)
    const [directory, name] = [dirname(this.#path), basename(this.#path)]
    const isTurned = (entry: string) => entry.startsWith(name) && TURNED.test(entry.slice(name.length))
    const turned = (await readdir(directory)).filter(isTurned).toSorted()
    for (const entry of turned.slice(0, -KEEP)) await remove(join(directory, entry))
  }
}

async function openOrMake(path: string): Promise<FileHandle> {
  try {
    return await openForAppending(path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    await new Directories().ensure(dirname(path)) // somebody has removed it while the server ran
    return openForAppending(path)
  }
}

// Weeks since Monday, 29 December 1969: the epoch was a Thursday.
function weekOf(ms: number): number {
  return Math.floor((Math.floor(ms / DAY_MS) + 3) / 7)
}

async function linkUnderFreeName(path: string, name: string): Promise<void> {
  for (let copy = 1; ; copy++) {
    try {
      return await putInPlace(path, copy === 1 ? name : `${name}-${copy}`)
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return // turned by another process at this moment
      if (systemCode(error) !== 'EEXIST') throw error
    }
  }
}
