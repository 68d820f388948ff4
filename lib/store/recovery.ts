import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Directories } from '../directories.ts'
import { putInPlace, remove, syncDirectory } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { INTENT, parseIntent, type Intent } from './intent.ts'
import type { Layout } from './layout.ts'
import type { ReceiptFile } from './receipt.ts'
import type { Receipts } from './receipts.ts'

/** What came of the intents in one staging directory. */
export interface Recovered {
  readonly completed: number
  /** Why the others could not be completed; they are left for the next time. */
  readonly failures: readonly unknown[]
}

/** Completes what dead processes had begun to publish. */
export class Recovery {
  readonly #layout: Layout
  readonly #directories: Directories
  readonly #receipts: Receipts

  constructor(layout: Layout, directories: Directories, receipts: Receipts) {
    this.#layout = layout
    this.#directories = directories
    this.#receipts = receipts
  }

  /** Completes the publishes in a staging directory; one that fails does not keep the others from it. */
  async complete(stagingPath: string): Promise<Recovered> {
    const failures: unknown[] = []
    let completed = 0
    for (const entry of await readdir(stagingPath)) {
      if (!entry.endsWith(INTENT)) continue
      try {
        if (await this.#completeOne(stagingPath, entry)) completed++
      } catch (error) {
        failures.push(error)
      }
    }
    return { completed, failures }
  }

  /** Returns false where there is nothing to complete: it was, or it can never be. */
  async #completeOne(stagingPath: string, entry: string): Promise<boolean> {
    const path = join(stagingPath, entry)
    const intent = parseIntent(await readFile(path, 'utf8'))
    const isLeft = intent !== undefined && !(await this.#receipts.has(intent.receipt))
    const isWhole = isLeft && (await this.#putAllInPlace(stagingPath, intent))
    if (isWhole) await this.#receipts.append(intent.receipt)
    await remove(path) // what failed before this line is tried again
    return isWhole
  }

  // It was never answered with 200: where a part of it is lost, nothing of it is better than the rest.
  async #putAllInPlace(stagingPath: string, { receipt, staged }: Intent): Promise<boolean> {
    const directory = this.#layout.responsesOf(receipt.project)
    await this.#directories.ensure(directory)
    const linked: string[] = []
    let isWhole = true
    for (const [index, file] of receipt.files.entries()) {
      const path = join(directory, file.stored_as)
      if (await isLinked(join(stagingPath, staged[index] ?? ''), path)) linked.push(path)
      else isWhole &&= await holds(path, file)
    }
    if (!isWhole) for (const path of linked) await remove(path)
    await syncDirectory(directory)
    return isWhole
  }
}

/** Returns false where another file has the name, as after a restore that knows no links, or the staged name is gone. */
async function isLinked(stagedPath: string, path: string): Promise<boolean> {
  try {
    await putInPlace(stagedPath, path)
    return true
  } catch (error) {
    if (systemCode(error) === 'EEXIST' || systemCode(error) === 'ENOENT') return false
    throw error
  }
}

async function holds(path: string, file: ReceiptFile): Promise<boolean> {
  try {
    if ((await stat(path)).size !== file.bytes) return false
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(path)) hash.update(chunk)
    return hash.digest('hex') === file.sha256
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}
