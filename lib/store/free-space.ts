import { statfs } from 'node:fs/promises'
import { HttpError } from '../errors.ts'

const GiB = 1024 ** 3
const LOOK_MS = 1000
const KNOWN_MS = 60_000

/** The room on a file system. */
export interface Room {
  readonly freeBytes: number
  /** What no upload may take. */
  readonly reserveBytes: number
}

/** The room on the file system of the base directory, and the reserve of it that no upload may take. */
export class FreeSpace {
  readonly #path: string
  readonly #reserveBytes: number | undefined
  #room: Promise<Room> | undefined
  #lookedAtMs = Number.NEGATIVE_INFINITY
  #known: { readonly room: Room; readonly atMs: number } | undefined

  /** @param reserveBytes bytes to keep free, or undefined for the smaller of 1 GiB and 5 % of the file system */
  constructor(path: string, reserveBytes: number | undefined) {
    this.#path = path
    this.#reserveBytes = reserveBytes
  }

  /** Throws `insufficient_storage` where so many more bytes would reach into the reserve. */
  async require(bytes: number): Promise<void> {
    const { freeBytes, reserveBytes } = await this.look()
    if (freeBytes - bytes < reserveBytes) {
      throw new HttpError('insufficient_storage', { detail: `${freeBytes} bytes free, ${reserveBytes} in reserve` })
    }
  }

  /** Gives the room there is. Looks once a second at most, and never twice at the same time: a mount may hang. */
  look(): Promise<Room> {
    if (this.#room !== undefined && performance.now() - this.#lookedAtMs < LOOK_MS) return this.#room
    this.#lookedAtMs = Number.POSITIVE_INFINITY // until it is settled
    const settled = () => {
      this.#lookedAtMs = performance.now()
    }
    this.#room = this.#measure()
    this.#room.then(settled, settled)
    return this.#room
  }

  /** The room there was lately, without a look; undefined where the file system has not answered for a minute. */
  get known(): Room | undefined {
    return this.#known !== undefined && performance.now() - this.#known.atMs < KNOWN_MS ? this.#known.room : undefined
  }

  async #measure(): Promise<Room> {
    const { bavail, blocks, bsize } = await statfs(this.#path)
    const room = { freeBytes: bavail * bsize, reserveBytes: this.#reserveBytes ?? Math.min(GiB, 0.05 * blocks * bsize) }
    this.#known = { room, atMs: performance.now() }
    return room
  }
}
