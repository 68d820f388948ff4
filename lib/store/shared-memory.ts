import { Slab } from './slab.ts'

const SLAB_BYTES = 32 * 1024 // what each file has at the least while there is a crowd
const MOST_KEPT = 512 // 16 MiB, and none of it before bytes come
const SLABS_AT_ONCE = 64
const FEW_BYTES = 4096

/**
 * Memory for what arrives, which the thread that publishes sees too: small files wait in it for their publish. It is used
 * again and again. Garbage instead would cost more than all else that is done with a file of 100 KB: the kernel fills
 * fresh memory with zeros, and V8, which counts such bytes and not what it takes to collect them, marks all that a thread
 * has a dozen times a second.
 */
export class SharedMemory {
  readonly #free: Buffer[] = []
  #made = 0

  /** Copies bytes behind those that are in slabs, and takes as many more slabs as that needs: a small one where all are few. */
  gather(slabs: Slab[], bytes: Buffer): void {
    if (bytes.length === 0) return
    const [first] = slabs
    if (first === undefined || (slabs.length === 1 && first.memory.length < FEW_BYTES)) slabs[0] = this.#largerSlab(first, bytes.length)
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

  /** Takes all of the slabs out of a list, and back. */
  giveAll(slabs: Slab[]): void {
    for (const slab of slabs.splice(0)) this.give(slab)
  }

  // Few bytes have memory of their own, as much as they need: a form may have a thousand files of one byte.
  #largerSlab(small: Slab | undefined, moreBytes: number): Slab {
    const [bytes, smallBytes] = [(small?.bytes ?? 0) + moreBytes, small?.memory.length ?? 0]
    if (small !== undefined && bytes <= smallBytes) return small
    const slab = bytes >= FEW_BYTES ? this.#take() : ownSlab(Math.max(bytes, Math.min(2 * smallBytes, FEW_BYTES - 1)))
    if (small !== undefined) slab.add(small.content)
    return slab
  }

  // Where there are many already, or the system has no more to share, one that is not kept afterwards.
  #take(): Slab {
    if (this.#free.length === 0 && this.#made < MOST_KEPT) this.#make()
    const memory = this.#free.pop()
    return memory === undefined ? ownSlab(SLAB_BYTES) : new Slab(memory, false)
  }

  #make(): void {
    const memory = makeMemory()
    if (memory === undefined) return
    for (let at = 0; at < memory.byteLength; at += SLAB_BYTES) this.#free.push(Buffer.from(memory, at, SLAB_BYTES))
    this.#made += SLABS_AT_ONCE
  }
}

function makeMemory(): SharedArrayBuffer | undefined {
  try {
    return new SharedArrayBuffer(SLABS_AT_ONCE * SLAB_BYTES)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return undefined
  }
}

// Not from the pool of buffers: it may be given to the other thread.
function ownSlab(bytes: number): Slab {
  return new Slab(Buffer.allocUnsafeSlow(bytes), false)
}
