import { readdir, readFile, rm, rmdir, stat, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { RecipientList } from '../crypt/recipient-list.ts'
import type { Directories } from '../directories.ts'
import { createFile, createReadable, createWhole, moveOwn, touch } from '../durable.ts'
import { systemCode } from '../errors.ts'
import type { Arriving } from './arriving.ts'
import { Gathered } from './gathered.ts'
import { describeSelf, isRunning, parseOwner, type Owner } from './owner.ts'
import { SealedFile } from './sealed-file.ts'
import { StagedFile } from './staged-file.ts'

const OWNER_FILE = 'owner.json'
const OWN_DIRECTORY = /^\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}$/
const ADOPTED = 'adopted-'
const SILENT_MS = 5 * 60 * 1000 // file attributes may be cached for a minute on a shared file system

/**
 * Where uploads lie until they are published: one directory for each process, so that several processes can share a
 * base directory and none touches what another is still receiving.
 */
export class Staging {
  readonly #root: string
  readonly #directories: Directories
  readonly #self: Owner = describeSelf()
  readonly path: string
  readonly #gathered = new Gathered()
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
    return `${this.path}/${this.#count++}${extension}` // not by `join`: each file of each form comes here
  }

  /**
   * Begins a file; nothing is on disk until bytes have gathered.
   * @param expected who will probably read it, where it is to be stored encrypted
   */
  stage(expected: RecipientList | undefined): Arriving {
    const path = this.newPath('.part')
    if (expected === undefined) return new StagedFile(path, this.#gathered, (each) => this.create(each))
    return new SealedFile(path, expected, this.#gathered, (each) => this.#make(() => createReadable(each)))
  }

  /** Creates a file, readable by its owner only. */
  create(path: string): Promise<FileHandle> {
    return this.#make(() => createFile(path))
  }

  /** Creates a file of `stage` that is not on disk yet, with its whole content; its content is then durable. */
  createStaged(path: string, content: readonly Uint8Array[]): Promise<void> {
    return this.#make(() => createWhole(path, content))
  }

  /** Shows other machines that this process is alive. */
  async beat(): Promise<void> {
    try {
      await touch(join(this.path, OWNER_FILE))
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error
      await this.open() // somebody has removed the base directory while the server ran
    }
  }

  /**
   * Takes over what dead processes left, and gives the paths. Each directory is moved into this one's, which only one
   * process can do; what a process had adopted and not finished is adopted with it.
   */
  async adopt(): Promise<string[]> {
    const adopted = await adoptedIn(this.path)
    for (const entry of await readdir(this.#root, { withFileTypes: true })) {
      const path = join(this.#root, entry.name)
      if (!entry.isDirectory() || !OWN_DIRECTORY.test(entry.name) || path === this.path) continue
      if (!(await this.#isAbandoned(path))) continue
      const newPath = join(this.path, `${ADOPTED}${entry.name}`)
      if (await moveUnlessGone(path, newPath)) adopted.push(...(await adoptedIn(newPath)), newPath)
    }
    return adopted
  }

  /** Removes a directory that was adopted and whose publishes are complete; what it had adopted itself may stay. */
  async removeAdopted(path: string): Promise<void> {
    const entries = await readdir(path)
    const others = entries.filter((entry) => !entry.startsWith(ADOPTED))
    for (const entry of others) await rm(join(path, entry), { recursive: true, force: true })
    if (others.length === entries.length) await rmdir(path)
  }

  /** Removes this process's directory; what is still in it is left for the next start to look at. */
  async close(): Promise<void> {
    try {
      const left = await readdir(this.path)
      if (left.every((entry) => entry === OWNER_FILE)) await rm(this.path, { recursive: true, force: true })
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error // the base directory is gone, and this one with it
    }
  }

  async #make<Made>(make: () => Promise<Made>): Promise<Made> {
    try {
      return await make()
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error
      await this.open() // as in `beat`
      return make()
    }
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
      if (systemCode(error) === undefined) throw error
      return undefined // just begun, just adopted by another, or not to be read: its beats tell
    }
  }
}

// The innermost first, so that a directory is removed after what it holds.
async function adoptedIn(path: string): Promise<string[]> {
  const found: string[] = []
  for (const entry of await readdir(path)) {
    const inner = join(path, entry)
    if (entry.startsWith(ADOPTED)) found.push(...(await adoptedIn(inner)), inner)
  }
  return found
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
