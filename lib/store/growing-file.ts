import type { FileHandle } from 'node:fs/promises'
import { Pieces } from '../crypt/pieces.ts'
import { openAgain, remove, writeWhole } from '../durable.ts'
import { BLOCK_BYTES, type DirectWriter, type Slab } from './direct-writer.ts'

const WRITE_BYTES = 128 * 1024 // one trip to the disk for many small chunks
const CROWDED_BYTES = 8 * 1024 * 1024 // of all files; above it each is written in small pieces, one after another
const CROWDED_WRITE_BYTES = 32 * 1024
const FAST_BYTES_PER_MS = 4000 // what comes as fast is gathered in larger pieces, which go past the page cache
const BURST_BYTES = 256 * 1024 // may have waited in the connection while others were looked after, and tell of no speed

/** What all files share that are arriving in one process. */
export interface Gathered {
  /** How many bytes of them are in memory and not written yet, but for those in slabs. */
  bytes: number
  readonly direct: DirectWriter
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
  #direct: FileHandle | undefined // of the same file
  #slab: Slab | undefined // what comes before the bytes that wait
  readonly #waiting = new Pieces()
  #writtenBytes = 0
  readonly #beganAtMs = performance.now()
  #isFast = false
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
    this.#waiting.push(bytes)
    this.#gathered.bytes += bytes.length
    if (this.#isFast || this.#slab !== undefined) this.#fillSlab()
    if (!this.#isEnough()) return undefined
    if (this.#flush !== undefined) return this.#flush
    this.#startFlush()
    return this.#isCrowded ? this.#flush : undefined
  }

  /** Takes out what is not on its way to the disk yet. */
  takeWaiting(): Buffer[] {
    return this.#take(this.#waiting.length)
  }

  /** Writes what is left, and gives the file, which stays open. */
  async end(): Promise<FileHandle> {
    await this.#flush
    if (this.#slab !== undefined) await this.#writeSlab(this.#slab)
    return this.#write(this.takeWaiting())
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
    await Promise.all([this.#closeDirect(), handle?.close()])
  }

  /** Removes the file and everything it holds; may be called at any time but while `end` is under way, and more than once. */
  async discard(): Promise<void> {
    this.takeWaiting()
    await Promise.allSettled([this.#flush]) // a failure was told to whoever waited for it
    this.#giveSlab()
    try {
      await this.close()
    } finally {
      await remove(this.path)
    }
  }

  #isEnough(): boolean {
    if (this.#slab !== undefined) return this.#slab.room === 0
    return this.#waiting.length >= (this.#isCrowded ? CROWDED_WRITE_BYTES : WRITE_BYTES)
  }

  get #isCrowded(): boolean {
    return this.#gathered.bytes > CROWDED_BYTES
  }

  // Bytes are copied while the processor still knows them; what they came in is free at once.
  #fillSlab(): void {
    this.#slab ??= this.#gathered.direct.take()
    if (this.#slab === undefined) return
    for (const bytes of this.#take(this.#slab.room)) this.#slab.add(bytes)
  }

  #take(bytes: number): Buffer[] {
    const taken = this.#waiting.take(bytes)
    this.#gathered.bytes -= lengthOf(taken)
    return taken
  }

  #giveSlab(): void {
    if (this.#slab !== undefined) this.#gathered.direct.give(this.#slab)
    this.#slab = undefined
  }

  #startFlush(): void {
    const flush = this.#writeOut()
    this.#flush = flush
    const settled = () => {
      if (this.#flush === flush) this.#flush = undefined
    }
    flush.then(settled, () => undefined) // a failed flush stays, for `write` or `end` to tell of
  }

  // Of what waits, whole blocks only: the next position is then one that can be written to directly.
  async #writeOut(): Promise<void> {
    if (this.#slab !== undefined) await this.#writeSlab(this.#slab)
    else await this.#write(this.#takeBlocks())
    this.#isFast = this.#writtenBytes - BURST_BYTES > FAST_BYTES_PER_MS * (performance.now() - this.#beganAtMs)
    if (!this.#isFast && this.#slab === undefined) await this.#closeDirect() // others may write so
  }

  #takeBlocks(): Buffer[] {
    const blocks = this.#take(this.#waiting.length - (this.#waiting.length % BLOCK_BYTES))
    this.#waiting.push(Buffer.concat(this.#waiting.take(BLOCK_BYTES))) // a copy: few bytes are to keep no large chunk
    return blocks
  }

  async #writeSlab(slab: Slab): Promise<void> {
    this.#slab = undefined
    try {
      const { content } = slab
      const blocks = content.subarray(0, content.length - (content.length % BLOCK_BYTES))
      const written = (await this.#writeDirectly(blocks)) ? blocks.length : 0
      this.#writtenBytes += written
      await this.#write([content.subarray(written)])
    } finally {
      this.#gathered.direct.give(slab)
    }
  }

  async #writeDirectly(blocks: Buffer): Promise<boolean> {
    this.#direct ??= await this.#gathered.direct.open(this.path)
    return this.#direct !== undefined && this.#gathered.direct.write(this.#direct, blocks, this.#writtenBytes)
  }

  async #closeDirect(): Promise<void> {
    const direct = this.#direct
    this.#direct = undefined
    if (direct !== undefined) await this.#gathered.direct.close(direct)
  }

  async #write(chunks: readonly Buffer[]): Promise<FileHandle> {
    const bytes = lengthOf(chunks)
    this.#gathered.bytes += bytes
    try {
      this.#handle ??= await this.#create(this.path)
      await writeWhole(this.#handle, chunks, this.#writtenBytes)
    } finally {
      this.#gathered.bytes -= bytes
    }
    this.#writtenBytes += bytes
    return this.#handle
  }
}

function lengthOf(chunks: readonly Buffer[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.length, 0)
}
