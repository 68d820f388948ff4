import { Slab } from './slab.ts'

const SLAB_BYTES = 32 * 1024 // what each file has at the least while there is a crowd
const MOST_KEPT = 512 // 16 MiB, and none of it before bytes come
const SLABS_AT_ONCE = 64

/**
 * Memory for what arrives, which the thread that publishes sees too: small files wait in it for their publish. It is used
 * again and again. Garbage instead would cost more than all else that is done with a file of 100 KB: the kernel fills
 * fresh memory with zeros, and V8, which counts such bytes and not what it takes to collect them, marks all that a thread
 * has a dozen times a second.
 */
export class SharedMemory {
  readonly #free: Buffer[] = []
  #made = 0

  /** Copies bytes behind those that are in slabs, and takes as many more slabs as that needs. */
  gather(slabs: Slab[], bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      let slab = slabs.at(-1)
      if (slab === undefined || slab.room === 0) slabs.push((slab = this.#take()))
      at += slab.add(bytes.subarray(at))
    }
  }

  /** Takes a slab back; nothing may use it any more. */
  give({ memory }: Slab): void {
    if (memory.buffer instanceof SharedArrayBuffer) this.#free.push(memory)
  }

  // Where there are many already, one that is not kept afterwards.
  #take(): Slab {
    if (this.#free.length === 0 && this.#made < MOST_KEPT) this.#make()
    return new Slab(this.#free.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES), false)
  }

  #make(): void {
    const memory = new SharedArrayBuffer(SLABS_AT_ONCE * SLAB_BYTES)
    for (let at = 0; at < memory.byteLength; at += SLAB_BYTES) this.#free.push(Buffer.from(memory, at, SLAB_BYTES))
    this.#made += SLABS_AT_ONCE
  }
}
