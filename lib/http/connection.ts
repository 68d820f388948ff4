import type { IncomingMessage } from 'node:http'
import type { HttpError } from '../errors.ts'
import { Cutoff } from './cutoff.ts'
import type { Client } from './proxies.ts'

// Of requests sent ahead of their answers, which are held in memory: how many, and how many bytes of their heads.
const MOST_WAITING = 256
const MOST_WAITING_BYTES = 64 * 1024

/** One connection: its requests are worked on one after another, and none after one that has closed it. */
export class Connection {
  /** Whether the answer under way, or the one before, is the last: what comes behind it is never run. */
  isClosing = false
  /** The IP address of the client; kept, since a socket forgets it when it closes. */
  readonly address: string
  /** Who sends requests over it that no proxy has passed on, once that is known. */
  client: Client | undefined
  /** When it was opened, by `performance.now`. */
  readonly openedAtMs = performance.now()
  /** Since when nothing has been worked on, by `performance.now`; it tells nothing while something is. */
  idleSinceMs = this.openedAtMs
  /** How many bytes had come over it when it was opened: of a TLS handshake, for one. */
  bytesBefore = 0
  #wasUsed = false
  #turn: Promise<void> = Promise.resolve()
  #waiting = 0
  #waitingBytes = 0
  #current: { readonly request: IncomingMessage; readonly cutoff: Cutoff } | undefined
  #brokenBy: HttpError | undefined

  constructor(address: string) {
    this.address = address
  }

  /** Whether a client has sent so many requests ahead that no more are to be taken. */
  get isFull(): boolean {
    return this.#waiting >= MOST_WAITING || this.#waitingBytes >= MOST_WAITING_BYTES
  }

  /** Whether nothing is being worked on. */
  get isIdle(): boolean {
    return this.#current === undefined && this.#waiting === 0
  }

  /** Whether it has brought a request. */
  get wasUsed(): boolean {
    return this.#wasUsed
  }

  /** Whether the bytes that came last are no HTTP, so that no more can be read. */
  get isBroken(): boolean {
    return this.#brokenBy !== undefined
  }

  /** Fulfils when all that was enqueued so far is done. */
  get settled(): Promise<void> {
    return this.#turn
  }

  /**
   * Does `work`, which never throws, when all that was enqueued before is done; not at all where that has closed.
   * @param bytes how many are held for it until then
   */
  enqueue(work: () => Promise<void> | void, bytes = 0): void {
    this.#waiting++
    this.#waitingBytes += bytes
    this.#turn = this.#turn.then(() => {
      this.#waiting--
      this.#waitingBytes -= bytes
      return this.isClosing ? undefined : work()
    })
  }

  /** Begins to work on a request; what it gives says when the rest of its body is not to be waited for. */
  begin(request: IncomingMessage): Cutoff {
    const cutoff = new Cutoff()
    this.#wasUsed = true
    this.#current = { request, cutoff }
    if (this.#brokenBy !== undefined && !request.complete) cutoff.cut(this.#brokenBy)
    return cutoff
  }

  /** Ends the work on a request. */
  end(): void {
    this.#current = undefined
    this.idleSinceMs = performance.now()
  }

  /** Says that no more can be read: a body that is not complete never will be. */
  break(error: HttpError): void {
    this.#brokenBy = error
    if (this.#current?.request.complete === false) this.abort(error)
  }

  /** Gives up the body of the request under way. */
  abort(error: HttpError): void {
    this.#current?.cutoff.cut(error)
  }
}
