import { statfs } from 'node:fs/promises'
import { HttpError } from '../errors.ts'

const GiB = 1024 ** 3
const LOOK_MS = 1000

/** The room on the file system of the base directory, and the reserve of it that no upload may take. */
export class FreeSpace {
  readonly #path: string
  readonly #reserveBytes: number | undefined
  #look: Promise<{ readonly freeBytes: number; readonly reserveBytes: number }> | undefined
  #lookedAtMs = Number.NEGATIVE_INFINITY

  /** @param reserveBytes bytes to keep free, or undefined for the smaller of 1 GiB and 5 % of the file system */
  constructor(path: string, reserveBytes: number | undefined) {
    this.#path = path
    this.#reserveBytes = reserveBytes
  }

  /** Throws `insufficient_storage` where so many more bytes would reach into the reserve. Looks once a second at most. */
  async require(bytes: number): Promise<void> {
    const nowMs = performance.now()
    if (this.#look === undefined || nowMs - this.#lookedAtMs >= LOOK_MS) {
      this.#lookedAtMs = nowMs
      this.#look = this.#measure()
    }
    const { freeBytes, reserveBytes } = await this.#look
    if (freeBytes - bytes < reserveBytes) {
      throw new HttpError('insufficient_storage', { detail: `${freeBytes} bytes free, ${reserveBytes} in reserve` })
    }
  }

  async #measure(): Promise<{ freeBytes: number; reserveBytes: number }> {
    const { bavail, blocks, bsize } = await statfs(this.#path)
    return { freeBytes: bavail * bsize, reserveBytes: this.#reserveBytes ?? Math.min(GiB, 0.05 * blocks * bsize) }
  }
}
