import cluster, { type Worker } from 'node:cluster'
import type { RecipientList } from '../crypt/recipient-list.ts'
import type { Log } from '../log.ts'
import type { Family } from '../metrics/family.ts'
import { SETTINGS } from '../settings/settings.ts'
import { WorkerEndedError } from './ended.ts'
import { parseFailure, type FromWorker, type ToWorker } from './message.ts'
import { Pause } from './pause.ts'
import { Tally } from './tally.ts'

// The primary has read the admin token: a worker that begins weeks later is to have the same, and no copy to be seen.
const NO_TOKEN = { [SETTINGS.token.variable]: undefined, [SETTINGS.tokenFile.variable]: undefined }
// Nor is it to read another list of recipients, or none where its file has been mistyped since; they are no secret.
const environmentOf = (list: RecipientList | undefined) => ({
  ...NO_TOKEN,
  [SETTINGS.recipients.variable]: list?.recipients.map(({ text }) => text).join(','),
  [SETTINGS.recipientsFile.variable]: undefined,
})

const LOOK_MS = 20 // for whether a process that has ended has still something to say

/** What the place of a worker works with. */
export interface PlaceParts {
  readonly adminToken: string
  /** Whom uploads are encrypted to. */
  readonly serverList: RecipientList | undefined
  readonly log: Log
  /** Writes a line to standard output. */
  readonly print: (line: string) => void
  /** Is told of a submission that failed through our fault. */
  readonly noteFailure: (code: string, requestId: string) => void
  /** Gives what all workers have counted and measured. */
  readonly readMetrics: () => Promise<readonly Family[]>
}

/** The place of one worker: the process that has it now, and the next one when that has ended. */
export class Place {
  /** What its workers have counted and measured. */
  readonly tally = new Tally((question) => this.#tell({ type: 'measure', question }))
  readonly #parts: PlaceParts
  readonly #pause = new Pause()
  #worker: Worker | undefined
  #ended: Promise<number | string> = Promise.resolve(0)
  #waiting: NodeJS.Timeout | undefined
  #isStopping = false

  constructor(parts: PlaceParts) {
    this.#parts = parts
  }

  /** Begins a process; gives what it announced when it listens, or throws why it does not. */
  start(): Promise<readonly string[]> {
    const worker = this.#fork()
    if (worker === undefined) return this.#ended.then((ending) => Promise.reject(new WorkerEndedError(ending)))
    const ended = endingOf(worker)
    this.#worker = worker
    this.#ended = ended
    return new Promise((resolve, reject) => {
      worker.on('message', (message: FromWorker) => {
        if (message.type === 'failed') reject(parseFailure(message.failure))
        else if (message.type !== 'started') this.#hear(worker, message)
        else {
          this.tally.begin()
          resolve(message.announced)
        }
      })
      void ended.then((ending) => {
        this.tally.end()
        reject(new WorkerEndedError(ending))
      })
    })
  }

  /** From here on a process that ends is replaced. */
  keep(): void {
    const [began, pid] = [performance.now(), this.#worker?.process.pid]
    void this.#ended.then((ending) => {
      if (!this.#isStopping) this.#replace(new WorkerEndedError(ending), pid, performance.now() - began)
    })
  }

  /** Lets the process finish what is under way; gives its exit code, or the signal that ended it. */
  stop(): Promise<number | string> {
    this.#isStopping = true
    clearTimeout(this.#waiting)
    if (this.#waiting !== undefined) return Promise.resolve(0) // the last one has ended, and was spoken of
    this.#tell({ type: 'stop' })
    return this.#ended
  }

  // What the system refuses at once, such as one process too many, is tried again as a process that has ended.
  #fork(): Worker | undefined {
    try {
      return cluster.fork(environmentOf(this.#parts.serverList))
    } catch (error) {
      this.#worker = undefined
      this.#ended = Promise.resolve(error instanceof Error ? error.message : String(error))
      return undefined
    }
  }

  /** Has the process take in what has changed outside. */
  reload(): void {
    this.#tell({ type: 'reload' })
  }

  #hear(worker: Worker, message: FromWorker): void {
    const { adminToken, log, print, noteFailure } = this.#parts
    if (message.type === 'log') log.append(message.name, message.line)
    else if (message.type === 'print') print(message.line)
    else if (message.type === 'submission failed') noteFailure(message.code, message.requestId)
    else if (message.type === 'measured') this.tally.take(message.question, message.families)
    else if (message.type === 'metrics wanted') void this.#answer(message.question)
    else if (message.type === 'here' && worker === this.#worker) {
      this.#tell({ type: 'start', adminToken })
      if (this.#isStopping) this.#tell({ type: 'stop' }) // it did not hear the first
    }
  }

  async #answer(question: number): Promise<void> {
    this.#tell({ type: 'metrics', question, families: await this.#parts.readMetrics() })
  }

  #tell(message: ToWorker): void {
    if (this.#worker?.isConnected() === true) this.#worker.send(message, undefined, () => undefined) // one that ends is seen to end
  }

  #replace(reason: Error, pid: number | undefined, ranMs: number): void {
    const { log } = this.#parts
    const pauseMs = this.#pause.after(ranMs)
    log.error('worker ended', reason, { pid, pause_seconds: pauseMs / 1000 })
    this.#waiting = setTimeout(() => {
      this.#waiting = undefined
      const started = this.start()
      const newPid = this.#worker?.process.pid
      started.then(
        () => log.info('worker replaced', { pid, by: newPid }),
        (error: unknown) => log.error('worker failed to start', error, { pid: newPid }),
      )
      this.keep()
    }, pauseMs)
  }
}

/** Fulfils when the process has ended and everything that it said has come; gives its exit code, or what ended it. */
function endingOf(worker: Worker): Promise<number | string> {
  return new Promise((resolve) => {
    // An error of a process that runs is a connection or a message for it that came too late: its end is seen here too.
    worker.on('error', (error: Error) => (worker.process.pid === undefined ? resolve(error.message) : undefined))
    worker.once('exit', (code: number | null, signal: string | null) => {
      // Not by its event, which does not come for one that was killed while a connection was handed to it.
      const look = setInterval(() => {
        if (worker.isConnected()) return
        clearInterval(look)
        resolve(code ?? signal ?? '')
      }, LOOK_MS)
    })
  })
}
