import { readdir, readFile, rm, stat, utimes, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { createFile, createWhole, moveOwn, type Directories } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { describeSelf, isRunning, parseOwner, type Owner } from './owner.ts'
import { StagedFile } from './staged-file.ts'

const OWNER_FILE = 'owner.json'
const OWN_DIRECTORY = /^\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}$/
const ADOPTED = 'adopted-'
const SILENT_MS = 5 * 60 * 1000 // file attributes may be cached for a minute on a shared file system

/** A staging directory that a process left behind when it died. */
export interface Abandoned {
  readonly path: string
  /** The name the process had: the end of the names of its receipts files. */
  readonly processName: string
}

/**
 * Where uploads lie until they are published: one directory for each process, so that several processes can share a
 * base directory and none touches what another is still receiving.
 */
export class Staging {
  readonly #root: string
  readonly #directories: Directories
  readonly #self: Owner = describeSelf()
  readonly path: string
  #count = 0

  /** @param name the name of this process, `<start>-<8 hex digits>` */
  constructor(root: string, name: string, directories: Directories) {
    this.#root = root
    this.#directories = directories
    this.path = join(root, name)
  }

  /** Makes this process's directory. */
  async open(): Promise<void> {
    await this.#directories.ensure(this.path)
    try {
      await createWhole(join(this.path, OWNER_FILE), JSON.stringify(this.#self))
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error
    }
  }

  /** Names a file that nobody has created yet. */
  newPath(extension: string): string {
    return join(this.path, `${this.#count++}${extension}`)
  }

  /** Begins a file; nothing is on disk until bytes have gathered. */
  stage(): StagedFile {
    return new StagedFile(this.newPath('.part'), (path) => this.#create(path))
  }

  /** Shows other machines that this process is alive. */
  async beat(): Promise<void> {
    const now = new Date()
    await utimes(join(this.path, OWNER_FILE), now, now)
  }

  /**
   * Takes over what dead processes left. Each directory is moved into this one's, which only one process can do; what a
   * process had adopted and not finished is adopted with it.
   */
  async adopt(): Promise<Abandoned[]> {
    const adopted = await this.#adoptedBy(this.path, '')
    for (const entry of await readdir(this.#root)) {
      const path = join(this.#root, entry)
      if (!OWN_DIRECTORY.test(entry) || path === this.path || !(await this.#isAbandoned(path))) continue
      const newPath = join(this.path, `${ADOPTED}${entry}`)
      if (await moveUnlessGone(path, newPath)) adopted.push(...(await this.#adoptedBy(newPath, entry)))
    }
    return adopted
  }

  /** Removes a directory that was adopted and whose publishes are complete. */
  async removeAdopted(abandoned: Abandoned): Promise<void> {
    await rm(abandoned.path, { recursive: true, force: true })
  }

  /** Removes this process's directory; what is still in it is left for the next start to look at. */
  async close(): Promise<void> {
    const left = await readdir(this.path)
    if (left.every((entry) => entry === OWNER_FILE)) await rm(this.path, { recursive: true, force: true })
  }

  // Somebody may have removed the whole base directory while the server ran.
  async #create(path: string): Promise<FileHandle> {
    try {
      return await createFile(path)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error
      this.#directories.forget(this.path)
      await this.open()
      return createFile(path)
    }
  }

  // The innermost first, so that a directory is removed after what it holds.
  async #adoptedBy(path: string, processName: string): Promise<Abandoned[]> {
    const found: Abandoned[] = []
    for (const entry of await readdir(path)) {
      if (entry.startsWith(ADOPTED)) found.push(...(await this.#adoptedBy(join(path, entry), entry.slice(ADOPTED.length))))
    }
    if (processName !== '') found.push({ path, processName })
    return found
  }

  async #isAbandoned(path: string): Promise<boolean> {
    const running = await this.#ownerRuns(path)
    if (running !== undefined) return !running
    const beatMs = (await modifiedMs(join(path, OWNER_FILE))) ?? (await modifiedMs(path))
    const nowMs = await modifiedMs(join(this.path, OWNER_FILE)) // by the clock of the file system, which both share
    return beatMs !== undefined && nowMs !== undefined && nowMs - beatMs > SILENT_MS
  }

  async #ownerRuns(path: string): Promise<boolean | undefined> {
    try {
      const owner = parseOwner(await readFile(join(path, OWNER_FILE), 'utf8'))
      return owner === undefined ? undefined : isRunning(owner, this.#self)
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined // just begun, or just adopted by another
      throw error
    }
  }
}

async function moveUnlessGone(path: string, newPath: string): Promise<boolean> {
  try {
    await moveOwn(path, newPath)
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}

async function modifiedMs(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}
