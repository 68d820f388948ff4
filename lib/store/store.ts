import { remove, type Directories } from '../durable.ts'
import { FreeSpace } from './free-space.ts'
import type { Layout } from './layout.ts'
import { Publisher, type Submission } from './publisher.ts'
import type { Receipt } from './receipt.ts'
import { Receipts } from './receipts.ts'
import { Repeats } from './repeats.ts'
import type { StagedFile } from './staged-file.ts'
import { Staging } from './staging.ts'
import { StampClock } from './stamp.ts'

/** The data directory, as one process writes it: staged files become submissions with receipts. */
export class Store {
  readonly #layout: Layout
  readonly #directories: Directories
  readonly #staging: Staging
  readonly #receipts: Receipts
  readonly #publisher: Publisher
  readonly #repeats = new Repeats()
  readonly #freeSpace: FreeSpace

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
    this.#publisher = new Publisher({ layout, directories, clock, staging, receipts })
  }

  /** Makes the directories. */
  async open(): Promise<void> {
    await this.#directories.ensure(this.#layout.responses)
    await this.#directories.ensure(this.#layout.receipts)
    await this.#staging.open()
  }

  /** Completes what dead processes had begun to publish and removes what else they left; returns the number of each. */
  async recover(): Promise<{ processes: number; completed: number }> {
    const abandoned = await this.#staging.adopt()
    let completed = 0
    for (const each of abandoned) {
      completed += await this.#publisher.complete(each)
      await this.#staging.removeAdopted(each)
    }
    return { processes: abandoned.length, completed }
  }

  /** Shows processes on other machines that this one is alive; to be called every few seconds. */
  beat(): Promise<void> {
    return this.#staging.beat()
  }

  /** Begins a file. */
  stage(): StagedFile {
    return this.#staging.stage()
  }

  /** Throws `insufficient_storage` where so many more bytes would reach into the reserve of free space. */
  requireSpace(bytes: number): Promise<void> {
    return this.#freeSpace.require(bytes)
  }

  /**
   * Publishes a submission whose files are finished; when the promise is fulfilled all of it is durable.
   * Files that are known to be stored already, under the same token and names, are not stored again: then the first
   * receipt is given, and a receipt of its own says that they came again.
   */
  async publish(submission: Submission): Promise<{ receipt: Receipt; isRepeated: boolean }> {
    const first = this.#repeats.find(submission)
    const isRepeated = first !== undefined && (await this.#publisher.isInPlace(first))
    const receipt = isRepeated ? first : await this.#publisher.publish(submission)
    if (isRepeated) await this.#publisher.noteRepeat(submission, first)
    else this.#repeats.remember(submission, receipt)
    await Promise.allSettled(submission.files.map((file) => remove(file.path))) // their second names are what counts
    return { receipt, isRepeated }
  }

  /** Closes what is open, when no submission is under way any more. */
  async close(): Promise<void> {
    await this.#receipts.close()
    await this.#staging.close()
  }
}
