import { createHash } from 'node:crypto'
import { rm, type FileHandle } from 'node:fs/promises'
import { join, parse } from 'node:path'
import { createFile, remove, writeWhole } from '../durable.ts'
import { makeDirectories } from './new-directory.ts'
import { Placement, TakenError } from './placement.ts'
import { foldName } from './segment.ts'
import { readStoredContent, type StoredContent } from './stored-content.ts'

const UNFINISHED = '.unfinished'
const MISSING = { type: 'missing' } as const

/** A file of the tree, as it was written or found. */
export interface Written {
  /** Relative to the tree. */
  readonly path: string
  readonly bytes: number
  readonly sha256: string
}

/** Gives the path of a content that does not belong where it was to go. */
export type FindOther = (described: Omit<Written, 'path'>) => string | undefined

/** An export cannot go on; the message is for whoever runs it. */
export class ExportError extends Error {}

/**
 * The directory that an export is written to. A file appears under its name whole, or not at all, also where the power is
 * cut; what stands there already with the same content is kept, and with another content it is never replaced.
 */
export class ExportTree {
  readonly root: string
  readonly #onBytes: (bytes: number) => void
  readonly #onWritten: (written: Written) => Promise<void> | void
  readonly #placement: Placement
  readonly #taken = new Set<string>()
  readonly #copies = new Map<string, number>() // to count from 2 again takes long where many have one name
  #count = 0

  /**
   * @param onBytes is told of bytes as they are written, or compared with what is there
   * @param onWritten is told of each file when it has its name
   */
  constructor(root: string, onBytes: (bytes: number) => void, onWritten: (written: Written) => Promise<void> | void) {
    this.root = root
    this.#placement = new Placement(root)
    this.#onBytes = onBytes
    this.#onWritten = onWritten
  }

  /** Makes the directory, and removes what an interrupted export had not finished. */
  async open(): Promise<void> {
    await this.close()
    await makeDirectories(join(this.root, UNFINISHED))
  }

  /** Removes what is only needed while files are written. */
  async close(): Promise<void> {
    await this.#placement.close()
    await rm(join(this.root, UNFINISHED), { recursive: true, force: true })
  }

  /** Gives every file that was written its name, and makes all of it durable. Throws an `ExportError`. */
  async settle(): Promise<void> {
    await this.#named(this.#placement.settle())
  }

  /** Names a file for what is not finished. */
  newPath(): string {
    return join(this.root, UNFINISHED, String(this.#count++))
  }

  /**
   * Writes a file; it has its name at the latest when the tree is settled. Where the content throws, nothing is left of it.
   * @param wish its path; where this export has written that path already, a number is added
   * @param findOther is told of the content when all of it has been read, and gives another path for what does not belong there
   */
  async write(wish: string, content: AsyncIterable<Buffer> | Iterable<Buffer>, findOther: FindOther = () => undefined): Promise<Written> {
    const path = this.#findFree(wish)
    const found = await readStoredContent(join(this.root, path))
    const written = found.type === 'missing' ? await this.#create(path, content, findOther) : { path, ...(await this.#drain(content)) }
    if (found.type !== 'missing') this.#keep(found, written)
    this.#taken.add(foldName(path)) // also where it went elsewhere: the same is to come of an export that is run again
    this.#taken.add(foldName(written.path))
    await this.#onWritten(written)
    return written
  }

  #keep(found: StoredContent, { path, sha256 }: Written): void {
    if (!(found.type === 'file' && found.sha256 === sha256)) throw differs(join(this.root, path))
    this.#placement.note(path)
  }

  // Names come from participants in the end, and no two of theirs may stop an export.
  #findFree(wish: string): string {
    const { dir, name, ext } = parse(wish)
    const wished = foldName(wish)
    let copy = this.#copies.get(wished) ?? 1
    const pathOf = () => (copy === 1 ? wish : join(dir, `${name}-${copy}${ext}`))
    while (this.#taken.has(foldName(pathOf()))) copy++
    if (copy > 1) this.#copies.set(wished, copy) // most names come once, and there may be hundreds of thousands
    return pathOf()
  }

  async #create(wished: string, content: AsyncIterable<Buffer> | Iterable<Buffer>, findOther: FindOther): Promise<Written> {
    const unfinished = this.newPath()
    const handle = await createFile(unfinished)
    const described = await this.#drain(content, handle).catch(async (error: unknown) => {
      await handle.close()
      await remove(unfinished)
      throw error
    })
    const other = findOther(described)
    const written = { path: other === undefined ? wished : this.#findFree(other), ...described }
    const found = other === undefined ? MISSING : await readStoredContent(join(this.root, written.path))
    if (found.type === 'missing') await this.#named(this.#placement.add({ handle, unfinished, ...written }))
    else {
      await handle.close()
      await remove(unfinished)
      this.#keep(found, written)
    }
    return written
  }

  async #drain(content: AsyncIterable<Buffer> | Iterable<Buffer>, handle?: FileHandle): Promise<{ bytes: number; sha256: string }> {
    const hash = createHash('sha256')
    let bytes = 0
    for await (const piece of content) {
      hash.update(piece)
      bytes += piece.length
      if (handle !== undefined) await writeWhole(handle, [piece])
      this.#onBytes(piece.length)
    }
    return { bytes, sha256: hash.digest('hex') }
  }

  async #named(work: Promise<void>): Promise<void> {
    try {
      await work
    } catch (error) {
      throw error instanceof TakenError ? differs(error.message) : error
    }
  }
}

function differs(path: string): ExportError {
  return new ExportError(`${path} is there already and differs. It was left as it is; export to another directory.`)
}
