import type { FileHandle } from 'node:fs/promises'
import { openAgain, remove, writeWhole } from '../durable.ts'

const WRITE_BYTES = 128 * 1024 // one trip to the disk for many small chunks
const CROWDED_BYTES = 8 * 1024 * 1024 // of all files; above it each is written in small pieces, so that none has to wait
const CROWDED_WRITE_BYTES = 32 * 1024
const MOST_CHUNKS = 256 // held one by one; more are joined, since a chunk of one byte costs a hundred in memory

/** How many bytes of all files that are arriving wait in memory to be written. */
export interface Gathered {
  bytes: number
}

/**
 * A file whose bytes come little by little. They are gathered and written in large pieces; at most two pieces are in
 * memory, whatever the size of the file.
 */
export class GrowingFile {
  readonly path: string
  readonly #create: (path: string) => Promise<FileHandle>
  readonly #gathered: Gathered
  #handle: FileHandle | undefined
  #chunks: Buffer[] = []
  #waitingBytes = 0
  #flush: Promise<void> | undefined

  /**
   * @param gathered is shared by all files of this process
   * @param create makes the file, when enough bytes have gathered
   */
  constructor(path: string, gathered: Gathered, create: (path: string) => Promise<FileHandle>) {
    this.path = path
    this.#gathered = gathered
    this.#create = create
  }

  /** Says whether anything of it is on disk, or on its way there. */
  get isOnDisk(): boolean {
    return this.#handle !== undefined || this.#flush !== undefined
  }

  /** Takes the next bytes. Returns a promise where the sender should wait until the disk has caught up. */
  write(bytes: Buffer): Promise<void> | undefined {
    this.#waitingBytes += bytes.length
    this.#gathered.bytes += bytes.length
    this.#chunks.push(bytes)
    if (this.#chunks.length >= MOST_CHUNKS) this.#chunks = [Buffer.concat(this.#chunks)]
    if (this.#waitingBytes < (this.#gathered.bytes > CROWDED_BYTES ? CROWDED_WRITE_BYTES : WRITE_BYTES)) return undefined
    if (this.#flush !== undefined) return this.#flush
    this.#startFlush()
    return undefined
  }

  /** Takes out what is not on its way to the disk yet. */
  takeWaiting(): Buffer[] {
    const chunks = this.#chunks
    this.#gathered.bytes -= this.#waitingBytes
    this.#chunks = []
    this.#waitingBytes = 0
    return chunks
  }

  /** Writes what is left, and gives the file, which stays open. */
  async end(): Promise<FileHandle> {
    await this.#flush
    return this.#writeOut()
  }

  /** Gives the file after `end`, opened again where it was closed. */
  async reopen(): Promise<FileHandle> {
    this.#handle ??= await openAgain(this.path)
    return this.#handle
  }

  /** Closes the file where it is open. */
  async close(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close()
  }

  /** Removes the file and everything it holds; may be called at any time but while `end` is under way, and more than once. */
  async discard(): Promise<void> {
    this.takeWaiting()
    await Promise.allSettled([this.#flush]) // a failure was told to whoever waited for it
    try {
      await this.close()
    } finally {
      await remove(this.path)
    }
  }

  #startFlush(): void {
    const flush = this.#writeOut().then(() => undefined)
    this.#flush = flush
    const settled = () => {
      if (this.#flush === flush) this.#flush = undefined
    }
    flush.then(settled, () => undefined) // a failed flush stays, for `write` or `end` to tell of
  }

  async #writeOut(): Promise<FileHandle> {
    const chunks = this.takeWaiting()
    this.#handle ??= await this.#create(this.path)
    await writeWhole(this.#handle, chunks)
    return this.#handle
  }
}
