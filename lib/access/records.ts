import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { entriesOf, type Directories } from '../directories.ts'
import { createWhole, remove, syncDirectory, type FileOwner } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { parseJson } from '../json.ts'

const RECORD = /^[0-9a-f]{64}\.json$/

/**
 * Small JSON files in one directory, each named by the SHA-256 of a secret that is itself never stored. Every process
 * that shares the directory sees the same records, since none is kept in memory.
 */
export class Records {
  readonly #directory: string
  readonly #directories: Directories
  readonly #owner: FileOwner | undefined

  /** @param owner whose files new records are to be; this process's where it is not given */
  constructor(directory: string, directories: Directories, owner?: FileOwner) {
    this.#directory = directory
    this.#directories = directories
    this.#owner = owner
  }

  /** Writes a new record, named by the SHA-256 of its secret; it is durable when the promise is fulfilled. */
  async add(sha256: string, value: object): Promise<void> {
    const path = this.#pathOf(sha256)
    const content = `${JSON.stringify(value)}\n`
    await this.#directories.ensure(this.#directory)
    try {
      await createWhole(path, content, this.#owner)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error
      this.#directories.forget(this.#directory) // somebody has removed it while the server ran
      await this.#directories.ensure(this.#directory)
      await createWhole(path, content, this.#owner)
    }
    try {
      await syncDirectory(this.#directory)
    } catch (error) {
      await remove(path)
      throw error
    }
  }

  /** Reads the record of the secret with this SHA-256, or gives undefined where there is none. */
  find(sha256: string): Promise<unknown> {
    return readRecord(this.#pathOf(sha256))
  }

  /** Reads every record, with the SHA-256 that it is named by; what is no record, or cannot be read, is passed over. */
  async *all(): AsyncGenerator<{ readonly sha256: string; readonly value: unknown }> {
    for (const entry of await entriesOf(this.#directory)) {
      if (!RECORD.test(entry)) continue
      const value = await readRecord(join(this.#directory, entry)).catch(() => undefined) // not ours to judge
      if (value !== undefined) yield { sha256: entry.slice(0, 64), value }
    }
  }

  /** Removes records by the SHA-256 that they are named by; that they are gone is durable when the promise is fulfilled. */
  async removeAll(sha256s: readonly string[]): Promise<void> {
    for (const sha256 of sha256s) await remove(this.#pathOf(sha256))
    if (sha256s.length > 0) await syncDirectory(this.#directory)
  }

  /** Removes the records that `isOver` says are over; returns how many. */
  async sweep(isOver: (value: unknown) => boolean): Promise<number> {
    let removed = 0
    for await (const { sha256, value } of this.all()) {
      if (!isOver(value)) continue
      await remove(this.#pathOf(sha256))
      removed++
    }
    return removed
  }

  #pathOf(sha256: string): string {
    return join(this.#directory, `${sha256}.json`)
  }
}

async function readRecord(path: string): Promise<unknown> {
  try {
    return parseJson(await readFile(path, 'utf8')) // cut off by a crash before its secret was told to anyone: as good as not there
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}
