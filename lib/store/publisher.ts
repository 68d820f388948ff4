import { readFile, readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { createWhole, putInPlace, refuseUnlessDirectory, remove, syncDirectory, type Directories } from '../durable.ts'
import { systemCode } from '../errors.ts'
import type { Layout } from './layout.ts'
import type { Receipt, ReceiptFile } from './receipt.ts'
import type { Receipts } from './receipts.ts'
import type { StampClock } from './stamp.ts'
import type { Abandoned, Staging } from './staging.ts'
import { nameFiles, toStoredName } from './stored-name.ts'

/** One file of a submission, its content durable in the staging directory. */
export interface StagedPart {
  readonly path: string
  /** Whether these are the answers of the field `responses`, rather than a file. */
  readonly isAnswers: boolean
  readonly field: string
  readonly name: string
  readonly mediaType: string | undefined
  readonly bytes: number
  readonly sha256: string
}

/** What a submission promises to keep, before it has its stamp. */
export interface Submission {
  readonly id: string
  readonly project: string
  readonly tokenSha256: string
  readonly participant: string | undefined
  readonly fields: readonly { readonly name: string; readonly value: string }[]
  readonly files: readonly StagedPart[]
}

const INTENT = '.intent.json'

/**
 * Gives submissions their final names and writes their receipts.
 *
 * Several files appear together or not at all: what is to be linked is first written down in the staging directory, so
 * that the next start completes what a crash has interrupted. One link needs no such note.
 */
export class Publisher {
  readonly #layout: Layout
  readonly #directories: Directories
  readonly #clock: StampClock
  readonly #staging: Staging
  readonly #receipts: Receipts

  constructor(parts: {
    layout: Layout
    directories: Directories
    clock: StampClock
    staging: Staging
    receipts: Receipts
  }) {
    this.#layout = parts.layout
    this.#directories = parts.directories
    this.#clock = parts.clock
    this.#staging = parts.staging
    this.#receipts = parts.receipts
  }

  /** Publishes a submission: when the promise is fulfilled all of it is durable; where it fails nothing is left. */
  async publish(submission: Submission): Promise<Receipt> {
    await this.#ensureProject(submission.project)
    for (;;) {
      try {
        return await this.#publishOnce(submission)
      } catch (error) {
        if (systemCode(error) !== 'EEXIST') throw error // another process has used this stamp: take the next one
      }
    }
  }

  /** Says whether every file of a receipt lies where it says. */
  async isInPlace(receipt: Receipt): Promise<boolean> {
    const directory = this.#layout.responsesOf(receipt.project)
    const found = await Promise.all(receipt.files.map((file) => sizeOf(join(directory, file.stored_as))))
    return receipt.files.every((file, index) => found[index] === file.bytes)
  }

  /** Writes the receipt of a submission whose files another receipt has already promised. */
  async noteRepeat(submission: Submission, first: Receipt): Promise<void> {
    const receipt = formatReceipt({ ...submission, files: [] }, this.#clock.next())
    await this.#receipts.append({ ...receipt, repeats: first.id })
  }

  /** Completes the publishes that a dead process had begun. */
  async complete(abandoned: Abandoned): Promise<number> {
    const intents = (await readdir(abandoned.path)).filter((entry) => entry.endsWith(INTENT))
    let completed = 0
    for (const entry of intents) {
      const receipt = parseIntent(await readFile(join(abandoned.path, entry), 'utf8'))
      if (receipt === undefined) continue // cut off before it was durable: nothing had been linked
      if (await this.#completeOne(abandoned, receipt)) completed++
    }
    return completed
  }

  async #ensureProject(project: string): Promise<void> {
    const directory = this.#layout.responsesOf(project)
    await this.#directories.ensure(directory)
    try {
      await refuseUnlessDirectory(directory)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error
      this.#directories.forget(directory)
      await this.#directories.ensure(directory)
    }
  }

  async #publishOnce(submission: Submission): Promise<Receipt> {
    const stamp = this.#clock.next()
    const receipt = formatReceipt(submission, stamp)
    const paths = submission.files.map((file) => file.path)
    const intent = paths.length > 1 ? await this.#writeIntent(receipt, paths) : undefined
    const directory = this.#layout.responsesOf(submission.project)
    const linked: string[] = []
    try {
      for (const [index, file] of receipt.files.entries()) {
        const path = join(directory, file.stored_as)
        await putInPlace(paths[index] ?? '', path)
        linked.push(path)
      }
      if (linked.length > 0) await syncDirectory(directory)
      await this.#receipts.append(receipt)
    } catch (error) {
      await Promise.allSettled([this.#withdraw(directory, linked, intent)]) // what failed first is what matters
      throw error
    }
    if (intent !== undefined) await remove(intent)
    return receipt
  }

  // In this order: once the note is gone nobody completes what is being taken back.
  async #withdraw(directory: string, linked: readonly string[], intent: string | undefined): Promise<void> {
    if (intent !== undefined) await remove(intent)
    for (const path of linked) await remove(path)
    if (linked.length > 0) await syncDirectory(directory)
  }

  async #writeIntent(receipt: Receipt, paths: readonly string[]): Promise<string> {
    const path = this.#staging.newPath(INTENT)
    await createWhole(path, JSON.stringify({ receipt, staged: paths.map((each) => basename(each)) }))
    await syncDirectory(this.#staging.path)
    return path
  }

  async #completeOne(abandoned: Abandoned, { receipt, staged }: Intent): Promise<boolean> {
    if (await this.#receipts.has(receipt, abandoned.processName)) return false
    await this.#ensureProject(receipt.project)
    const directory = this.#layout.responsesOf(receipt.project)
    const links = receipt.files.map((file, index) => ({
      from: join(abandoned.path, staged[index] ?? ''),
      to: join(directory, file.stored_as),
    }))
    const outcomes = await Promise.all(links.map(linkUnlessDone))
    if (outcomes.includes('conflict')) {
      await Promise.all(links.filter((_, index) => outcomes[index] === 'linked').map(({ to }) => remove(to)))
      return false // it was never answered with 200: nothing of it is better than a part of it
    }
    await syncDirectory(directory)
    await this.#receipts.append(receipt)
    return true
  }
}

interface Intent {
  readonly receipt: Receipt
  readonly staged: readonly string[]
}

// Written by this same class and synced whole before anything was linked: what parses is complete.
function parseIntent(text: string): Intent | undefined {
  try {
    return JSON.parse(text) as Intent
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

async function linkUnlessDone({ from, to }: { from: string; to: string }): Promise<'linked' | 'conflict'> {
  try {
    await putInPlace(from, to)
    return 'linked'
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
    const [staged, stored] = await Promise.all([stat(from), stat(to)])
    return staged.ino === stored.ino && staged.dev === stored.dev ? 'linked' : 'conflict'
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function formatReceipt(submission: Submission, stamp: { basic: string; extended: string }): Receipt {
  const { id, project, tokenSha256, participant, fields, files } = submission
  return {
    id,
    received_at: stamp.extended,
    project,
    token_sha256: tokenSha256,
    ...(participant === undefined ? {} : { participant }),
    fields,
    files: nameAll(files, stamp.basic),
  }
}

// `responses` have the plain name, wherever they stood in the form: `<stamp>-messages.json` is where they are looked for.
function nameAll(files: readonly StagedPart[], stamp: string): ReceiptFile[] {
  const answersFirst = files.toSorted((a, b) => Number(b.isAnswers) - Number(a.isAnswers))
  const names = nameFiles(stamp, answersFirst.map((file) => toStoredName(file.name)))
  return files.map((file) => ({
    field: file.field,
    name: file.name,
    stored_as: names[answersFirst.indexOf(file)] ?? '',
    ...(file.mediaType === undefined ? {} : { media_type: file.mediaType }),
    bytes: file.bytes,
    sha256: file.sha256,
  }))
}
