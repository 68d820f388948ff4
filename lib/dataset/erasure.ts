import { randomUUID } from 'node:crypto'
import { chown } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Directories } from '../directories.ts'
import { createWhole, isSameFile, overwrite, remove, syncDirectory, type FileOwner, type Patch } from '../durable.ts'
import { findStats } from '../identity.ts'
import { sha256Of } from '../sha256.ts'
import type { Layout } from '../store/layout.ts'
import { inodeOf, lookAtStaging, type IntentFile, type StagingLook } from '../store/staging-look.ts'
import { StampClock } from '../store/stamp.ts'
import { digestOf, formatTombstone, formatWithdrawal, parseWithdrawal, WITHDRAWAL, type Withdrawal, type WithdrawnFile, type WithdrawnReceipt } from '../store/withdrawal.ts'
import type { Belongings, OwnFile } from './belongings.ts'
import { listDirectory } from './projects.ts'
import { readReceiptLines, type ReceiptLine } from './receipt-line.ts'
import { readStoredContent } from './stored-content.ts'
import { readWithdrawals, type Withdrawals } from './withdrawals.ts'

const clock = new StampClock()

/** What was withdrawn and is still there, because the command was interrupted, or because this is a copy. */
export interface Unerased {
  /** Stored names. */
  readonly files: readonly string[]
  /** Receipts whose lines still stand. */
  readonly receipts: readonly WithdrawnReceipt[]
  /** Places where something else stands than what was withdrawn: it is left. */
  readonly strange: readonly string[]
}

/**
 * Erases what is a participant's. What goes is written down first, by hash, and is durable before anything is touched:
 * wherever this is interrupted, `finishErasures` can end it without knowing whose it was.
 */
export async function erase(layout: Layout, project: string, { receipts, files }: Pick<Belongings, 'receipts' | 'files'>): Promise<void> {
  const withdrawal: Withdrawal = {
    withdrawal: randomUUID().replaceAll('-', ''),
    withdrawn_at: new Date().toISOString(),
    project,
    receipts: receipts.map(({ receipt, file, offset, bytes, sha256, previous }) => ({ file, offset, bytes, sha256, id_sha256: sha256Of(receipt.id), previous })),
    files: [...receipts.flatMap(({ receipt }) => receipt.files.map((file) => describe(receipt.id, file.stored_as, file.sha256))), ...(await describeUnnamed(layout, project, files))],
  }
  for (const receipt of withdrawal.receipts) formatTombstone(receipt) // throws before anything is written
  const record = formatWithdrawal(withdrawal)
  if (parseWithdrawal(record) === undefined) throw new Error('the record of the withdrawal could not be read again')
  const directory = layout.receiptsOf(project)
  const owner = await ensureOwned(layout, directory)
  await createWhole(join(directory, `${clock.next().basic}-${withdrawal.withdrawal.slice(0, 8)}${WITHDRAWAL}`), record, owner)
  await syncDirectory(directory)
  await finishErasures(layout, project)
}

function describe(salt: string, storedAs: string, sha256: string): WithdrawnFile {
  return { name_sha256: sha256Of(storedAs), sha256: digestOf(salt, sha256) }
}

async function describeUnnamed(layout: Layout, project: string, files: readonly OwnFile[]): Promise<WithdrawnFile[]> {
  const described: WithdrawnFile[] = []
  for (const { storedAs, receipt } of files) {
    if (receipt !== undefined) continue
    const content = await readStoredContent(join(layout.responsesOf(project), storedAs))
    if (content.type === 'file') described.push(describe(storedAs, storedAs, content.sha256))
  }
  return described
}

// What the seed server stored has no receipts yet. Root runs this, and the server is to write there too.
async function ensureOwned(layout: Layout, directory: string): Promise<FileOwner> {
  const parent = dirname(directory)
  if (directory !== layout.basedir && (await findStats(directory)) === undefined) {
    const owner = await ensureOwned(layout, parent)
    await new Directories().ensure(directory)
    await chown(directory, owner.uid, owner.gid)
  }
  const found = await findStats(directory)
  return { uid: Number(found?.uid), gid: Number(found?.gid) }
}

/** Finds what was withdrawn and is still there. */
export async function findUnerased(layout: Layout, project: string): Promise<Unerased> {
  const withdrawals = await readWithdrawals(layout, project)
  if (withdrawals.all.length === 0) return { files: [], receipts: [], strange: [] }
  const files = (await listDirectory(layout.responsesOf(project))).files.filter((name) => withdrawals.hasFile(name))
  const [receipts, strange]: [WithdrawnReceipt[], string[]] = [[], []]
  const named = new Set(withdrawals.all.flatMap((each) => each.receipts.map(({ file }) => file)))
  for (const file of (await listDirectory(layout.receiptsOf(project))).files.filter((name) => named.has(name))) {
    for await (const line of readReceiptLines(join(layout.receiptsOf(project), file))) {
      const withdrawn = withdrawals.find(file, line.offset)
      if (withdrawn === undefined || line.withdrawn === withdrawn.sha256) continue
      if (isItsLine(line, withdrawn)) receipts.push(withdrawn)
      else strange.push(`receipts/${project}/${file}, line ${line.number}`)
    }
  }
  return { files, receipts, strange }
}

// Where the power was cut as it was overwritten a line is no JSON any more; a receipt of anybody else is never touched.
function isItsLine(line: ReceiptLine, { sha256, bytes }: WithdrawnReceipt): boolean {
  if (line.sha256 === sha256) return true
  return line.bytes === bytes && !line.isTorn && line.receipt === undefined && line.withdrawn === undefined && line.previous === undefined
}

/** Erases what was withdrawn and is still there; says what that was. The receipts go last: with them the record of which files they named. */
export async function finishErasures(layout: Layout, project: string): Promise<Unerased> {
  const unerased = await findUnerased(layout, project)
  await clearStaging(layout, project, { names: unerased.files, withdrawals: await readWithdrawals(layout, project) })
  const directory = layout.responsesOf(project)
  for (const name of unerased.files) await remove(join(directory, name))
  if (unerased.files.length + unerased.receipts.length > 0 && (await findStats(directory)) !== undefined) await syncDirectory(directory)
  const patches = new Map<string, Patch[]>()
  for (const receipt of unerased.receipts) {
    patches.set(receipt.file, [...(patches.get(receipt.file) ?? []), { offset: receipt.offset, content: formatTombstone(receipt) }])
  }
  for (const [file, theirs] of patches) await overwrite(join(layout.receiptsOf(project), file), theirs)
  return unerased
}

// A crash leaves second names of what was stored in staging, and notes of what was to be stored: the next start of the
// server would take them for what it is to complete.
async function clearStaging(layout: Layout, project: string, { names, withdrawals }: { names: readonly string[]; withdrawals: Withdrawals }): Promise<void> {
  if (withdrawals.all.length === 0) return
  const look = await lookAtStaging(layout)
  for (const { directory, intent, path } of look.intents) {
    if (intent.receipt.project !== project || !withdrawals.hasReceipt(intent.receipt.id)) continue
    for (const name of [...intent.staged.map((staged) => join(directory, basename(staged))), path]) await removeSynced(name)
  }
  for (const name of names) {
    for (const twin of await twinsOf(look, join(layout.responsesOf(project), name))) await removeSynced(twin)
  }
}

async function twinsOf(look: StagingLook, path: string): Promise<readonly string[]> {
  return look.paths.get((await inodeOf(path)) ?? '') ?? []
}

async function removeSynced(path: string): Promise<void> {
  await remove(path)
  if ((await findStats(dirname(path))) !== undefined) await syncDirectory(dirname(path))
}

/** Erases what a dead server had begun to publish and never answered: the next start would publish it. */
export async function eraseUnfinished(layout: Layout, unfinished: readonly IntentFile[]): Promise<void> {
  for (const { directory, intent, path } of unfinished) {
    const { receipt, staged } = intent
    for (const [index, { stored_as: storedAs }] of receipt.files.entries()) {
      const [from, to] = [join(directory, basename(staged[index] ?? '')), join(layout.responsesOf(receipt.project), storedAs)]
      if (await isSameFile(from, to)) await removeSynced(to)
      await removeSynced(from)
    }
    await removeSynced(path)
  }
}
