import type { RecipientList } from '../crypt/recipient-list.ts'
import type { Directories } from '../directories.ts'
import type { Arriving } from './arriving.ts'
import { FreeSpace, type Room } from './free-space.ts'
import type { Layout } from './layout.ts'
import { probe, type Findings, type Look } from './probe.ts'
import type { Submission } from './publisher.ts'
import { PublishingThread, type Published } from './publishing-thread.ts'
import { Receipts } from './receipts.ts'
import { Recovery } from './recovery.ts'
import { Staging } from './staging.ts'
import { StampClock } from './stamp.ts'

/** What a look for dead processes came to. */
export interface Recoveries {
  /** How many staging directories were cleared away. */
  readonly processes: number
  /** How many submissions were completed. */
  readonly completed: number
  /** What stood in the way of the others; they are tried again the next time. */
  readonly failures: readonly unknown[]
}

/** The data directory, as one process writes it: staged files become submissions with receipts. */
export class Store {
  readonly #layout: Layout
  readonly #directories: Directories
  readonly #staging: Staging
  readonly #receipts: Receipts
  readonly #publishing: PublishingThread
  readonly #freeSpace: FreeSpace
  readonly #recovery: Recovery
  #recovering: Promise<Recoveries> | undefined

  /**
   * @param processId 8 hex digits that no other process on this base directory has
   * @param reserveBytes free space that no upload may take; see `FreeSpace`
   */
  constructor(layout: Layout, directories: Directories, processId: string, reserveBytes: number | undefined) {
    const clock = new StampClock()
    const processName = `${clock.next().basic}-${processId}`
    const staging = new Staging(layout.staging, processName, directories)
    const receipts = new Receipts(layout, directories, clock, processName)
    this.#layout = layout
    this.#directories = directories
    this.#staging = staging
    this.#receipts = receipts
    this.#freeSpace = new FreeSpace(layout.basedir, reserveBytes)
    this.#recovery = new Recovery(layout, directories, receipts)
    this.#publishing = new PublishingThread({ basedir: layout.basedir, processName }, () => this.#settleOwn())
  }

  /** Makes the directories. */
  async open(): Promise<void> {
    await this.#directories.ensure(this.#layout.responses)
    await this.#directories.ensure(this.#layout.receipts)
    await this.#staging.open()
  }

  /** Begins to publish; `close` ends that. The first submission would do so too, and wait for it. */
  begin(): Promise<void> {
    return this.#publishing.begin()
  }

  /** Completes what dead processes had begun to publish and removes what else they left. */
  recover(): Promise<Recoveries> {
    this.#recovering ??= this.#recoverOnce().finally(() => {
      this.#recovering = undefined
    })
    return this.#recovering
  }

  /** Shows processes on other machines that this one is alive; to be called every few seconds. */
  beat(): Promise<void> {
    return this.#staging.beat()
  }

  /**
   * Begins a file.
   * @param expected who will probably read it, where it is to be stored encrypted
   */
  stage(expected: RecipientList | undefined): Arriving {
    return this.#staging.stage(expected)
  }

  /** Throws `insufficient_storage` where so many more bytes would reach into the reserve of free space. */
  requireSpace(bytes: number): Promise<void> {
    return this.#freeSpace.require(bytes)
  }

  /** Gives the room on the file system of the base directory; looks once a second at most. */
  room(): Promise<Room> {
    return this.#freeSpace.look()
  }

  /** The room there was lately; undefined where the file system has not answered for a minute. */
  get knownRoom(): Room | undefined {
    return this.#freeSpace.known
  }

  /** Finds out whether submissions can be stored; see `probe`. */
  probe(onLook: (look: Look) => void): Promise<Findings> {
    return probe(this.#staging, this.#freeSpace, onLook)
  }

  /**
   * Publishes a submission whose files are finished; when the promise is fulfilled all of it is durable.
   * Files that are known to be stored already, under the same token and names, are not stored again: then the first
   * receipt is given, and a receipt of its own says that they came again.
   */
  publish(submission: Submission): Promise<Published> {
    return this.#publishing.publish(submission)
  }

  /** Closes what is open, when no submission is under way any more. */
  async close(): Promise<void> {
    await this.#publishing.close()
    await this.#receipts.close()
    await this.#staging.close()
  }

  async #settleOwn(): Promise<void> {
    const { failures } = await this.#recovery.complete(this.#staging.path)
    if (failures.length > 0) throw failures[0]
  }

  async #recoverOnce(): Promise<Recoveries> {
    const failures: unknown[] = []
    let [processes, completed] = [0, 0]
    for (const path of await this.#staging.adopt()) {
      try {
        const recovered = await this.#recovery.complete(path)
        completed += recovered.completed
        failures.push(...recovered.failures)
        if (recovered.failures.length > 0) continue
        await this.#staging.removeAdopted(path)
        processes++
      } catch (error) {
        failures.push(error)
      }
    }
    return { processes, completed, failures }
  }
}
