import { HttpError } from '../errors.ts'

/** How much may be under way at once. */
export interface AllowanceLimits {
  readonly maxSubmissions: number
  readonly maxUnknownBytes: number
  readonly maxUnknownBytesPerAddress: number
}

/**
 * Counts what is being received, so that no one address can fill the disk: the file comes before the token, and its
 * bytes are staged before it is known whether they are kept. What came with a good token counts no longer.
 */
export class Allowance {
  readonly #limits: AllowanceLimits
  readonly #bytesByAddress = new Map<string, number>()
  #submissions = 0
  #bytes = 0

  constructor(limits: AllowanceLimits) {
    this.#limits = limits
  }

  /** Begins a submission; throws `too_busy` where there are too many. */
  begin(address: string): Share {
    if (this.#submissions >= this.#limits.maxSubmissions) throw new HttpError('too_busy', { detail: 'submissions' })
    this.#submissions++
    return new Share(
      (bytes) => this.#count(address, bytes),
      () => void this.#submissions--,
    )
  }

  #count(address: string, bytes: number): void {
    const ofAddress = (this.#bytesByAddress.get(address) ?? 0) + bytes
    this.#bytes += bytes
    if (ofAddress > 0) this.#bytesByAddress.set(address, ofAddress)
    else this.#bytesByAddress.delete(address)
    if (bytes < 0) return
    if (ofAddress > this.#limits.maxUnknownBytesPerAddress) throw new HttpError('too_busy', { detail: 'bytes of one address' })
    if (this.#bytes > this.#limits.maxUnknownBytes) throw new HttpError('too_busy', { detail: 'bytes without a token' })
  }
}

/** What one submission has taken of the allowance. */
export class Share {
  readonly #count: (bytes: number) => void
  readonly #leave: () => void
  #bytes = 0
  #isKnown = false

  constructor(count: (bytes: number) => void, leave: () => void) {
    this.#count = count
    this.#leave = leave
  }

  /** Counts bytes that arrived; throws `too_busy` where they are too many without a good token. */
  add(bytes: number): void {
    if (this.#isKnown) return
    this.#bytes += bytes
    this.#count(bytes)
  }

  /** Counts the submission no longer: its token is good. */
  release(): void {
    this.#isKnown = true
    this.#count(-this.#bytes)
    this.#bytes = 0
  }

  /** Ends the submission, whatever became of it. */
  end(): void {
    this.release()
    this.#leave()
  }
}
