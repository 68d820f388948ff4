import { ArchiveError } from '../archive/archive-error.ts'
import type { Layout } from '../store/layout.ts'
import type { Arrivals, Snapshot } from './arrivals.ts'
import { collect, type Collection } from './collection.ts'
import { EXPORT_NOTE } from './export-note.ts'
import { closeTables, finishTables, mainTablesOf, openTables, type ExportTables } from './export-tables.ts'
import { ExportTree, type FindOther, type Written } from './export-tree.ts'
import { findingsOf } from './inspection.ts'
import type { Keyring } from './keyring.ts'
import { ReceiptCheck } from './receipt-check.ts'
import { AS_STORED, titleOf } from './sealed-file.ts'
import { Segments, toSegment } from './segment.ts'
import { findSender, type Sender } from './sender.ts'
import { exportSession } from './session-export.ts'
import type { Session } from './session.ts'
import { Lines } from './table.ts'
import { readRanges } from './upload-archive.ts'
import type { Arrival } from './upload.ts'

/** What an export takes. */
export interface Selection {
  readonly project: string
  /** RFC 3339 in UTC: only what has had an arrival at that time or later; a session is taken whole. */
  readonly since: string | undefined
  readonly participant: string | undefined
}

/** How far an export has come; the totals are estimates from the sizes of what arrived. */
export interface ExportCount {
  files: number
  bytes: number
  ofFiles: number
  ofBytes: number
}

/** What an export has written. */
export interface Exported {
  readonly sessions: number
  readonly incomplete: number
  readonly unassigned: number
  /** JSON submissions and files that are no uploads of the web app. */
  readonly others: number
  readonly files: number
  /** How many of them lie in `unassigned/`. */
  readonly unassignedFiles: number
  /** Lines of receipts files that cannot be read. */
  readonly unreadableReceipts: number
  /** Encrypted files that none of the identities opens. */
  readonly locked: number
  /** Files that are not what their receipts promised. */
  readonly changed: number
}

/**
 * Writes a project's data as a dataset. Changes nothing in the base directory; run again with the arrivals of the same
 * snapshot it writes the same, and keeps what is there. Throws an `ExportError` where a file is there that differs.
 * @param keepSnapshot is told what is taken before anything is written
 */
export async function exportProject(parts: {
  layout: Layout
  selection: Selection
  root: string
  arrivals: Arrivals
  keyring: Keyring
  keepSnapshot: (snapshot: Snapshot) => Promise<void>
  count: ExportCount
}): Promise<Exported> {
  const { layout, selection, arrivals, keyring, count } = parts
  const collection = await collect(layout, selection.project, { arrivals, keyring, isThorough: true })
  await parts.keepSnapshot(arrivals.snapshot)
  const onBytes = (bytes: number) => {
    count.bytes += bytes
  }
  const written: { sums?: Lines } = {}
  let unassignedFiles = 0
  const tree = new ExportTree(parts.root, onBytes, (file) => {
    count.files++
    if (file.path.startsWith('unassigned/')) unassignedFiles++
    return written.sums?.add(`${file.sha256}  ${file.path}\n`)
  })
  await tree.open()
  const sums = new Lines(tree, 'SHA256SUMS')
  written.sums = sums
  const tables = openTables(tree)
  const check = new ReceiptCheck()
  try {
    const exported = await writeAll({ collection, selection, tree, tables, check, count })
    await finishTables(tables)
    await tree.write('README', [Buffer.from(EXPORT_NOTE)])
    await tree.settle() // SHA256SUMS comes last: where it is, all is
    delete written.sums // it cannot hold its own
    await sums.finish()
    await tree.settle()
    const unreadableReceipts = arrivals.unreadable.length
    return { ...exported, files: count.files, unassignedFiles, unreadableReceipts, locked: keyring.lockedFiles, changed: check.changedFiles }
  } finally {
    await closeTables(tables)
    await sums.close()
    await tree.close()
  }
}

interface Work {
  readonly collection: Collection
  readonly selection: Selection
  readonly tree: ExportTree
  readonly tables: ExportTables
  readonly check: ReceiptCheck
  readonly count: ExportCount
}

async function writeAll(work: Work): Promise<Pick<Exported, 'sessions' | 'incomplete' | 'unassigned' | 'others'>> {
  const { collection, selection, tree, tables, check } = work
  const sessions = collection.sessions.filter(({ lastAt, participant }) => isSelected(selection, lastAt, participant))
  estimate(work, sessions)
  for (const table of mainTablesOf(tables)) await table.begin()
  const senders = await findSenders(collection)
  // Of all that has arrived: the names in the tree are the same whatever is selected.
  const owners = [...collection.sessions, ...senders.values()].map(({ participant }) => participant)
  const participants = new Segments(owners.filter((name) => name !== undefined))
  const names = { participants, sessions: new Segments(collection.sessions.map(({ id }) => id)) }
  let incomplete = 0
  for (const session of sessions) {
    if (!(await exportSession({ tree, tables, ...names, vault: collection.vault, check }, session))) incomplete++
  }
  const messages = [...senders].filter(([{ submission }, sender]) => isSelected(selection, submission.receivedAt, sender.participant))
  for (const [arrival, sender] of messages) await writeMessages(work, arrival, sender, participants)
  const foreign = collection.foreign.filter(({ submission }) => isSelected(selection, submission.receivedAt, submission.participant?.trim()))
  for (const arrival of foreign) await writeForeign(work, arrival)
  await noteUnreadable(work)
  await noteLost(work)
  return {
    sessions: sessions.length,
    incomplete,
    unassigned: sessions.filter(({ participant }) => participant === undefined).length,
    others: messages.length + foreign.length,
  }
}

function isSelected({ since, participant }: Selection, lastAt: string, owner: string | undefined): boolean {
  if (since !== undefined && Date.parse(lastAt) < Date.parse(since)) return false
  return participant === undefined || participant === owner
}

function estimate({ collection, count }: Work, sessions: readonly Session[]): void {
  const rest = [...collection.messages, ...collection.foreign].map(({ file }) => file)
  count.ofFiles = rest.length
  count.ofBytes = rest.reduce((sum, file) => sum + file.bytes, 0)
  for (const { uploads, bytes } of sessions) {
    const recordings = new Map(uploads.flatMap((each) => findingsOf(each)?.recordings ?? []).map((each) => [each.name, each.bytes]))
    const activities = new Set(uploads.flatMap((each) => findingsOf(each)?.activities ?? []))
    count.ofFiles += uploads.length + recordings.size + activities.size
    count.ofBytes += [...recordings.values()].reduce((sum, each) => sum + each, bytes)
  }
}

// Whose each JSON submission is, as its token or its answers say.
async function findSenders(collection: Collection): Promise<Map<Arrival, Sender>> {
  const senders = new Map<Arrival, Sender>()
  for (const arrival of collection.messages) senders.set(arrival, await findSender(collection.vault, arrival))
  return senders
}

async function writeMessages(work: Work, arrival: Arrival, { participant, conflict }: Sender, participants: Segments): Promise<void> {
  const { tables } = work
  const folder = participant === undefined ? 'unassigned/messages' : `messages/${participants.of(participant)}`
  const { file: written, source, asideFor } = await writeSent(work, arrival, { folder, participant })
  const { path: file, bytes, sha256 } = written
  const doubt = conflict === undefined ? undefined : `It is in doubt whose answers these are: ${conflict}`
  const note = [asideFor, doubt].filter((each) => each !== undefined).join(' ')
  await tables.messages.add({ participant, file, bytes, sha256, source, arrival: arrival.submission.receivedAt, note })
  if (doubt !== undefined) await tables.unassigned.add({ file, reason: doubt, participant, source })
  if (participant !== undefined || asideFor !== undefined) return
  await tables.unassigned.add({ file, reason: 'Neither the token nor an answer says whose answers these are.', source })
}

async function writeForeign(work: Work, arrival: Arrival): Promise<void> {
  const { participant } = arrival.submission
  const { file: { path }, source, asideFor } = await writeSent(work, arrival, { folder: 'unassigned/files', participant })
  if (asideFor !== undefined) return
  await work.tables.unassigned.add({ file: path, reason: 'Its name is not that of an upload of the web app.', participant, source })
}

/** A file, as it was written. */
interface Sent {
  readonly file: Written
  readonly source: string
  /** Why it was set aside, as its row in `incomplete/` says; undefined where it was not. */
  readonly asideFor: string | undefined
}

/** Writes a file as it was sent. One that differs from its receipt is set aside, and so is one that is encrypted and cannot be opened, as it is stored. */
async function writeSent(work: Work, { file }: Arrival, { folder, participant }: { folder: string; participant: string | undefined }): Promise<Sent> {
  const { collection: { vault }, tree, tables, check } = work
  const setAside = async (written: Written, reason: string, source: string): Promise<Sent> => {
    await tables.incomplete.add({ file: written.path, reason, participant, source })
    return { file: written, source, asideFor: reason }
  }
  const name = toSegment(titleOf(file))
  const findOther: FindOther = (found) => (check.describe(file, found) === undefined ? undefined : `incomplete/changed/${name}`)
  try {
    const written = await tree.write(`${folder}/${name}`, readRanges([vault.rangeOf(file)]), findOther)
    const change = check.describe(file, written)
    if (change !== undefined) return await setAside(written, change, titleOf(file))
    return { file: written, source: titleOf(file), asideFor: undefined }
  } catch (error) {
    if (!(error instanceof ArchiveError) || file.sealed === undefined) throw error
    const written = await tree.write(`incomplete/encrypted/${toSegment(file.storedAs)}`, readRanges([vault.storedRangeOf(file)]))
    return setAside(written, `${error.reason} ${AS_STORED}`, file.storedAs)
  }
}

// Of any selection: nobody knows whose files they named.
async function noteUnreadable({ collection, tables }: Work): Promise<void> {
  for (const source of collection.arrivals.unreadable) {
    await tables.incomplete.add({ reason: 'This receipt cannot be read. The files that it named are exported as files without a receipt.', source })
  }
}

// Of one participant's export nobody is to learn of others: only what is that one's, or may be.
async function noteLost({ collection, selection, tables }: Work): Promise<void> {
  const { lost, vanished, others } = collection.arrivals
  for (const { storedAs: source, participant } of lost) {
    if (selection.participant !== undefined && participant !== undefined && participant !== selection.participant) continue
    await tables.incomplete.add({ reason: 'A receipt promises this file, and it is gone from the disk.', participant, source })
  }
  if (selection.participant !== undefined) return
  for (const source of vanished) await tables.incomplete.add({ reason: 'It was there without a receipt when the export began, and is gone from the disk.', source })
  for (const source of others) await tables.incomplete.add({ reason: 'It is not a plain file, and was not read.', source })
}
