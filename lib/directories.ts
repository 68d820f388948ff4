import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncDirectory } from './durable.ts'
import { systemCode } from './errors.ts'
import { findStats, formatIdentity } from './identity.ts'
import { SharedRuns } from './shared-run.ts'

const DIRECTORY_MODE = 0o700

/** Directories that this process has made sure of: each is there, is no link, and its name is durable. */
export class Directories {
  readonly #ensured = new Map<string, Promise<string>>()
  readonly #checks = new SharedRuns((path) => this.#check(path))

  /**
   * Makes a directory and its parents where they are missing, and syncs what holds their names. That is done once even
   * where the directory exists, since whoever made it may not have synced it, and again for one that took its place.
   */
  async ensure(path: string): Promise<void> {
    if (this.#ensured.has(path)) await this.#checks.run(path)
    await this.#ensureAnew(path)
  }

  /** Makes sure again at the next `ensure`; for a directory that was found to be gone. */
  forget(path: string): void {
    this.#ensured.delete(path)
  }

  // Forgets a directory that is gone, or whose place another has taken.
  async #check(path: string): Promise<void> {
    const known = this.#ensured.get(path)
    if (known === undefined) return
    const identity = await known
    if ((await findDirectory(path)) !== identity && this.#ensured.get(path) === known) this.forget(path)
  }

  #ensureAnew(path: string): Promise<string> {
    const others = this.#ensured.get(path)
    if (others !== undefined) return others
    const making = this.#make(path)
    this.#ensured.set(path, making)
    making.catch(() => this.forget(path))
    return making
  }

  async #make(path: string): Promise<string> {
    if (!(await mkdirUnlessThere(path))) {
      await this.ensure(dirname(path))
      await mkdirUnlessThere(path)
    }
    const identity = await findDirectory(path)
    if (identity === undefined) throw new Error(`${path} was removed as soon as it was made`)
    await syncDirectory(dirname(path))
    return identity
  }
}

/** Returns false where the directory that is to hold it is missing. */
async function mkdirUnlessThere(path: string): Promise<boolean> {
  try {
    await mkdir(path, DIRECTORY_MODE)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    if (systemCode(error) !== 'EEXIST') throw error
  }
  return true
}

/** Throws where `path` is a link, a file or anything else but a directory: nothing is written through it. */
async function findDirectory(path: string): Promise<string | undefined> {
  const found = await findStats(path)
  if (found === undefined) return undefined
  if (!found.isDirectory()) throw new Error(`${path} is not a directory, and links are not followed`)
  return formatIdentity(found)
}
