import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256Of } from '../sha256.ts'
import type { Layout } from '../store/layout.ts'
import { parseWithdrawal, WITHDRAWAL, type Withdrawal, type WithdrawnReceipt } from '../store/withdrawal.ts'
import { listDirectory } from './projects.ts'

/** Says whether a receipts file is that of a withdrawal. */
export function isWithdrawal(name: string): boolean {
  return name.endsWith(WITHDRAWAL)
}

/** What participants of a project who withdrew have had erased, or are having erased. */
export class Withdrawals {
  readonly all: readonly Withdrawal[]
  /** Names of files that should hold a withdrawal and do not. One that was cut as it was written is not among them: nothing had been erased. */
  readonly unreadable: readonly string[]
  readonly #receipts = new Map<string, WithdrawnReceipt>()
  readonly #ids = new Set<string>()
  readonly #names = new Set<string>()

  constructor(all: readonly Withdrawal[], unreadable: readonly string[]) {
    this.all = all
    this.unreadable = unreadable
    for (const { receipts, files } of all) {
      for (const receipt of receipts) {
        this.#receipts.set(placeOf(receipt.file, receipt.offset), receipt)
        this.#ids.add(receipt.id_sha256)
      }
      for (const { name_sha256: name } of files) this.#names.add(name)
    }
  }

  /** Finds the receipt that was withdrawn from a place. */
  find(file: string, offset: number): WithdrawnReceipt | undefined {
    return this.#receipts.get(placeOf(file, offset))
  }

  /** Says whether a stored file was withdrawn. */
  hasFile(storedAs: string): boolean {
    return this.#names.size > 0 && this.#names.has(sha256Of(storedAs))
  }

  /** Says whether the receipt with this id was withdrawn. */
  hasReceipt(id: string): boolean {
    return this.#ids.size > 0 && this.#ids.has(sha256Of(id))
  }
}

/** Reads the withdrawals of a project. To be read after the receipts that it is asked about: it was written before they were erased. */
export async function readWithdrawals(layout: Layout, project: string): Promise<Withdrawals> {
  const directory = layout.receiptsOf(project)
  const all: Withdrawal[] = []
  const unreadable: string[] = []
  for (const name of (await listDirectory(directory)).files.filter(isWithdrawal)) {
    const text = await readFile(join(directory, name), 'utf8')
    if (!text.endsWith('\n')) continue
    const withdrawal = parseWithdrawal(text)
    if (withdrawal?.project === project) all.push(withdrawal)
    else unreadable.push(name)
  }
  return new Withdrawals(all, unreadable)
}

function placeOf(file: string, offset: number): string {
  return `${offset} ${file}`
}
