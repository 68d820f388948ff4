import { lchown, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { findChainEnd } from '../chain/chain-end.ts'
import { ChainFile } from '../chain/chain-file.ts'
import type { Directories } from '../directories.ts'
import { moveOwn, type FileOwner } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { findStats } from '../identity.ts'
import { formatStart, type Entry } from './entry.ts'

/** What the file of a month works with. */
export interface MonthFileParts {
  readonly directory: string
  readonly directories: Directories
  /** Who writes it, such as `u1000-1a2b3c4d`: a user of a machine. */
  readonly keeper: string
  /** 8 hex digits that no other process has. */
  readonly self: string
  /** Whose files are to be; this process's where it is not given. */
  readonly owner: FileOwner | undefined
}

/**
 * The file of a month that one user's commands on one machine write one after another: a command an hour is to leave no
 * file an hour. Whoever writes takes the file away from the others by giving it a name of its own, which works for one of
 * them only, and gives it back. Where none is to be had another is begun. What was taken by a process that then died keeps
 * that name: it is read like the others, and nobody writes it again.
 */
export class MonthFile {
  readonly #parts: MonthFileParts

  constructor(parts: MonthFileParts) {
    this.#parts = parts
  }

  /** Appends an entry; it is durable when the promise is fulfilled. */
  async append(entry: Entry): Promise<void> {
    await this.#makeDirectory()
    const { directory, directories, keeper, self, owner } = this.#parts
    let path = ''
    const newPath = () => (path = this.#takenPathOf(`${formatStart(new Date(entry.at))}-${self}.${keeper}`))
    const file = new ChainFile<Entry>(directory, newPath, directories, owner)
    const taken = await this.#take(entry.at.slice(0, 7).replace('-', ''))
    if (taken !== undefined) file.resume((path = taken.path), taken.end)
    try {
      await file.append(entry)
    } catch (error) {
      await Promise.allSettled([file.close().then(() => giveBack(path))]) // what failed first is what matters
      throw error
    }
    await file.close()
    await giveBack(path)
  }

  // Of two who take one file the second finds that it is gone. One that does not end with a line is never written again.
  async #take(month: string) {
    const { directory, keeper } = this.#parts
    for (const name of (await readdir(directory)).toSorted()) {
      if (!name.startsWith(month) || !name.endsWith(`.${keeper}.ndjson`)) continue
      const path = this.#takenPathOf(name.slice(0, -'.ndjson'.length))
      try {
        await moveOwn(join(directory, name), path)
      } catch (error) {
        if (systemCode(error) === 'ENOENT') continue
        throw error
      }
      const end = await findChainEnd(path)
      if (end !== undefined) return { path, end }
    }
    return undefined
  }

  #takenPathOf(name: string): string {
    return join(this.#parts.directory, `${name}.taken-${this.#parts.self}.ndjson`)
  }

  async #makeDirectory(): Promise<void> {
    const { directory, directories, owner } = this.#parts
    await directories.ensure(directory)
    if (owner === undefined) return
    const found = await findStats(directory)
    if (found !== undefined && Number(found.uid) !== owner.uid) await lchown(directory, owner.uid, owner.gid)
  }
}

async function giveBack(path: string): Promise<void> {
  await moveOwn(path, path.replace(/\.taken-\w+\.ndjson$/, '.ndjson'))
}
