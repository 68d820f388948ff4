import { writeSync } from 'node:fs'
import { readdir, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Directories } from './directories.ts'
import { isSameFile, openForAppending, putInPlace, remove, writeWhole } from './durable.ts'
import { SharedRun } from './shared-run.ts'
import { systemCode } from './errors.ts'

const KEEP = 10
const MOST_WAITING_CHARACTERS = 8 * 1024 * 1024
const GATHER_MS = 20 // of lines that are written together
const TRUST_MS = 1000 // how long it is believed that nobody else has turned the file
const DAY_MS = 24 * 3600 * 1000
const TURNED = /^\.(\d{4}-\d\d-\d\d)(?:-(\d+))?$/ // what follows the name of the log

/** How a log file is kept. */
export interface LogFileParts {
  readonly path: string
  /** The size at which it is turned before its week is over. */
  readonly limitBytes: number
}

/**
 * A log file that is turned every Monday (UTC), and whenever it is too large: `console.log` becomes
 * `console.log.2024-10-28`, the next one of that week `console.log.2024-10-28-2`, and ten such are kept. Several processes
 * may append to one. A log that cannot be written loses lines and says how many; it stops nothing else.
 */
export class LogFile {
  readonly #path: string
  readonly #limitBytes: number
  readonly #writing = new SharedRun(() => this.#write())
  #handle: FileHandle | undefined
  #week = 0
  #bytes = 0
  #lookedAtMs = Number.NEGATIVE_INFINITY
  #head: string | undefined
  #isReopening = false
  #isClosing = false
  #waiting: string[] = []
  #waitingCharacters = 0
  #lost = 0

  constructor({ path, limitBytes }: LogFileParts) {
    this.#path = path
    this.#limitBytes = limitBytes
  }

  /** Has a line at the head of every file that is begun from now on. */
  keepAtHead(line: string): void {
    this.#head = line
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

  /** Begins a file anew where it was moved away, without waiting for its next line. */
  async reopen(): Promise<void> {
    this.#isReopening = this.#handle !== undefined // what was never opened needs no file yet
    this.#lookedAtMs = Number.NEGATIVE_INFINITY
    await this.#writing.run()
  }

  /** Writes what is waiting and closes the file. */
  async close(): Promise<void> {
    this.#isClosing = true
    await this.#writing.run()
    await this.#close()
  }

  async #write(): Promise<void> {
    const [lines, isReopening] = [this.#waiting, this.#isReopening]
    this.#waiting = []
    this.#waitingCharacters = 0
    this.#isReopening = false
    if (lines.length === 0 && !isReopening) return
    const lost = this.#lost // more may be lost meanwhile
    try {
      const handle = await this.#open()
      const warning = `${new Date().toISOString()} WARNING ${lost} lines of this log were lost\n`
      const content = Buffer.from(`${lost > 0 ? warning : ''}${lines.join('')}`)
      await writeWhole(handle, [content])
      this.#bytes += content.length
      this.#lost -= lost
    } catch {
      this.#lost += lines.length // whatever it was: to log that a log cannot be written would fail again, for ever
      await this.#close()
    }
    if (!this.#isClosing) await sleep(GATHER_MS)
  }

  async #open(): Promise<FileHandle> {
    const week = weekOf(Date.now())
    const isTrusted = performance.now() - this.#lookedAtMs < TRUST_MS && this.#week >= week && this.#bytes < this.#limitBytes
    if (isTrusted && this.#handle !== undefined) return this.#handle
    if (this.#handle !== undefined && !(await this.#isCurrent(this.#handle))) await this.#close() // turned by another
    const handle = this.#handle ?? (await this.#begin())
    this.#bytes = (await handle.stat()).size
    this.#lookedAtMs = performance.now()
    if (this.#week >= week && this.#bytes < this.#limitBytes) return handle
    await this.#turn()
    return this.#begin()
  }

  async #begin(): Promise<FileHandle> {
    const handle = await openOrMake(this.#path)
    this.#handle = handle
    const { size, mtimeMs } = await handle.stat()
    this.#week = size === 0 ? weekOf(Date.now()) : weekOf(mtimeMs)
    this.#bytes = size
    if (size === 0 && this.#head !== undefined) await writeWhole(handle, [Buffer.from(`${this.#head}\n`)])
    return handle
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

  async #close(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close().catch(() => undefined) // of a full disk, perhaps; what was lost is counted already
  }

  async #turn(): Promise<void> {
    await this.#close()
    const monday = new Date((this.#week * 7 - 3) * DAY_MS).toISOString().slice(0, 10)
    const target = await this.#linkAsTurned(monday)
    if (target !== undefined && (await isSameFile(this.#path, target))) await remove(this.#path) // or another was quicker
    const turned = await this.#findTurned()
    for (const { entry } of turned.slice(0, -KEEP)) await remove(join(dirname(this.#path), entry))
  }

  // After those that are there, also where the first of them are gone: their names say which is the oldest.
  async #linkAsTurned(monday: string): Promise<string | undefined> {
    const numbers = (await this.#findTurned()).filter((each) => each.monday === monday).map(({ number }) => number)
    for (let number = Math.max(0, ...numbers) + 1; ; number++) {
      const target = `${this.#path}.${monday}${number === 1 ? '' : `-${number}`}`
      try {
        await putInPlace(this.#path, target)
        return target
      } catch (error) {
        if (systemCode(error) === 'ENOENT') return undefined // turned by another process at this moment
        if (systemCode(error) !== 'EEXIST') throw error
      }
    }
  }

  async #findTurned(): Promise<{ entry: string; monday: string; number: number }[]> {
    const [directory, name] = [dirname(this.#path), basename(this.#path)]
    const turned = (await readdir(directory)).flatMap((entry) => {
      const [, monday, number = '1'] = TURNED.exec(entry.startsWith(name) ? entry.slice(name.length) : '') ?? []
      return monday === undefined ? [] : [{ entry, monday, number: Number(number) }]
    })
    return turned.toSorted((a, b) => (a.monday === b.monday ? a.number - b.number : a.monday < b.monday ? -1 : 1))
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
