import { DirectWriter } from './direct-writer.ts'
import { SharedMemory } from './shared-memory.ts'

const CROWDED_BYTES = 4 * 1024 * 1024

/** What all files share that are arriving in one process. */
export class Gathered {
  /** How many bytes of them are in memory and not written yet, but for those that go past the page cache. */
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
