import { parentPort, workerData } from 'node:worker_threads'
import { Directories } from '../directories.ts'
import { observeSyncs, remove } from '../durable.ts'
import { HttpError, systemCode } from '../errors.ts'
import { Layout } from './layout.ts'
import { Publisher, type Submission } from './publisher.ts'
import type { Order, Outcome, Published, PublishFailure, PublishingParts, Task, Told } from './publishing-thread.ts'
import type { Receipt } from './receipt.ts'
import { Receipts } from './receipts.ts'
import { Repeats } from './repeats.ts'
import { Staging } from './staging.ts'
import { StampClock } from './stamp.ts'

const FEW_FILES = 4 // of a submission; each is synced by itself

// This file is where the thread of `PublishingThread` begins.
const { basedir, processName } = workerData as PublishingParts
const layout = new Layout(basedir)
const directories = new Directories()
const clock = new StampClock()
const staging = new Staging(layout.staging, processName, directories)
const receipts = new Receipts(layout, directories, clock, processName)
const publisher = new Publisher({ layout, directories, clock, staging, receipts })
const repeats = new Repeats()
let syncSeconds: number[] = []
observeSyncs((seconds) => syncSeconds.push(seconds))

parentPort?.on('message', (order: Order) => {
  if (order === 'close') void receipts.close().finally(() => parentPort?.close())
  else void workAll(order)
})
parentPort?.on('messageerror', (error) => {
  throw error // which submissions it held nobody knows: the thread ends, and all under way are told so
})

tell([], false) // it is ready

// Step by step together, so that they share the sync of their directory and that of their receipts. Those with many files
// go a way of their own: nobody is to wait for them.
async function workAll(tasks: readonly Task[]): Promise<void> {
  const [few, many] = [tasks.filter(hasFewFiles), tasks.filter((task) => !hasFewFiles(task))]
  for (const task of many) void work(task, prepare(task)).then((outcome) => tell([outcome], false))
  const preparing = few.map((task) => ({ task, prepared: prepare(task) }))
  await Promise.allSettled(preparing.map(({ prepared }) => prepared))
  const outcomes = await Promise.all(preparing.map(({ task, prepared }) => work(task, prepared)))
  tell(outcomes, true)
}

function hasFewFiles({ submission }: Task): boolean {
  return submission.files.length <= FEW_FILES
}

/** Gives the first receipt where the submission is a repeat; else makes ready what it takes to publish it. */
async function prepare({ submission }: Task): Promise<Receipt | undefined> {
  const first = repeats.find(submission)
  if (first !== undefined && (await publisher.isInPlace(first))) return first
  await publisher.prepare(submission)
  return undefined
}

async function work({ number, submission }: Task, prepared: Promise<Receipt | undefined>): Promise<Outcome> {
  try {
    return { number, type: 'published', published: await publish(submission, await prepared) }
  } catch (error) {
    return { number, type: 'failed', failure: formatFailure(error) }
  }
}

async function publish(submission: Submission, first: Receipt | undefined): Promise<Published> {
  const receipt = first ?? (await publisher.publish(submission))
  if (first === undefined) repeats.remember(submission, receipt)
  else await publisher.noteRepeat(submission, first)
  await Promise.allSettled(submission.files.map((file) => remove(file.path))) // their second names are what counts
  return { receipt, isRepeated: first !== undefined }
}

function tell(outcomes: readonly Outcome[], isRoundOver: boolean): void {
  parentPort?.postMessage({ outcomes, isRoundOver, syncSeconds } satisfies Told)
  syncSeconds = []
}

function formatFailure(error: unknown): PublishFailure {
  if (!(error instanceof Error)) return { message: String(error), stack: undefined, code: undefined, refusal: undefined }
  const told = error instanceof HttpError && error.cause instanceof Error ? error.cause : error
  const refusal = error instanceof HttpError ? error.code : undefined
  return { message: told.message, stack: told.stack, code: systemCode(told), refusal }
}
