import { noteZip } from '../archive/zip-note.ts'
import type { RecipientList } from '../crypt/recipient-list.ts'
import type { Arriving, Content } from '../store/arriving.ts'
import type { StagedPart } from '../store/publisher.ts'

const MAX_HELD_BYTES = 128 * 1024 // of small files, which reach the disk with the publish

/** What is known of a file beside its content. */
export type Description = Omit<StagedPart, 'path' | keyof Content>

/** The files of one form, from their first byte until they can be published. */
export class FormFiles {
  readonly #stage: () => Arriving
  readonly #begun: Arriving[] = []
  readonly #kept: { readonly file: Arriving; readonly description: Description }[] = []
  #heldBytes = 0
  #ending: Promise<void> = Promise.resolve()
  #lastEnded: Arriving | undefined
  #isDiscarded = false

  constructor(stage: () => Arriving) {
    this.#stage = stage
  }

  /** Begins a file. */
  begin(): Arriving {
    const file = this.#stage()
    this.#begun.push(file)
    return file
  }

  /** Takes a file whose last byte has come. Returns a promise where the sender should wait until the disk has caught up. */
  keep(file: Arriving, description: Description): Promise<void> | undefined {
    this.#kept.push({ file, description })
    if (this.#heldBytes + file.bytes <= MAX_HELD_BYTES && file.hold()) {
      this.#heldBytes += file.bytes
      return undefined
    }
    this.#ending = this.#ending.then(() => this.#end(file))
    return this.#ending
  }

  /**
   * Fulfils when every file but the small ones is durable in the staging directory, in the order in which they came.
   * @param readers whom they are encrypted to, where they are
   */
  async finish(readers: RecipientList | undefined): Promise<StagedPart[]> {
    await this.#ending
    const closing = readers === undefined ? undefined : { readers, look: noteZip }
    const parts: StagedPart[] = []
    for (const { file, description } of this.#kept) {
      parts.push({ path: file.path, ...description, ...(await file.finish(closing)) })
    }
    return parts
  }

  /** Says that all of it is published. */
  release(): void {
    for (const file of this.#begun) file.release()
  }

  /** Removes everything. */
  async discard(): Promise<void> {
    this.#isDiscarded = true
    await Promise.allSettled([this.#ending])
    const failures: unknown[] = []
    // One after another: of many forms that end at once, with a thousand files each, nobody else is to wait.
    for (const file of this.#begun) await file.discard().catch((error: unknown) => void failures.push(error))
    if (failures.length > 0) throw failures[0]
  }

  // One after another, and one open at a time: a thousand small files in one chunk must not take a thousand descriptors.
  async #end(file: Arriving): Promise<void> {
    if (this.#isDiscarded) return // no syncs for what is about to be removed
    await this.#lastEnded?.rest()
    this.#lastEnded = file
    await file.end()
  }
}
