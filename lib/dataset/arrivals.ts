import type { Stats } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../errors.ts'
import type { Layout } from '../store/layout.ts'
import type { Receipt, ReceiptFile } from '../store/receipt.ts'
import { forEachBounded } from './bounded.ts'
import { measureSealed } from './keyring.ts'
import { claim } from './participant.ts'
import { listDirectory } from './projects.ts'
import { readReceiptLines } from './receipt-line.ts'
import { isOfReceipt, isSealedName, sealedOf, withoutSeal, type Sealed } from './sealed-file.ts'
import { parseStoredName } from './stamped-name.ts'
import { parseUploadName } from './upload-name.ts'
import { isWithdrawal, readWithdrawals, type Withdrawals } from './withdrawals.ts'

const ARRIVING_MS = 60_000
const AT_ONCE = 16
const NONE: readonly StoredFile[] = []

/** One file that a participant sent. */
export interface StoredFile {
  /** The name it was given by the sender. */
  readonly name: string
  /** Its name in the project's directory. */
  readonly storedAs: string
  /** The form's field; undefined where no receipt names the file. */
  readonly field: string | undefined
  /** Its length as it was sent. */
  readonly bytes: number
  /** Of what was sent; undefined where no receipt names the file, or it is stored encrypted. */
  readonly sha256: string | undefined
  /** Undefined where it is stored as it was sent. */
  readonly sealed: Sealed | undefined
}

/** One accepted form, with the files that were stored for it. */
export interface Submission {
  /** RFC 3339 in UTC. */
  readonly receivedAt: string
  readonly tokenSha256: string | undefined
  /** The participant whom the token was issued for. */
  readonly participant: string | undefined
  readonly files: readonly StoredFile[]
  /** Files of another submission, of another sender, that came again with this one and were not stored twice. */
  readonly repeats: readonly StoredFile[]
}

/** What had arrived at one moment: an export that is run again takes the same. */
export interface Snapshot {
  /** How far each receipts file is read, in bytes. */
  readonly receipts: Readonly<Record<string, number>>
  /** Stored files that no receipt names. */
  readonly unnamed: readonly string[]
}

/** A file that is gone, as its receipt knows it. */
export interface LostFile {
  readonly storedAs: string
  /** The participant whom the token was issued for, else the uid in its name. */
  readonly participant: string | undefined
}

/** Everything that has arrived in one project. */
export interface Arrivals {
  /** In the order of their arrival. */
  readonly submissions: readonly Submission[]
  readonly snapshot: Snapshot
  /** Files that a receipt promises and the disk does not have. */
  readonly lost: readonly LostFile[]
  /** Stored names of files without a receipt that were there when the snapshot was taken, or a moment ago, and are gone. */
  readonly vanished: readonly string[]
  /** Names in the project's directory that are no plain files. */
  readonly others: readonly string[]
  /** Where lines stand that should be receipts and are not. The files they named count as files without a receipt. */
  readonly unreadable: readonly string[]
}

/**
 * Reads the receipts of a project, and finds the files that no receipt names, as the seed server stored them. Takes a
 * few hundred bytes of memory for each submission, and opens no stored file but encrypted ones without a receipt.
 * @param snapshot the moment to read, where it is not now
 */
export async function readArrivals(layout: Layout, project: string, snapshot?: Snapshot): Promise<Arrivals> {
  const extents = snapshot?.receipts ?? (await measureReceipts(layout, project))
  const lines = await readReceipts(layout, project, extents)
  const stored = await listDirectory(layout.responsesOf(project)) // after the receipts: what they name is there by now
  const { receipts, unreadable, withdrawals } = await leaveOutWithdrawn(layout, project, lines)
  const files = stored.files.filter((name) => !withdrawals.hasFile(name)) // an old copy may still have some
  const isThere = new Set(files)
  const named = new Set(receipts.flatMap((receipt) => [...receipt.files, ...receipt.further].map((file) => file.storedAs)))
  const unnamed = snapshot?.unnamed ?? (await findUnnamed(layout, project, { extents, named, files }))
  const withoutReceipt = await readUnnamed(layout, project, unnamed)
  const submissions = [...fromReceipts(receipts, isThere), ...withoutReceipt.submissions]
  return {
    submissions: submissions.toSorted((a, b) => (a.receivedAt < b.receivedAt ? -1 : Number(a.receivedAt > b.receivedAt))),
    snapshot: { receipts: extents, unnamed },
    lost: findLost(receipts, isThere),
    vanished: withoutReceipt.vanished,
    others: stored.others,
    unreadable,
  }
}

/** What is kept of a receipt: of the entries of zips, which may be many, their number. */
interface KeptReceipt extends Pick<Receipt, 'id' | 'received_at' | 'token_sha256' | 'participant' | 'repeats'> {
  readonly files: readonly StoredFile[]
  /** Where what else stands in a receipt is in a file. */
  readonly further: readonly StoredFile[]
}

function keep(receipt: Receipt): KeptReceipt {
  const [files, further] = [receipt.files.filter((file) => !isOfReceipt(file)), receipt.files.filter(isOfReceipt)]
  return { ...receipt, files: files.map(toStoredFile), further: further.map(toStoredFile) }
}

/** Gives what a receipt says of a file. */
export function toStoredFile(file: ReceiptFile): StoredFile {
  const { name, stored_as: storedAs, field, plain } = file
  if (plain === undefined) return { name, storedAs, field, bytes: file.bytes, sha256: file.sha256, sealed: undefined }
  return { name, storedAs, field, bytes: plain.bytes, sha256: undefined, sealed: sealedOf(file) }
}

async function measureReceipts(layout: Layout, project: string): Promise<Record<string, number>> {
  const directory = layout.receiptsOf(project)
  const names = (await listDirectory(directory)).files.filter((name) => name.endsWith('.ndjson'))
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, (await stat(join(directory, name))).size] as const)))
}

/** A line that is a receipt of the project, or should be one, with its place. */
interface Found {
  readonly file: string
  readonly number: number
  readonly offset: number
  readonly receipt: KeptReceipt | undefined
}

async function readReceipts(layout: Layout, project: string, extents: Readonly<Record<string, number>>): Promise<Found[]> {
  const found: Found[] = []
  for (const [file, to] of Object.entries(extents)) {
    if (isWithdrawal(file)) continue
    for await (const { receipt, number, offset, isTorn } of readReceiptLines(join(layout.receiptsOf(project), file), { to })) {
      if (!isTorn) found.push({ file, number, offset, receipt: receipt?.project === project ? keep(receipt) : undefined })
    }
  }
  return found
}

// What was withdrawn is not shown any more, also where it is not all erased yet.
async function leaveOutWithdrawn(
  layout: Layout,
  project: string,
  found: readonly Found[],
): Promise<{ receipts: KeptReceipt[]; unreadable: string[]; withdrawals: Withdrawals }> {
  const withdrawals = await readWithdrawals(layout, project)
  const receipts: KeptReceipt[] = []
  const unreadable = withdrawals.unreadable.map((name) => `receipts/${project}/${name}`)
  for (const { file, number, offset, receipt } of found) {
    if (withdrawals.find(file, offset) !== undefined) continue
    if (receipt === undefined) unreadable.push(`receipts/${project}/${file}, line ${number}`)
    else receipts.push(receipt)
  }
  return { receipts, unreadable, withdrawals }
}

// A file that was published after the receipts were read is named by one that was appended since.
async function findUnnamed(
  layout: Layout,
  project: string,
  { extents, named, files }: { extents: Readonly<Record<string, number>>; named: ReadonlySet<string>; files: readonly string[] },
): Promise<string[]> {
  const unnamed = files.filter((name) => !named.has(name))
  if (unnamed.length === 0) return []
  const since = new Set<string>()
  for (const name of Object.keys(await measureReceipts(layout, project))) {
    for await (const { receipt } of readReceiptLines(join(layout.receiptsOf(project), name), { from: extents[name] ?? 0 })) {
      for (const file of receipt?.files ?? []) since.add(file.stored_as)
    }
  }
  return unnamed.filter((name) => !since.has(name) && !isArriving(name))
}

// A file is in place a moment before its receipt is written: until then it has not been promised to anyone.
function isArriving(storedAs: string): boolean {
  const { receivedAt } = parseStoredName(storedAs)
  return receivedAt !== undefined && Math.abs(Date.now() - Date.parse(receivedAt)) < ARRIVING_MS
}

function findLost(receipts: readonly KeptReceipt[], isThere: ReadonlySet<string>): LostFile[] {
  const lost = new Map<string, LostFile>()
  for (const { participant, files, further } of receipts) {
    for (const { name, storedAs } of [...files, ...further]) {
      if (isThere.has(storedAs) || lost.has(storedAs)) continue
      lost.set(storedAs, { storedAs, participant: claim([participant, parseUploadName(name)?.uid])[0] })
    }
  }
  return [...lost.values()]
}

function fromReceipts(receipts: readonly KeptReceipt[], isThere: ReadonlySet<string>): Submission[] {
  const repeated = new Set(receipts.flatMap(({ repeats }) => repeats ?? []))
  const firsts = new Map(receipts.filter(({ id }) => repeated.has(id)).map((receipt) => [receipt.id, receipt]))
  return receipts.map((receipt) => {
    const first = firsts.get(receipt.repeats ?? '')
    const isOfAnother = first !== undefined && (first.token_sha256 !== receipt.token_sha256 || first.participant !== receipt.participant)
    return {
      receivedAt: receipt.received_at,
      tokenSha256: receipt.token_sha256,
      participant: receipt.participant,
      files: receipt.files.filter(({ storedAs }) => isThere.has(storedAs)),
      repeats: isOfAnother ? first.files.filter(({ storedAs }) => isThere.has(storedAs)) : NONE,
    }
  })
}

// The files of one submission share a stamp.
async function readUnnamed(layout: Layout, project: string, unnamed: readonly string[]): Promise<{ submissions: Submission[]; vanished: string[] }> {
  const byMoment = new Map<string, StoredFile[]>()
  const vanished: string[] = []
  await forEachBounded(unnamed, AT_ONCE, async (storedAs) => {
    const path = join(layout.responsesOf(project), storedAs)
    const found = await findTargetStats(path)
    if (found === undefined) return void vanished.push(storedAs)
    const plainBytes = isSealedName(storedAs) ? await measureSealed(path) : undefined
    const sealed = plainBytes === undefined ? undefined : { zip: undefined }
    const { receivedAt = found.mtime.toISOString(), name } = parseStoredName(sealed === undefined ? storedAs : withoutSeal(storedAs))
    const files = byMoment.get(receivedAt) ?? []
    byMoment.set(receivedAt, files)
    files.push({ name, storedAs, field: undefined, bytes: plainBytes ?? found.size, sha256: undefined, sealed })
  })
  const submissions = [...byMoment].map(([receivedAt, files]) => ({
    receivedAt,
    tokenSha256: undefined,
    participant: undefined,
    repeats: NONE,
    files: files.toSorted((a, b) => (a.storedAs < b.storedAs ? -1 : 1)),
  }))
  return { submissions, vanished: vanished.toSorted() }
}

async function findTargetStats(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}
