import { join } from 'node:path'
import { ArchiveError } from '../archive/archive-error.ts'
import { findStats } from '../identity.ts'
import type { Layout } from '../store/layout.ts'
import type { Receipt, ReceiptFile } from '../store/receipt.ts'
import { forEachBounded } from './bounded.ts'
import { LockedError, type Keyring } from './keyring.ts'
import { listDirectory } from './projects.ts'
import { readReceiptLines } from './receipt-line.ts'
import { readStoredContent } from './stored-content.ts'
import { readRanges } from './upload-archive.ts'
import { isWithdrawal, readWithdrawals } from './withdrawals.ts'

const LEFT = 'a participant has withdrawn it, and it is still there: run withdraw again'
const AT_ONCE = 4 // a digest keeps a core busy; more would only wait

/** Something that is not as it was promised, or not promised at all. */
export interface Discrepancy {
  readonly type: 'missing' | 'changed' | 'not opened' | 'broken chain' | 'unreadable' | 'torn' | 'no receipt' | 'not erased' | 'not vouched for'
  /** A path relative to the base directory. */
  readonly where: string
  readonly detail: string
}

/** What a verification has looked at. */
export interface Verified {
  receipts: number
  /** Receipts that were withdrawn, each vouched for by the record of its withdrawal. */
  withdrawn: number
  files: number
  bytes: number
  /** Files that are encrypted, and how many of these were opened. */
  encrypted: number
  opened: number
  /** Of everything promised, for the progress; it rises while receipts are read. */
  promisedFiles: number
  promisedBytes: number
}

/** Says whether a discrepancy means that a promise was broken. What the seed server stored has no receipts; a torn line was never answered. */
export function isBroken(discrepancy: Discrepancy): boolean {
  return discrepancy.type !== 'no receipt' && discrepancy.type !== 'torn'
}

/** Makes an empty count. */
export function startCount(): Verified {
  return { receipts: 0, withdrawn: 0, files: 0, bytes: 0, encrypted: 0, opened: 0, promisedFiles: 0, promisedBytes: 0 }
}

/**
 * Holds every receipt of a project against the disk: each file's presence, size and SHA-256, and the chain of each
 * receipts file. Reads every byte that was promised, and changes nothing.
 * @param count is kept up to date on the way
 * @param report is told of each discrepancy as it is made
 * @param keyring opens every encrypted file too, to its end; undefined where what is stored is all that is looked at
 */
export async function verifyProject(
  layout: Layout,
  project: string,
  count: Verified,
  report: (discrepancy: Discrepancy) => void,
  keyring?: Keyring,
): Promise<void> {
  const stored = await listDirectory(layout.responsesOf(project)) // before the receipts: those of new files follow them
  const promised = await readPromises(layout, project, count, report)
  const names = new Set([...promised.values()].map((file) => file.stored_as))
  await forEachBounded(promised.values(), AT_ONCE, async (file) => {
    const isWhole = await holdAgainstDisk(layout, project, file, count, report)
    if (file.plain === undefined) return
    count.encrypted++
    if (isWhole && keyring !== undefined) await openWhole(layout, project, file, { keyring, count, report })
  })
  const withdrawals = await readWithdrawals(layout, project)
  for (const name of [...stored.files, ...stored.others]) {
    if (names.has(name)) continue
    const where = join('uploads', 'responses', project, name)
    if (withdrawals.hasFile(name)) await reportLeft(join(layout.responses, project, name), where, report)
    else report({ type: 'no receipt', where, detail: 'no receipt names it' })
  }
}

async function reportLeft(path: string, where: string, report: (discrepancy: Discrepancy) => void): Promise<void> {
  if ((await findStats(path)) !== undefined) report({ type: 'not erased', where, detail: LEFT })
}

async function readPromises(
  layout: Layout,
  project: string,
  count: Verified,
  report: (discrepancy: Discrepancy) => void,
): Promise<Map<string, ReceiptFile>> {
  const promised = new Map<string, ReceiptFile>()
  const directory = layout.receiptsOf(project)
  let withdrawals = await readWithdrawals(layout, project)
  for (const name of withdrawals.unreadable) report({ type: 'unreadable', where: join('receipts', project, name), detail: 'it is not the record of a withdrawal of this project' })
  for (const name of (await listDirectory(directory)).files.filter((each) => each.endsWith('.ndjson') && !isWithdrawal(each))) {
    const where = join('receipts', project, name)
    const stoodAt = (offset: number) => withdrawals.find(name, offset)?.sha256
    for await (const line of readReceiptLines(join(directory, name), { stoodAt })) {
      const { number, receipt, isChained, isTorn, withdrawn } = line
      if (isTorn) {
        report({ type: 'torn', where, detail: `line ${number} ends without a newline: it was never answered, or the file was cut since` })
        continue
      }
      if (!isChained) report({ type: 'broken chain', where, detail: `line ${number} does not carry the SHA-256 of the line before it` })
      if (withdrawn !== undefined && stoodAt(line.offset) === undefined) withdrawals = await readWithdrawals(layout, project) // made at this moment
      const stood = stoodAt(line.offset)
      if (withdrawn !== undefined || stood !== undefined) {
        if (withdrawn === stood) count.withdrawn++
        else if (stood === undefined) report({ type: 'not vouched for', where, detail: `line ${number} says that it was withdrawn, and no record of a withdrawal does` })
        else report({ type: 'not erased', where, detail: `line ${number}: ${LEFT}` })
        continue
      }
      if (receipt === undefined || receipt.project !== project) {
        report({ type: 'unreadable', where, detail: `line ${number} is not a receipt of this project` })
        continue
      }
      count.receipts++
      const other = receipt.files.find((file) => !hasStampOf(file, receipt))
      if (other !== undefined) report({ type: 'changed', where, detail: `line ${number} says ${receipt.received_at}, which is not the time in the name of its file ${other.stored_as}` })
      for (const file of receipt.files) {
        const key = JSON.stringify([file.stored_as, file.bytes, file.sha256]) // two receipts may promise two contents of one file
        if (promised.has(key)) continue
        promised.set(key, file)
        count.promisedFiles++
        count.promisedBytes += file.bytes
      }
    }
  }
  return promised
}

// The server makes both of one stamp. No line after the last one of a file vouches for it.
function hasStampOf({ stored_as: storedAs }: ReceiptFile, { received_at: receivedAt }: Receipt): boolean {
  return storedAs.startsWith(`${receivedAt.replace(/[:-]/g, '')}-`)
}

async function holdAgainstDisk(
  layout: Layout,
  project: string,
  file: ReceiptFile,
  count: Verified,
  report: (discrepancy: Discrepancy) => void,
): Promise<boolean> {
  const where = join('uploads', 'responses', project, file.stored_as)
  const content = await readStoredContent(join(layout.responsesOf(project), file.stored_as), (bytes) => (count.bytes += bytes))
  count.files++
  if (content.type === 'missing') {
    if ((await readWithdrawals(layout, project)).hasFile(file.stored_as)) return false // since its receipt was read
    report({ type: 'missing', where, detail: `${file.bytes} bytes were promised` })
  } else if (content.type === 'irregular') report({ type: 'changed', where, detail: 'it is not a plain file' })
  else if (content.bytes !== file.bytes) report({ type: 'changed', where, detail: `${content.bytes} bytes where ${file.bytes} were promised` })
  else if (content.sha256 !== file.sha256) report({ type: 'changed', where, detail: `SHA-256 is ${content.sha256}, promised was ${file.sha256}` })
  else return true
  return false
}

// Each of its chunks carries a proof that nobody who lacks the key can have made. What comes out is counted, and no more.
async function openWhole(
  layout: Layout,
  project: string,
  file: ReceiptFile,
  { keyring, count, report }: { keyring: Keyring; count: Verified; report: (discrepancy: Discrepancy) => void },
): Promise<void> {
  const where = join('uploads', 'responses', project, file.stored_as)
  const path = join(layout.responsesOf(project), file.stored_as)
  try {
    let bytes = 0
    for await (const piece of readRanges([{ path, unseal: () => keyring.unseal(path) }])) bytes += piece.length
    if (bytes === file.plain?.bytes) count.opened++
    else report({ type: 'changed', where, detail: `it holds ${bytes} bytes where its receipt promised ${file.plain?.bytes}` })
  } catch (error) {
    if (!(error instanceof ArchiveError)) throw error
    report({ type: error instanceof LockedError ? 'not opened' : 'changed', where, detail: error.reason })
  }
}
