import type { FileHandle } from 'node:fs/promises'
import { openAgain, remove, writeWhole } from '../durable.ts'
import { BLOCK_BYTES } from './direct-writer.ts'
import type { Gathered } from './gathered.ts'
import { Slab } from './slab.ts'

const WRITE_BYTES = 128 * 1024 // one trip to the disk for many small chunks
const CROWDED_WRITE_BYTES = 32 * 1024 // the same where it is crowded; the sender then waits for each
const FAST_BYTES_PER_MS = 4000 // what comes as fast is gathered in larger pieces, which go past the page cache
const BURST_BYTES = 256 * 1024 // may have waited in the connection while others were looked after, and tell of no speed

/**
 * A file whose bytes come little by little. They are copied while the processor still knows them, and written in large
 * pieces; at most two pieces and a chunk are in memory, whatever the size of the file.
 */
export class GrowingFile {
  readonly path: string
  readonly #create: (path: string) => Promise<FileHandle>
  readonly #gathered: Gathered
  #handle: FileHandle | undefined
  #direct: FileHandle | undefined // of the same file
  #slabs: Slab[] = [] // what waits to be written, in order: one that is aligned, perhaps, and others behind it
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

  /** Copies the next bytes. Returns a promise where the sender should wait until the disk has caught up. */
  write(bytes: Buffer): Promise<void> | undefined {
    if (this.#isFast) this.#gatherAligned()
    this.#gather(bytes)
    if (!this.#isEnough()) return undefined
    if (this.#flush !== undefined) return this.#flush
    this.#startFlush()
    return this.#gathered.isCrowded ? this.#flush : undefined
  }

  /** Takes out what is not on its way to the disk yet; it is the caller's to give back. */
  takeWaiting(): Slab[] {
    const taken = this.#slabs
    this.#slabs = []
    for (const slab of taken) this.#uncount(slab)
    return taken
  }

  /** Writes what is left, and gives the file, which stays open. */
  async end(): Promise<FileHandle> {
    await this.#flush
    while (this.#slabs.length > 0) await this.#writeNext(this.#takeNext(true))
    return this.#write([])
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
    await Promise.allSettled([this.#flush]) // a failure was told to whoever waited for it
    const slabs = this.#slabs
    this.#slabs = []
    for (const slab of slabs) this.#give(slab)
    try {
      await this.close()
    } finally {
      await remove(this.path)
    }
  }

  #gather(bytes: Buffer): void {
    const countedBytes = bytesOf(this.#slabs.filter(isCounted))
    try {
      this.#gathered.shared.gather(this.#slabs, bytes)
    } finally {
      this.#gathered.bytes += bytesOf(this.#slabs.filter(isCounted)) - countedBytes
    }
  }

  // What waits already goes in first: the position of the next piece stays one that can be written to directly.
  #gatherAligned(): void {
    const waitingBytes = this.#slabs[0]?.isAligned === true ? undefined : bytesOf(this.#slabs)
    if (waitingBytes === undefined) return
    const aligned = this.#gathered.direct.take()
    if (aligned === undefined) return
    if (waitingBytes >= aligned.room) return this.#gathered.direct.give(aligned)
    const waiting = this.#slabs
    this.#slabs = [aligned]
    for (const slab of waiting) {
      aligned.add(slab.content)
      this.#give(slab)
    }
  }

  #isEnough(): boolean {
    const [first] = this.#slabs
    if (first?.isAligned === true) return first.room === 0
    return bytesOf(this.#slabs) >= (this.#gathered.isCrowded ? CROWDED_WRITE_BYTES : WRITE_BYTES)
  }

  #startFlush(): void {
    const flush = this.#writeOut()
    this.#flush = flush
    const settled = () => {
      if (this.#flush === flush) this.#flush = undefined
    }
    flush.then(settled, () => undefined) // a failed flush stays, for `write` or `end` to tell of
  }

  async #writeOut(): Promise<void> {
    await this.#writeNext(this.#takeNext(false))
    this.#isFast = this.#writtenBytes - BURST_BYTES > FAST_BYTES_PER_MS * (performance.now() - this.#beganAtMs)
    if (!this.#isFast && this.#slabs[0]?.isAligned !== true) await this.#closeDirect() // others may write so
  }

  /** Takes out what is written next: a slab that is aligned, or those before the next one. */
  #takeNext(isLast: boolean): Slab[] {
    const [first] = this.#slabs
    if (first?.isAligned === true) return this.#slabs.splice(0, 1)
    const taken = this.#slabs
    this.#slabs = []
    const rest = isLast ? undefined : this.#cutBlocks(taken)
    if (rest !== undefined) this.#slabs.push(rest)
    return taken
  }

  // Whole blocks only: the next position is then one that can be written to directly. What is left is few bytes, which
  // are to keep no slab.
  #cutBlocks(slabs: readonly Slab[]): Slab | undefined {
    let restBytes = bytesOf(slabs) % BLOCK_BYTES
    const pieces: Buffer[] = []
    for (const slab of slabs.toReversed()) {
      const cutBytes = Math.min(slab.bytes, restBytes)
      pieces.unshift(slab.content.subarray(slab.bytes - cutBytes))
      slab.shorten(cutBytes)
      restBytes -= cutBytes
    }
    const rest = Buffer.concat(pieces)
    return rest.length === 0 ? undefined : new Slab(rest, false, rest.length)
  }

  async #writeNext(slabs: readonly Slab[]): Promise<void> {
    try {
      const [first] = slabs
      if (first?.isAligned === true) await this.#writeAligned(first)
      else await this.#write(slabs.map(({ content }) => content))
    } finally {
      for (const slab of slabs) this.#give(slab)
    }
  }

  async #writeAligned({ content }: Slab): Promise<void> {
    const blocks = content.subarray(0, content.length - (content.length % BLOCK_BYTES))
    const written = (await this.#writeDirectly(blocks)) ? blocks.length : 0
    this.#writtenBytes += written
    await this.#write([content.subarray(written)])
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
    this.#handle ??= await this.#create(this.path)
    await writeWhole(this.#handle, chunks, this.#writtenBytes)
    this.#writtenBytes += chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    return this.#handle
  }

  #give(slab: Slab): void {
    this.#uncount(slab)
    if (slab.isAligned) this.#gathered.direct.give(slab)
    else this.#gathered.shared.give(slab)
  }

  #uncount(slab: Slab): void {
    if (isCounted(slab)) this.#gathered.bytes -= slab.bytes
  }
}

// Those that go past the page cache are few, however many files come.
function isCounted({ isAligned }: Slab): boolean {
  return !isAligned
}

function bytesOf(slabs: readonly Slab[]): number {
  return slabs.reduce((sum, slab) => sum + slab.bytes, 0)
}
