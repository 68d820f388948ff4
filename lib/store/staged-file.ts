import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { syncFile } from '../durable.ts'
import type { Arriving, Content } from './arriving.ts'
import type { Gathered } from './gathered.ts'
import { GrowingFile } from './growing-file.ts'
import type { SharedMemory } from './shared-memory.ts'
import type { Slab } from './slab.ts'

/** A file that is still arriving and is stored as it came; its bytes are hashed on the way. */
export class StagedFile implements Arriving {
  readonly #file: GrowingFile
  readonly #hash = createHash('sha256')
  #bytes = 0
  readonly #shared: SharedMemory
  #held: Slab[] | undefined
  #end: Promise<void> | undefined

  /**
   * @param gathered is shared by all files of this process
   * @param create makes the file, when enough bytes have gathered
   */
  constructor(path: string, gathered: Gathered, create: (path: string) => Promise<FileHandle>) {
    this.#file = new GrowingFile(path, gathered, create)
    this.#shared = gathered.shared
  }

  get path(): string {
    return this.#file.path
  }

  get bytes(): number {
    return this.#bytes
  }

  write(bytes: Buffer): Promise<void> | undefined {
    this.#hash.update(bytes)
    this.#bytes += bytes.length
    return this.#file.write(bytes)
  }

  hold(): boolean {
    if (this.#file.isOnDisk) return false
    this.#held = this.#file.takeWaiting()
    return true
  }

  end(): Promise<void> {
    this.#end ??= this.#endOnce()
    return this.#end
  }

  async rest(): Promise<void> {
    await this.end() // it is closed
  }

  async finish(): Promise<Content> {
    if (this.#held === undefined) await this.end()
    const held = this.#held === undefined ? {} : { held: this.#held.map(({ content }) => content) }
    return { bytes: this.#bytes, sha256: this.#hash.digest('hex'), ...held }
  }

  release(): void {
    this.#held ??= []
    this.#shared.giveAll(this.#held)
  }

  async discard(): Promise<void> {
    this.release()
    await Promise.allSettled([this.#end]) // a failure was told to whoever waited for it
    await this.#file.discard()
  }

  async #endOnce(): Promise<void> {
    await syncFile(await this.#file.end())
    await this.#file.close()
  }
}
