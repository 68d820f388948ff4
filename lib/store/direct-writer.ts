import { constants } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { openDirect, writeWhole } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { Slab } from './slab.ts'

declare const WebAssembly: { readonly Memory: new (pages: { readonly initial: number }) => { readonly buffer: ArrayBuffer } }

/** What a position and a length of `O_DIRECT` are multiples of, in bytes; the blocks of every usual disk divide it. */
export const BLOCK_BYTES = 4096

const SLAB_BYTES = 512 * 1024
const MOST_SLABS = 40 // no more than 20 MiB, and none before files come fast
const MOST_OPEN = 40 // each has another descriptor beside it, which nobody has counted on
const PAGE_BYTES = 65_536 // WebAssembly Core Specification, §4.2.8

/**
 * Writes large pieces past the page cache (open(2), `O_DIRECT`): the kernel then neither copies them nor finds memory for
 * them, and the disk begins at once, not at the sync. It asks for memory that begins at a page: Node has no such buffers,
 * but the memory of WebAssembly is. Where a file system has no such writes, that is found out once.
 */
export class DirectWriter {
  // A system other than Linux; or a Node that may compile nothing while it runs (`--jitless`), and then has no WebAssembly.
  #isRefused = constants.O_DIRECT === undefined || typeof WebAssembly === 'undefined'
  #memory: Buffer[] | undefined
  #openFiles = 0

  /** Gives memory for a piece; undefined where none is free, or such writes cannot be. */
  take(): Slab | undefined {
    if (this.#isRefused) return undefined
    this.#memory ??= makeMemory()
    const memory = this.#memory.pop()
    return memory === undefined ? undefined : new Slab(memory, true)
  }

  /** Takes memory back; nothing may use it any more. */
  give(slab: Slab): void {
    this.#memory?.push(slab.memory)
  }

  /**
   * Opens a file that is there for `write`; gives undefined where that cannot be, such as where no descriptor is left, or
   * where enough are open. To be closed by `close`.
   */
  async open(path: string): Promise<FileHandle | undefined> {
    if (this.#isRefused || this.#openFiles >= MOST_OPEN) return undefined
    this.#openFiles++
    try {
      return await openDirect(path)
    } catch (error) {
      this.#openFiles--
      if (systemCode(error) === undefined) throw error
      this.#heed(error)
      return undefined
    }
  }

  /** Closes a file of `open`. */
  async close(handle: FileHandle): Promise<void> {
    try {
      await handle.close()
    } finally {
      this.#openFiles--
    }
  }

  /**
   * Writes blocks at a position, or says that this cannot be: then it is not known what of them is written.
   * @param handle of `open`
   * @param blocks in memory of `take`; a multiple of `BLOCK_BYTES`, as the position is
   */
  async write(handle: FileHandle, blocks: Buffer, position: number): Promise<boolean> {
    try {
      await writeWhole(handle, [blocks], position)
      return true
    } catch (error) {
      if (!this.#heed(error)) throw error
      return false
    }
  }

  // The file system has no such writes, or wants larger blocks (open(2), ERRORS and NOTES).
  #heed(error: unknown): boolean {
    const isRefusal = systemCode(error) === 'EINVAL'
    this.#isRefused ||= isRefusal
    return isRefusal
  }
}

// As much address space is set aside as WebAssembly could ever use: a process may not be allowed that.
function makeMemory(): Buffer[] {
  try {
    const { buffer } = new WebAssembly.Memory({ initial: (MOST_SLABS * SLAB_BYTES) / PAGE_BYTES })
    return Array.from({ length: MOST_SLABS }, (_, index) => Buffer.from(buffer, index * SLAB_BYTES, SLAB_BYTES))
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return []
  }
}
