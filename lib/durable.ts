import { constants, type BigIntStats } from 'node:fs'
import { link, lstat, mkdir, open, rename, unlink, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { systemCode } from './errors.ts'

const DIRECTORY_MODE = 0o700
const FILE_MODE = 0o600

/** Creates a file that must not exist yet, for writing, readable by its owner only. */
export function createFile(path: string): Promise<FileHandle> {
  return open(path, 'wx', FILE_MODE)
}

/** Opens a file for appending, readable by its owner only; creates it where it does not exist. */
export function openForAppending(path: string): Promise<FileHandle> {
  return open(path, 'a', FILE_MODE)
}

/** Opens a file for appending that must be there: one that was removed is not to come back empty. */
export function reopenForAppending(path: string): Promise<FileHandle> {
  return open(path, constants.O_WRONLY | constants.O_APPEND)
}

/** Writes all of the buffers at the end of the file; `writev` may store less than it was given and still succeed. */
export async function writeWhole(handle: FileHandle, buffers: readonly Buffer[]): Promise<void> {
  let rest = buffers.filter((buffer) => buffer.length > 0)
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(rest)
    rest = skip(rest, bytesWritten)
  }
}

function skip(buffers: Buffer[], bytes: number): Buffer[] {
  let index = 0
  let left = bytes
  for (; index < buffers.length; index++) {
    const length = buffers[index]?.length ?? 0
    if (left < length) break
    left -= length
  }
  const [first, ...others] = buffers.slice(index)
  return first === undefined ? [] : [first.subarray(left), ...others]
}

/**
 * Creates a small file with its whole content, synced; where that fails no file is left.
 * The name itself is durable only once its directory has been synced.
 */
export async function createWhole(path: string, content: string): Promise<void> {
  const handle = await createFile(path)
  try {
    await writeWhole(handle, [Buffer.from(content)])
    await handle.sync()
  } catch (error) {
    await remove(path)
    throw error
  } finally {
    await handle.close()
  }
}

/**
 * Gives a file a second name; fails with `EEXIST` where another file has it, so that nothing is ever replaced. Where
 * the file has that name already it is done: over NFS a link may be made and its answer lost.
 */
export async function putInPlace(path: string, newPath: string): Promise<void> {
  try {
    await link(path, newPath)
  } catch (error) {
    if (systemCode(error) !== 'EEXIST' || !(await isSameFile(path, newPath))) throw error
  }
}

/** Says whether two names are names of one file. */
export async function isSameFile(path: string, otherPath: string): Promise<boolean> {
  const [identity, other] = await Promise.all([identityOf(path), identityOf(otherPath)])
  return identity !== undefined && identity === other
}

/** Gives a file or a directory another name. Only for what is ours: `rename` replaces what stands there. */
export async function moveOwn(path: string, newPath: string): Promise<void> {
  await rename(path, newPath)
}

/** Shows that a file is still looked after: sets when it was last modified, by the clock of its file system, not by ours. */
export async function touch(path: string): Promise<void> {
  const handle = await open(path, 'r+')
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(1), 0, 1, 0)
    await handle.write(buffer, 0, bytesRead, 0)
  } finally {
    await handle.close()
  }
}

/** Removes a name; one that is not there is as good as removed. */
export async function remove(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
  }
}

/**
 * Runs `work` for all who ask for it. Who asks while it runs waits for the next run, which all who wait share: what they
 * did before they asked is then covered by it.
 */
export class SharedRun {
  readonly #work: () => Promise<void>
  #running: Promise<void> | undefined
  #waiting: Promise<void> | undefined

  constructor(work: () => Promise<void>) {
    this.#work = work
  }

  /** Is settled as the run that began after this call. */
  run(): Promise<void> {
    if (this.#waiting !== undefined) return this.#waiting
    if (this.#running === undefined) return this.#start()
    const next = () => {
      this.#waiting = undefined
      return this.#start()
    }
    this.#waiting = this.#running.then(next, next)
    return this.#waiting
  }

  /** Says whether nothing runs and nobody waits. */
  get isIdle(): boolean {
    return this.#running === undefined && this.#waiting === undefined
  }

  #start(): Promise<void> {
    this.#running = this.#work().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }
}

const directorySyncs = new Map<string, SharedRun>()

/** Makes the names in a directory durable. Callers at the same time share one `fsync`, begun after each of them asked. */
export async function syncDirectory(path: string): Promise<void> {
  let sync = directorySyncs.get(path)
  if (sync === undefined) {
    sync = new SharedRun(() => fsyncDirectory(path))
    directorySyncs.set(path, sync)
  }
  try {
    await sync.run()
  } finally {
    if (sync.isIdle && directorySyncs.get(path) === sync) directorySyncs.delete(path)
  }
}

// Opened by its path each time: a descriptor kept open would go on syncing a directory that somebody has replaced.
async function fsyncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Directories that this process has made sure of: each is there, is no link, and its name is durable. */
export class Directories {
  readonly #ensured = new Map<string, Promise<string>>()

  /**
   * Makes a directory and its parents where they are missing, and syncs what holds their names. That is done once even
   * where the directory exists, since whoever made it may not have synced it, and again for one that took its place.
   */
  async ensure(path: string): Promise<void> {
    const known = this.#ensured.get(path)
    if (known !== undefined) {
      const identity = await known
      if ((await findDirectory(path)) === identity) return
      if (this.#ensured.get(path) === known) this.forget(path)
    }
    await this.#ensureAnew(path)
  }

  /** Makes sure again at the next `ensure`; for a directory that was found to be gone. */
  forget(path: string): void {
    this.#ensured.delete(path)
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
      await mkdir(path, DIRECTORY_MODE)
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
  const found = await find(path)
  if (found === undefined) return undefined
  if (!found.isDirectory()) throw new Error(`${path} is not a directory, and links are not followed`)
  return formatIdentity(found)
}

async function identityOf(path: string): Promise<string | undefined> {
  const found = await find(path)
  return found === undefined ? undefined : formatIdentity(found)
}

async function find(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true })
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

// The time of birth too: ext4 gives the number of a directory that was removed to the next one that is made.
function formatIdentity({ dev, ino, birthtimeNs }: BigIntStats): string {
  return [dev, ino, birthtimeNs].join(':')
}
