import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { tellSync } from '../durable.ts'
import { HttpError, type ErrorCode } from '../errors.ts'
import { Callers, type Caller } from './callers.ts'
import type { Submission } from './publisher.ts'
import type { Receipt } from './receipt.ts'

const MOST_ROUNDS = 2 // at a time: one is written while the other waits for its syncs
const ENDED = 'the thread that publishes has ended'

/** What became of a submission: its receipt, or the first one where the same files had come before. */
export interface Published {
  readonly receipt: Receipt
  readonly isRepeated: boolean
}

/** What the thread works with. */
export interface PublishingParts {
  readonly basedir: string
  readonly processName: string
}

/** A submission that is to be published, with the number of who waits for it. */
export interface Task {
  readonly number: number
  readonly submission: Submission
}

/** What goes to the thread: the submissions of one round, or the word to end. */
export type Order = readonly Task[] | 'close'

/** What comes back: what became of submissions, and how many seconds each sync since the last time took. */
export interface Told {
  readonly outcomes: readonly Outcome[]
  /** Whether this ends a round; submissions that take long may still be under way. */
  readonly isRoundOver: boolean
  readonly syncSeconds: readonly number[]
}

/** What became of the submission with this number. */
export type Outcome = { readonly number: number } & (
  | { readonly type: 'published'; readonly published: Published }
  | { readonly type: 'failed'; readonly failure: PublishFailure }
)

/** An error as it travels between threads: of an error itself all but the text would be lost. */
export interface PublishFailure {
  readonly message: string
  readonly stack: string | undefined
  /** Of a system error, such as `ENOSPC`. */
  readonly code: string | undefined
  /** Of an `HttpError`. */
  readonly refusal: ErrorCode | undefined
}

/**
 * The thread that publishes. A submission takes a dozen short calls to the disk, and a trip to the thread pool costs
 * more than most of them: this thread makes them itself, and may wait for a disk that hangs while requests are answered.
 * Should it die, those under way fail, once what they had begun is settled as after a crash of the process, and the next
 * submission begins another.
 */
export class PublishingThread {
  readonly #parts: PublishingParts
  readonly #settleLeft: () => Promise<void>
  readonly #waiting = new Callers<Published>() // for what was sent to the thread
  #worker: Worker | undefined
  #burial: Promise<void> | undefined
  #rounds = 0 // under way
  #gathered: { readonly submission: Submission; readonly caller: Caller<Published> }[] = []

  /** @param settleLeft completes what a thread that died had begun; its staged files are there until that has ended */
  constructor(parts: PublishingParts, settleLeft: () => Promise<void>) {
    this.#parts = parts
    this.#settleLeft = settleLeft
  }

  /** Begins the thread; fulfils when its code is loaded, which may be replaced on disk from then on. */
  begin(): Promise<void> {
    return new Promise((resolve, reject) => {
      const worker = this.#begin()
      worker.once('message', () => resolve()) // that it is ready
      worker.once('error', reject).once('exit', () => reject(new Error(ENDED)))
      this.#worker = worker
    })
  }

  /** Publishes a submission; when the promise is fulfilled all of it is durable. What it holds in memory is given away. */
  publish(submission: Submission): Promise<Published> {
    return new Promise((resolve, reject) => {
      this.#gathered.push({ submission, caller: { resolve, reject } })
      if (this.#gathered.length === 1) setImmediate(() => this.#send())
    })
  }

  /** Ends the thread, when nothing is being published any more. */
  async close(): Promise<void> {
    await this.#burial
    const worker = this.#worker
    if (worker === undefined) return
    const ended = new Promise((resolve) => worker.once('exit', resolve))
    worker.postMessage('close' satisfies Order)
    await ended
  }

  // All that came in one turn of the event loop, or while others were being published, goes in one message: the more go
  // together, the fewer syncs and changes of thread each of them takes.
  #send(): void {
    if (this.#burial !== undefined || this.#gathered.length === 0) return // they go when it has ended
    if (this.#rounds >= MOST_ROUNDS) return // they go when one is over
    const gathered = this.#gathered
    this.#gathered = []
    const order = gathered.map(({ submission, caller }) => ({ number: this.#waiting.add(caller), submission })) satisfies Order
    const pieces = gathered.flatMap(({ submission }) => submission.files.flatMap(({ held = [] }) => held))
    try {
      this.#worker ??= this.#begin()
      this.#worker.postMessage(order, pieces.flatMap(({ buffer }) => (buffer instanceof ArrayBuffer ? [buffer] : [])))
      this.#rounds++
    } catch (error) {
      for (const { number } of order) this.#waiting.take(number)?.reject(error) // the system has no thread to give, for one
    }
  }

  #begin(): Worker {
    const worker = new Worker(join(__dirname, 'publishing.js'), { workerData: this.#parts }) // as it is in dist/
    let reason: unknown = new Error(ENDED)
    worker.on('message', ({ outcomes, isRoundOver, syncSeconds }: Told) => {
      for (const seconds of syncSeconds) tellSync(seconds)
      for (const outcome of outcomes) this.#settle(outcome)
      if (!isRoundOver) return
      this.#rounds--
      this.#send()
    })
    worker.on('error', (error) => (reason = error))
    worker.on('exit', () => {
      this.#worker = undefined
      this.#rounds = 0
      if (!this.#waiting.isEmpty) this.#burial = this.#bury(reason)
    })
    return worker
  }

  // Before its callers are told, for they remove what they staged; and before another thread begins notes of its own.
  async #bury(reason: unknown): Promise<void> {
    const told = await this.#settleLeft().then(() => reason, (cause: unknown) => new Error(`${String(reason)}; what it left stays`, { cause }))
    this.#burial = undefined
    for (const { reject } of this.#waiting.takeAll()) reject(told)
    this.#send()
  }

  #settle(outcome: Outcome): void {
    const caller = this.#waiting.take(outcome.number)
    if (outcome.type === 'published') caller?.resolve(outcome.published)
    else caller?.reject(toError(outcome.failure))
  }
}

function toError({ message, stack, code, refusal }: PublishFailure): Error {
  const error = Object.assign(new Error(message), { stack, ...(code === undefined ? {} : { code }) })
  return refusal === undefined ? error : new HttpError(refusal, { cause: error })
}
