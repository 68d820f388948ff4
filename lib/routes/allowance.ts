import { HttpError } from '../errors.ts'
import { networkOf } from './network.ts'

const MiB = 1024 * 1024
const MAX_MEMORY_BYTES = 256 * MiB // of what is not staged but kept until its form has ended: names, short texts, what is known of files
const PART_OF_ADDRESS = 4 // one address has at most a quarter of what all have
const FEW = 16 // networks, of which those with nothing may stay: a Map that is empty again and again is made anew each time
const FILE_BYTES = 64 * 1024 // what a file counts at least: an empty one takes an inode too
const FILE_MEMORY_BYTES = 4096 // and what is known of it, until its form has ended

/** How much may be under way at once. */
export interface AllowanceLimits {
  readonly maxSubmissions: number
  readonly maxUnknownBytes: number
  readonly maxUnknownBytesPerAddress: number
}

/**
 * Counts what is being received, so that no one address can fill the disk, the memory or the places of the others: the
 * file comes before the token, and its bytes are staged before it is known whether they are kept. Submissions and bytes
 * that came with a good token count no longer; memory counts until the form has ended.
 */
export class Allowance {
  readonly #submissions: Usage
  readonly #bytes: Usage
  readonly #memory = new Usage('memory', MAX_MEMORY_BYTES, MAX_MEMORY_BYTES / PART_OF_ADDRESS)

  constructor(limits: AllowanceLimits) {
    const { maxSubmissions, maxUnknownBytes, maxUnknownBytesPerAddress } = limits
    this.#submissions = new Usage('submissions', maxSubmissions, Math.ceil(maxSubmissions / PART_OF_ADDRESS))
    this.#bytes = new Usage('bytes without a token', maxUnknownBytes, maxUnknownBytesPerAddress)
  }

  /**
   * Begins a submission; throws `too_busy` where there are too many.
   * @param isKnown whether a good token has come already
   */
  begin(address: string, isKnown: boolean): Allotment {
    const network = networkOf(address)
    const submission = this.#submissions.open(network)
    if (!isKnown) submission.add(1)
    const allotment = new Allotment(submission, this.#bytes.open(network), this.#memory.open(network))
    if (isKnown) allotment.release()
    return allotment
  }
}

/** What one submission has taken of the allowance. */
export class Allotment {
  readonly #submission: Entry
  readonly #bytes: Entry
  readonly #memory: Entry
  #isKnown = false

  constructor(submission: Entry, bytes: Entry, memory: Entry) {
    this.#submission = submission
    this.#bytes = bytes
    this.#memory = memory
  }

  /** Counts bytes that arrived; throws `too_busy` where they are too many without a good token. */
  addBytes(bytes: number): void {
    if (!this.#isKnown) this.#bytes.add(bytes)
  }

  /** Counts a file that begins; throws as `addBytes` and `addMemory` do. */
  addFile(): void {
    this.addBytes(FILE_BYTES)
    this.addMemory(FILE_MEMORY_BYTES)
  }

  /** Counts bytes that are kept in memory; throws `too_busy` where they are too many. */
  addMemory(bytes: number): void {
    this.#memory.add(bytes)
  }

  /** Says that the token is good. */
  release(): void {
    this.#isKnown = true
    this.#submission.close()
    this.#bytes.close()
  }

  /** Ends the submission, whatever became of it. */
  end(): void {
    this.release()
    this.#memory.close()
  }
}

/** Counts one kind of thing, in all and for each network. */
class Usage {
  readonly #kind: string
  readonly #limit: number
  readonly #limitOfNetwork: number
  readonly #networks = new Map<string, number>()
  #total = 0

  constructor(kind: string, limit: number, limitOfNetwork: number) {
    this.#kind = kind
    this.#limit = limit
    this.#limitOfNetwork = limitOfNetwork
  }

  open(network: string): Entry {
    return new Entry((amount) => this.#add(network, amount))
  }

  #add(network: string, amount: number): void {
    const ofNetwork = (this.#networks.get(network) ?? 0) + amount
    const isTooMuch = ofNetwork > this.#limitOfNetwork || this.#total + amount > this.#limit
    if (amount > 0 && isTooMuch) throw new HttpError('too_busy', { detail: this.#kind })
    this.#total += amount
    if (ofNetwork > 0 || this.#networks.size < FEW) this.#networks.set(network, ofNetwork)
    else this.#networks.delete(network)
  }
}

/** What one submission has added to a tally, to be taken off again. */
class Entry {
  readonly #count: (amount: number) => void
  #amount = 0

  constructor(count: (amount: number) => void) {
    this.#count = count
  }

  add(amount: number): void {
    this.#count(amount)
    this.#amount += amount
  }

  close(): void {
    this.#count(-this.#amount)
    this.#amount = 0
  }
}
