import { DirectWriter } from './direct-writer.ts'
import { SharedMemory } from './shared-memory.ts'

const CROWDED_BYTES = 4 * 1024 * 1024

/** What all files share that are arriving in one process. */
export class Gathered {
  /**
   * How many bytes of them wait in memory to be written. Not counted are those that go past the page cache, those of files
   * that are held until their publish, and the chunk of 64 KiB at most that each encryption keeps.
   */
  bytes = 0
  readonly direct: DirectWriter
  readonly shared = new SharedMemory()

  constructor(direct = new DirectWriter()) {
    this.direct = direct
  }

  /** Says whether so much waits that each file is to keep little of it in memory. */
  get isCrowded(): boolean {
    return this.bytes > CROWDED_BYTES
  }
}
