import { mkdir, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { moveOwn, putInPlace, remove, syncFile } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { forEachBounded } from './bounded.ts'
import { syncNames } from './new-directory.ts'
import { readStoredContent } from './stored-content.ts'

const MOST_FILES = 64 // as many are open at once
const MOST_BYTES = 64 * 1024 * 1024
const AT_ONCE = 16
const DIRECTORY_MODE = 0o700

/** A file that is written and has no name yet. */
export interface Unplaced {
  readonly handle: FileHandle
  /** Where it was written. */
  readonly unfinished: string
  /** Relative to the tree. */
  readonly path: string
  readonly bytes: number
}

/** A name that has been taken meanwhile by another file. */
export class TakenError extends Error {}

/**
 * Gives files their names in a tree: they are synced first, many of them together, so that what has a name is whole after
 * a power cut too.
 */
export class Placement {
  readonly #root: string
  readonly #made = new Set<string>()
  readonly #unsynced = new Set<string>() // directories with new names in them
  #waiting: Unplaced[] = []
  #bytes = 0

  constructor(root: string) {
    this.#root = root
  }

  /** Takes a file; it gets its name now or with others later. Throws a `TakenError`. */
  async add(file: Unplaced): Promise<void> {
    this.#waiting.push(file)
    this.#bytes += file.bytes
    if (this.#waiting.length >= MOST_FILES || this.#bytes >= MOST_BYTES) await this.#place()
  }

  /** Takes note of a file that is there already: its name may not be durable. */
  note(path: string): void {
    for (let directory = dirname(path); !this.#unsynced.has(directory); directory = dirname(directory)) this.#unsynced.add(directory)
  }

  /** Gives every file its name, and makes all names durable. Throws a `TakenError`. */
  async settle(): Promise<void> {
    await this.#place()
    await forEachBounded(this.#unsynced, AT_ONCE, (directory) => syncNames(join(this.#root, directory)))
    this.#unsynced.clear()
  }

  /** Closes what is open; what has no name yet gets none. */
  async close(): Promise<void> {
    const files = this.#waiting
    this.#waiting = []
    for (const { handle } of files) await handle.close()
  }

  async #place(): Promise<void> {
    const files = this.#waiting
    await forEachBounded(files, files.length, ({ handle }) => syncFile(handle))
    await this.close()
    this.#bytes = 0
    for (const { path } of files) await this.#makeDirectory(dirname(path))
    await forEachBounded(files, AT_ONCE, (file) => this.#link(file))
  }

  async #makeDirectory(directory: string): Promise<void> {
    if (this.#made.has(directory) || directory === '.') return
    await this.#makeDirectory(dirname(directory))
    try {
      await mkdir(join(this.#root, directory), DIRECTORY_MODE)
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error
    }
    this.#made.add(directory)
  }

  async #link({ unfinished, path }: Unplaced): Promise<void> {
    const place = join(this.#root, path)
    this.note(path)
    try {
      await putInPlace(unfinished, place)
    } catch (error) {
      if (systemCode(error) === 'EEXIST') throw new TakenError(place)
      if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(systemCode(error) ?? '')) throw error
      if ((await readStoredContent(place)).type !== 'missing') throw new TakenError(place)
      return moveOwn(unfinished, place) // a file system without links, as on a USB stick
    }
    await remove(unfinished)
  }
}
