import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Directories } from '../directories.ts'
import { createWhole, remove, syncDirectory } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { sha256Of } from './secret.ts'

const RECORD = /^[0-9a-f]{64}\.json$/

/**
 * Small JSON files in one directory, each named by the SHA-256 of a secret that is itself never stored. Every process
 * that shares the directory sees the same records, since none is kept in memory.
 */
export class Records {
  readonly #directory: string
  readonly #directories: Directories

  constructor(directory: string, directories: Directories) {
    this.#directory = directory
    this.#directories = directories
  }

  /** Writes a new record; it is durable when the promise is fulfilled. */
  async add(secret: string, value: object): Promise<void> {
    const path = this.#pathOf(secret)
    const content = `${JSON.stringify(value)}\n`
    await this.#directories.ensure(this.#directory)
    try {
      await createWhole(path, content)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error
      this.#directories.forget(this.#directory) // somebody has removed it while the server ran
      await this.#directories.ensure(this.#directory)
      await createWhole(path, content)
    }
    try {
      await syncDirectory(this.#directory)
    } catch (error) {
      await remove(path)
      throw error
    }
  }

  /** Reads the record of a secret, or gives undefined where there is none. */
  find(secret: string): Promise<unknown> {
    return readRecord(this.#pathOf(secret))
  }

  /** Removes the records that `isOver` says are over; returns how many. */
  async sweep(isOver: (value: unknown) => boolean): Promise<number> {
    let removed = 0
    for (const entry of await entriesOf(this.#directory)) {
      if (!RECORD.test(entry)) continue
      const path = join(this.#directory, entry)
      const value = await readRecord(path).catch(() => undefined) // not ours to judge; the next is looked at all the same
      if (value === undefined || !isOver(value)) continue
      await remove(path)
      removed++
    }
    return removed
  }

  #pathOf(secret: string): string {
    return join(this.#directory, `${sha256Of(secret)}.json`)
  }
}

async function readRecord(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    // Cut off by a crash before its secret was told to anyone: as good as not there.
    if (systemCode(error) === 'ENOENT' || error instanceof SyntaxError) return undefined
    throw error
  }
}

async function entriesOf(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}
