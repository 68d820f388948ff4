import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { NotDirectoryError, type Directories } from '../directories.ts'
import { createWhole, isSameFile, putInPlace, remove, syncDirectory } from '../durable.ts'
import { HttpError, systemCode } from '../errors.ts'
import { findStats } from '../identity.ts'
import type { Content, Plain } from './arriving.ts'
import { formatIntent, INTENT } from './intent.ts'
import type { Layout } from './layout.ts'
import type { Receipt, ReceiptFile, ReceiptPlain } from './receipt.ts'
import type { Receipts } from './receipts.ts'
import type { StampClock } from './stamp.ts'
import type { Staging } from './staging.ts'
import { AGE_EXTENSION, nameFiles, toStoredName } from './stored-name.ts'

const GRANTED_MS = 250 // a disk that takes longer than that is no reason to keep what was taken back meanwhile

/** One file of a submission, its content durable in the staging directory unless it is held in memory. */
export interface StagedPart extends Content {
  readonly path: string
  /** Whether these are the answers of the field `responses`, rather than a file. */
  readonly isAnswers: boolean
  /** As in the receipt. */
  readonly holds?: 'fields'
  readonly field: string
  readonly name: string
  readonly mediaType: string | undefined
}

/** What a submission promises to keep, before it has its stamp. */
export interface Submission {
  readonly id: string
  readonly project: string
  readonly tokenSha256: string
  /** A moment no later than its token was found good, in milliseconds since the epoch. */
  readonly grantedAtMs: number
  readonly participant: string | undefined
  readonly fields: readonly { readonly name: string; readonly value: string }[]
  readonly files: readonly StagedPart[]
}

interface Link {
  readonly from: string
  readonly to: string
}

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

  /** Makes ready what `publish` needs: the project's directory, and every file durable in the staging directory. */
  async prepare({ project, files }: Submission): Promise<void> {
    await tellUnusable(this.#directories.ensure(this.#layout.responsesOf(project)))
    // One after another: a thousand small files must not take a thousand descriptors.
    for (const { path, held } of files) if (held !== undefined) await this.#staging.createStaged(path, held)
  }

  /** Publishes what was prepared: when the promise is fulfilled all of it is durable; where it fails nothing is left. */
  async publish(submission: Submission): Promise<Receipt> {
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
    await this.#append({ ...receipt, repeats: first.id }, submission)
  }

  // Whoever takes a token back then waits for files that have their second name, and finds the receipt, or nothing.
  async #append(receipt: Receipt, { tokenSha256, grantedAtMs }: Submission): Promise<void> {
    let refusal: unknown
    const requireToken = async (): Promise<void> => {
      const ageMs = Date.now() - grantedAtMs
      if (ageMs >= 0 && ageMs < GRANTED_MS) return
      if ((await findStats(this.#layout.recordOfToken(tokenSha256))) === undefined) throw new HttpError('unauthorized_token')
    }
    const append = this.#receipts.append(receipt, async () => {
      await requireToken().catch((error: unknown) => (refusal = error))
      return refusal === undefined
    })
    await tellUnusable(append)
    if (refusal !== undefined) throw refusal
  }

  async #publishOnce(submission: Submission): Promise<Receipt> {
    const receipt = formatReceipt(submission, this.#clock.next())
    const directory = this.#layout.responsesOf(submission.project)
    const links = receipt.files.map((file, index) => ({
      from: submission.files[index]?.path ?? '',
      to: `${directory}/${file.stored_as}`,
    }))
    const intentPath = links.length > 1 ? await this.#writeIntent(receipt, links) : undefined
    try {
      for (const { from, to } of links) await putInPlace(from, to)
      if (links.length > 0) await syncDirectory(directory)
      await this.#append(receipt, submission)
    } catch (error) {
      await Promise.allSettled([withdraw(directory, links, intentPath)]) // what failed first is what matters
      throw error
    }
    // The promise stands. An intent that stays is found done by its receipt.
    if (intentPath !== undefined) await Promise.allSettled([remove(intentPath)])
    return receipt
  }

  async #writeIntent(receipt: Receipt, links: readonly Link[]): Promise<string> {
    const path = this.#staging.newPath(INTENT)
    await createWhole(path, formatIntent({ receipt, staged: links.map(({ from }) => basename(from)) }))
    try {
      await syncDirectory(this.#staging.path)
    } catch (error) {
      await remove(path)
      throw error
    }
    return path
  }
}

async function tellUnusable(work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (error) {
    const isNoDirectory = error instanceof NotDirectoryError || systemCode(error) === 'ENOTDIR' // where it was one a moment ago
    throw isNoDirectory ? new HttpError('unusable_project', { cause: error }) : error
  }
}

// The intent last: where this is cut short the next start completes the submission, and no part of it stays alone. A
// link that failed may have been made all the same, and a name that was taken is not ours to remove: hence the look.
async function withdraw(directory: string, links: readonly Link[], intentPath: string | undefined): Promise<void> {
  for (const { from, to } of links) {
    if (await isSameFile(from, to)) await remove(to)
  }
  await Promise.allSettled([syncDirectory(directory)])
  if (intentPath !== undefined) await remove(intentPath)
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
// Our own file of text fields comes next.
function nameAll(files: readonly StagedPart[], stamp: string): ReceiptFile[] {
  const answersFirst = files.toSorted((a, b) => rankOf(a) - rankOf(b))
  const names = nameFiles(stamp, answersFirst.map(({ name, plain }) => `${toStoredName(name)}${plain === undefined ? '' : AGE_EXTENSION}`))
  return files.map((file) => ({
    field: file.field,
    name: file.name,
    stored_as: names[answersFirst.indexOf(file)] ?? '',
    ...(file.mediaType === undefined ? {} : { media_type: file.mediaType }),
    bytes: file.bytes,
    sha256: file.sha256,
    ...(file.plain === undefined ? {} : { plain: formatPlain(file.plain) }),
    ...(file.holds === undefined ? {} : { holds: file.holds }),
  }))
}

function rankOf({ isAnswers, holds }: StagedPart): number {
  if (isAnswers) return 0
  return holds === undefined ? 2 : 1
}

// Each by its name: the SHA-256 of the plaintext is not to be written anywhere.
function formatPlain({ bytes, zip }: Plain): ReceiptPlain {
  return { bytes, ...(zip === undefined ? {} : { zip }) }
}
