import { lchown, lstat, mkdir, readdir, rmdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncDirectory, type FileOwner } from './durable.ts'
import { systemCode } from './errors.ts'
import { findStats, formatIdentity } from './identity.ts'
import { SharedRuns } from './shared-run.ts'

const DIRECTORY_MODE = 0o700

/** Something else stands where a directory should be: a link, perhaps, through which nothing is written. */
export class NotDirectoryError extends Error {
  constructor(path: string) {
    super(`${path} is not a directory, and links are not followed`)
  }
}

/** Gives the names in a directory; none where it is not there. */
export async function entriesOf(path: string): Promise<string[]> {
  try {
    return await readdir(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}

/** Directories that this process has made sure of: each is there, is no link, and its name is durable. */
export class Directories {
  readonly #ensured = new Map<string, Promise<string>>()
  readonly #checks = new SharedRuns((path) => this.#check(path))
  readonly #owner: FileOwner | undefined

  /** @param owner whose the directories that are made are to be; this process's where it is not given */
  constructor(owner?: FileOwner) {
    this.#owner = owner
  }

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

  async #give(path: string): Promise<void> {
    const owner = this.#owner
    if (owner !== undefined && (await lstat(path)).uid !== owner.uid) await lchown(path, owner.uid, owner.gid)
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
    let outcome = await mkdirUnlessThere(path)
    if (outcome === 'no parent') {
      await this.ensure(dirname(path))
      outcome = await mkdirUnlessThere(path)
    }
    if (outcome === 'made') await this.#give(path)
    const identity = await findDirectory(path)
    if (identity === undefined) throw new Error(`${path} was removed as soon as it was made`)
    try {
      await syncDirectory(dirname(path))
    } catch (error) {
      if (outcome === 'made') await Promise.allSettled([rmdir(path)]) // a second sync of this name would prove nothing
      throw error
    }
    return identity
  }
}

async function mkdirUnlessThere(path: string): Promise<'made' | 'there' | 'no parent'> {
  try {
    await mkdir(path, DIRECTORY_MODE)
    return 'made'
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 'no parent'
    if (systemCode(error) === 'EEXIST') return 'there'
    throw error
  }
}

/** Throws where `path` is a link, a file or anything else but a directory: nothing is written through it. */
async function findDirectory(path: string): Promise<string | undefined> {
  const found = await findStats(path)
  if (found === undefined) return undefined
  if (!found.isDirectory()) throw new NotDirectoryError(path)
  return formatIdentity(found)
}
