import { parentPort, workerData } from 'node:worker_threads'
import { Directories } from '../directories.ts'
import { observeSyncs, remove } from '../durable.ts'
import { HttpError, systemCode } from '../errors.ts'
import { Layout } from './layout.ts'
import { Publisher, type Submission } from './publisher.ts'
import type { Failure, Order, Outcome, Published, PublishingParts, Told } from './publishing-thread.ts'
import { Receipts } from './receipts.ts'
import { Repeats } from './repeats.ts'
import { Staging } from './staging.ts'
import { StampClock } from './stamp.ts'

// This file is where the thread of `PublishingThread` begins.
const { basedir, processName } = workerData as PublishingParts
const layout = new Layout(basedir)
const directories = new Directories()
const clock = new StampClock()
const staging = new Staging(layout.staging, processName, directories)
const receipts = new Receipts(layout, directories, clock, processName)
const publisher = new Publisher({ layout, directories, clock, staging, receipts })
const repeats = new Repeats()
let outcomes: Outcome[] = []
let syncSeconds: number[] = []
observeSyncs((seconds) => syncSeconds.push(seconds))

parentPort?.on('message', (order: Order) => {
  if (order === 'close') void receipts.close().finally(() => parentPort?.close())
  else for (const { number, submission } of order) void work(number, submission)
})
parentPort?.on('messageerror', (error) => {
  throw error // which submissions it held nobody knows: the thread ends, and all under way are told so
})

parentPort?.postMessage({ outcomes, syncSeconds } satisfies Told) // nothing yet: it is ready

async function work(number: number, submission: Submission): Promise<void> {
  try {
    tell({ number, type: 'published', published: await publish(submission) })
  } catch (error) {
    tell({ number, type: 'failed', failure: formatFailure(error) })
  }
}

// What ended in one turn of the event loop is told in one message.
function tell(outcome: Outcome): void {
  outcomes.push(outcome)
  if (outcomes.length > 1) return
  setImmediate(() => {
    parentPort?.postMessage({ outcomes, syncSeconds } satisfies Told)
    outcomes = []
    syncSeconds = []
  })
}

async function publish(submission: Submission): Promise<Published> {
  const first = repeats.find(submission)
  const isRepeated = first !== undefined && (await publisher.isInPlace(first))
  const receipt = isRepeated ? first : await publisher.publish(submission)
  if (isRepeated) await publisher.noteRepeat(submission, first)
  else repeats.remember(submission, receipt)
  await Promise.allSettled(submission.files.map((file) => remove(file.path))) // their second names are what counts
  return { receipt, isRepeated }
}

function formatFailure(error: unknown): Failure {
  if (!(error instanceof Error)) return { message: String(error), stack: undefined, code: undefined, refusal: undefined }
  const told = error instanceof HttpError && error.cause instanceof Error ? error.cause : error
  const refusal = error instanceof HttpError ? error.code : undefined
  return { message: told.message, stack: told.stack, code: systemCode(told), refusal }
}
