import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { remove, syncFile, writeWhole } from '../durable.ts'

const WRITE_BYTES = 128 * 1024 // one trip to the disk for many small chunks
const CROWDED_BYTES = 8 * 1024 * 1024 // of all files; above it each is written in small pieces, so that none has to wait
const CROWDED_WRITE_BYTES = 32 * 1024
const MOST_CHUNKS = 256 // held one by one; more are joined, since a chunk of one byte costs a hundred in memory

/** What a staged file holds. */
export interface Content {
  readonly bytes: number
  readonly sha256: string
  /** The bytes themselves where none of them is on disk yet. */
  readonly held?: Uint8Array<ArrayBuffer>
}

/** How many bytes of all files that are arriving wait in memory to be written. */
export interface Gathered {
  bytes: number
}

/**
 * A file that is still arriving. Its bytes are gathered, written in large pieces and hashed on the way; at most two
 * pieces are in memory, whatever the size of the file.
 */
export class StagedFile {
  readonly path: string
  readonly #create: (path: string) => Promise<FileHandle>
  readonly #gathered: Gathered
  readonly #hash = createHash('sha256')
  #handle: FileHandle | undefined
  #chunks: Buffer[] = []
  #waitingBytes = 0
  #bytes = 0
  #flush: Promise<void> | undefined
  #finish: Promise<Content> | undefined

  /**
   * @param gathered is shared by all files of this process
   * @param create makes the file, when enough bytes have gathered
   */
  constructor(path: string, gathered: Gathered, create: (path: string) => Promise<FileHandle>) {
    this.path = path
    this.#gathered = gathered
    this.#create = create
  }

  /** Takes the next bytes. Returns a promise where the sender should wait until the disk has caught up. */
  write(bytes: Buffer): Promise<void> | undefined {
    this.#hash.update(bytes)
    this.#bytes += bytes.length
    this.#waitingBytes += bytes.length
    this.#gathered.bytes += bytes.length
    this.#chunks.push(bytes)
    if (this.#chunks.length >= MOST_CHUNKS) this.#chunks = [Buffer.concat(this.#chunks)]
    if (this.#waitingBytes < (this.#gathered.bytes > CROWDED_BYTES ? CROWDED_WRITE_BYTES : WRITE_BYTES)) return undefined
    if (this.#flush !== undefined) return this.#flush
    this.#startFlush()
    return undefined
  }

  /** How many bytes have come. */
  get bytes(): number {
    return this.#bytes
  }

  /** Gives the content of a file that is so small that nothing of it is on disk; undefined where something is. */
  hold(): Content | undefined {
    if (this.#handle !== undefined || this.#flush !== undefined) return undefined
    const held = join(this.#takeWaiting(), this.#bytes)
    return { bytes: this.#bytes, sha256: this.#hash.digest('hex'), held }
  }

  /** Writes what is left and syncs the file: its content is durable, its name is not yet. */
  finish(): Promise<Content> {
    this.#finish ??= this.#finishOnce()
    return this.#finish
  }

  /** Removes the file and everything it holds; may be called at any time, and more than once. */
  async discard(): Promise<void> {
    this.#takeWaiting()
    await Promise.allSettled([this.#flush, this.#finish]) // a failure was told to whoever waited for it
    try {
      await this.#close()
    } finally {
      await remove(this.path)
    }
  }

  async #finishOnce(): Promise<Content> {
    await this.#flush
    await this.#writeOut()
    if (this.#handle !== undefined) await syncFile(this.#handle)
    await this.#close()
    return { bytes: this.#bytes, sha256: this.#hash.digest('hex') }
  }

  #startFlush(): void {
    const flush = this.#writeOut()
    this.#flush = flush
    const settled = () => {
      if (this.#flush === flush) this.#flush = undefined
    }
    flush.then(settled, () => undefined) // a failed flush stays, for `write` or `finish` to tell of
  }

  async #writeOut(): Promise<void> {
    const chunks = this.#takeWaiting()
    this.#handle ??= await this.#create(this.path)
    await writeWhole(this.#handle, chunks)
  }

  #takeWaiting(): Buffer[] {
    const chunks = this.#chunks
    this.#gathered.bytes -= this.#waitingBytes
    this.#chunks = []
    this.#waitingBytes = 0
    return chunks
  }

  async #close(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close()
  }
}

// In memory of its own, which another thread can take over.
function join(chunks: readonly Buffer[], bytes: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(bytes)
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.length
  }
  return whole
}
