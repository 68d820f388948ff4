import { join } from 'node:path'
import type { Layout } from '../store/layout.ts'
import type { Receipt } from '../store/receipt.ts'
import { lookAtStaging, type IntentFile } from '../store/staging-look.ts'
import { findClaimants, type Claimants } from './claimants.ts'
import { collect } from './collection.ts'
import type { Keyring } from './keyring.ts'
import { findMentions, mentions } from './mentions.ts'
import { claim } from './participant.ts'
import { listDirectory } from './projects.ts'
import { countPublishing } from './publishing.ts'
import { fieldTextsOf, readReceiptLines } from './receipt-line.ts'
import { isOfReceipt } from './sealed-file.ts'
import { countUnknown, type UnknownFiles } from './unknown-files.ts'
import { parseUploadName } from './upload-name.ts'
import { isWithdrawal, readWithdrawals } from './withdrawals.ts'

const SHA256 = /^[0-9a-f]{64}$/

/** A receipt with the place of its line. */
export interface PlacedReceipt {
  readonly receipt: Receipt
  /** The name of its receipts file, and where its line stands in it. */
  readonly file: string
  readonly number: number
  readonly offset: number
  readonly bytes: number
  readonly sha256: string
  readonly previous: string | null
  /** Whether a text field that stands in it has the participant's name in it. */
  readonly isNaming: boolean
}

/** A stored file that goes. */
export interface OwnFile {
  readonly storedAs: string
  readonly bytes: number
  /** Whether it holds answers sent as JSON. */
  readonly isAnswers: boolean
  /** Its receipt; undefined for what the seed server stored. */
  readonly receipt: Receipt | undefined
}

/** Something that names the participant, or may, and is not theirs alone. */
export interface Staying {
  /** A stored name, or the place of a receipt. */
  readonly what: string
  readonly reason: string
}

/** What of a project is one participant's, and nobody else's. */
export interface Belongings {
  readonly receipts: readonly PlacedReceipt[]
  readonly files: readonly OwnFile[]
  readonly staying: readonly Staying[]
  /** Where what goes names somebody else too: whoever runs the command is to look. */
  readonly conflicts: readonly string[]
  /** What a server that died had begun to publish, and never answered. */
  readonly unfinished: readonly IntentFile[]
  /** How many files a server is storing at this moment, whosever they are. */
  readonly publishing: number
  /** How many files lie in staging, whosever they are: they are arriving, or a server that died left them. */
  readonly staged: number
  readonly unknown: UnknownFiles
  /** Everybody who is named in the project. */
  readonly names: readonly string[]
}

/** Says whether nothing is there to be erased. */
export function isNothing({ receipts, files, unfinished }: Belongings): boolean {
  return receipts.length + files.length + unfinished.length === 0
}

/**
 * Finds what is to go when a participant withdraws. A form goes whole, with its receipt and its files, or not at all. It
 * goes where its token was issued for the participant, or nobody and its files are the participant's, unless another
 * participant may have a part in it: that is told, and stays.
 * @param keyring what opens encrypted files; without it they are known by their tokens and names alone
 */
export async function findBelongings(layout: Layout, project: string, participant: string, keyring?: Keyring): Promise<Belongings> {
  const look = await lookAtStaging(layout) // before the receipts: what is published by then is found there
  const collection = await collect(layout, project, { keyring })
  const claimants = await findClaimants(collection)
  const { placed, unreadable, isRepeatOfWithdrawn } = await readPlaced(layout, project, participant)
  const choice = new Choice(participant, claimants, await findMentions(collection, participant))
  for (const each of placed) choice.judge(each, isRepeatOfWithdrawn(each.receipt))
  choice.settleRepeats(placed)
  choice.keepShared(placed)
  choice.tellNaming(placed, ({ file, number }) => placeOf(project, file, number))
  const isThere = new Set((await listDirectory(layout.responsesOf(project))).files)
  const going = placed.filter(({ receipt }) => choice.going.has(receipt))
  const files = going.flatMap(({ receipt }) => receipt.files.filter((file) => isThere.has(file.stored_as)).map((file) => describe(file, receipt)))
  const unnamed = collection.arrivals.submissions.filter((each) => each.tokenSha256 === undefined)
  for (const { files: theirs } of unnamed) {
    if (!choice.judgeUnnamed(theirs.map((file) => file.storedAs))) continue
    for (const { storedAs, bytes, name } of theirs) files.push({ storedAs, bytes, isAnswers: name === 'messages.json', receipt: undefined })
  }
  const conflicts = claim(files.flatMap(({ storedAs }) => [...(claimants.get(storedAs)?.conflicts ?? [])]))
  const known = new Set(placed.map(({ receipt }) => receipt.id))
  const begun = look.intents.filter(({ intent: { receipt } }) => receipt.project === project && !known.has(receipt.id) && isOfOne(receipt, participant))
  const unfinished = begun.filter(({ isRunning }) => isRunning === false)
  const promised = new Set(placed.flatMap(({ receipt }) => receipt.files.map((file) => file.stored_as)))
  const publishing = await countPublishing(look, layout.responsesOf(project), [...isThere].filter((name) => !promised.has(name)))
  const settled = new Set([...files.map(({ storedAs }) => storedAs), ...choice.staying.map(({ what }) => what)])
  const unknown = await countUnknown(collection, claimants, (storedAs) => settled.has(storedAs))
  const names = claim([...placed.map(({ receipt }) => receipt.participant), ...[...claimants.values()].flatMap(({ named }) => [...named])])
  return { receipts: going, files, staying: [...choice.staying, ...unreadable], conflicts, unfinished, publishing, staged: look.paths.size, unknown, names }
}

// By its token, else by the names of its uploads: what they hold has not been looked at.
function isOfOne({ participant: token, files }: Receipt, participant: string): boolean {
  const uids = claim(files.map(({ name }) => parseUploadName(name)?.uid))
  const claimed = claim([token]).length > 0 ? claim([token]) : uids
  return claimed.length === 1 && claimed[0] === participant
}

function describe({ stored_as: storedAs, bytes, field, name }: Receipt['files'][number], receipt: Receipt): OwnFile {
  return { storedAs, bytes, isAnswers: field === 'responses' && name === 'messages.json', receipt }
}

async function readPlaced(layout: Layout, project: string, participant: string) {
  const directory = layout.receiptsOf(project)
  const placed: PlacedReceipt[] = []
  const unreadable: Staying[] = []
  const withdrawals = await readWithdrawals(layout, project)
  for (const file of (await listDirectory(directory)).files.filter((name) => name.endsWith('.ndjson') && !isWithdrawal(name))) {
    for await (const line of readReceiptLines(join(directory, file))) {
      const { receipt, number, offset, bytes, sha256, previous, isTorn } = line
      if (isTorn || withdrawals.find(file, offset) !== undefined) continue
      const isOurs = receipt?.project === project && (previous === null || (typeof previous === 'string' && SHA256.test(previous)))
      if (isOurs) placed.push({ receipt, file, number, offset, bytes, sha256, previous, isNaming: fieldTextsOf(line).some((text) => mentions(text, participant)) })
      else unreadable.push({ what: placeOf(project, file, number), reason: 'It cannot be read (run verify): nobody knows whose it is.' })
    }
  }
  return { placed, unreadable, isRepeatOfWithdrawn: ({ repeats }: Receipt) => repeats !== undefined && withdrawals.hasReceipt(repeats) }
}

// The text fields that are stored in a file are whose the files are.
function namesOf({ files }: Receipt): string[] {
  return files.filter((file) => !isOfReceipt(file)).map((file) => file.stored_as)
}

function placeOf(project: string, file: string, number: number): string {
  return `receipts/${project}/${file}, line ${number}`
}

/** Decides what goes. */
class Choice {
  readonly #participant: string
  readonly #claimants: ReadonlyMap<string, Claimants>
  readonly #mentioned: ReadonlySet<string>
  readonly going = new Set<Receipt>()
  readonly staying: Staying[] = []

  /** @param mentioned stored names of what has the participant's name in it, where that proves nothing */
  constructor(participant: string, claimants: ReadonlyMap<string, Claimants>, mentioned: ReadonlySet<string>) {
    this.#participant = participant
    this.#claimants = claimants
    this.#mentioned = mentioned
  }

  /** Judges a receipt by its token and its files. */
  judge({ receipt }: PlacedReceipt, isRepeatOfWithdrawn: boolean): void {
    const [token] = claim([receipt.participant])
    const names = namesOf(receipt)
    if (token === this.#participant) {
      if (!this.#tellShared(names)) this.going.add(receipt)
    } else if (token !== undefined) {
      if (this.#isNamed(names)) this.#stay(names, `It came with the token of ${token}, and names ${this.#participant}.`)
    } else if (isRepeatOfWithdrawn && names.length === 0) this.going.add(receipt)
    else if (this.#isOwn(names)) this.going.add(receipt)
  }

  /** Judges the files of one form that has no receipt. */
  judgeUnnamed(names: readonly string[]): boolean {
    return this.#isOwn(names)
  }

  // A receipt of the same token that only repeats what goes is the same sender's. One of anybody else makes it that one's too.
  settleRepeats(placed: readonly PlacedReceipt[]): void {
    const firsts = new Map(placed.map(({ receipt }) => [receipt.id, receipt]))
    const repeats = placed.flatMap(({ receipt }) => {
      const first = firsts.get(receipt.repeats ?? '')
      return first === undefined ? [] : [{ receipt, first }]
    })
    const isSameSender = (receipt: Receipt, first: Receipt) => claim([receipt.participant])[0] === undefined && receipt.token_sha256 === first.token_sha256
    for (const { receipt, first } of repeats) {
      if (!this.going.has(first) || this.going.has(receipt) || isSameSender(receipt, first)) continue
      this.going.delete(first)
      this.#stay(first.files.map((file) => file.stored_as), 'It came again with the token of somebody else, and was stored once.')
    }
    for (const { receipt, first } of repeats) {
      if (this.going.has(first) && receipt.files.length === 0 && isSameSender(receipt, first)) this.going.add(receipt)
    }
  }

  /** Keeps what a receipt that stays promises too. */
  keepShared(placed: readonly PlacedReceipt[]): void {
    for (let hasChanged = true; hasChanged; ) {
      hasChanged = false
      const kept = new Set(placed.filter(({ receipt }) => !this.going.has(receipt)).flatMap(({ receipt }) => receipt.files.map((file) => file.stored_as)))
      for (const receipt of [...this.going]) {
        const names = receipt.files.map((file) => file.stored_as)
        if (!names.some((name) => kept.has(name))) continue
        this.going.delete(receipt)
        this.#stay(names, 'A receipt of somebody else promises it too.')
        hasChanged = true
      }
    }
  }

  /** Tells of forms that stay, and have the participant's name in a text field. */
  tellNaming(placed: readonly PlacedReceipt[], placeOf: (each: PlacedReceipt) => string): void {
    const told = new Set(this.staying.map(({ what }) => what))
    for (const each of placed) {
      const names = namesOf(each.receipt)
      if (!each.isNaming || this.going.has(each.receipt) || names.some((name) => told.has(name))) continue
      this.#stay(names.length > 0 ? names : [placeOf(each)], `A text field of its form names ${this.#participant}.`)
    }
  }

  #isOwn(names: readonly string[]): boolean {
    const isTheirs = names.some((name) => this.#claimants.get(name)?.owners.has(this.#participant) === true)
    if (isTheirs) return !this.#tellShared(names)
    if (this.#isNamed(names)) this.#stay(names, `It is not known to be that of ${this.#participant} alone, whom it names.`)
    return false
  }

  #isNamed(names: readonly string[]): boolean {
    return names.some((name) => this.#mentioned.has(name) || this.#claimants.get(name)?.named.has(this.#participant) === true)
  }

  #tellShared(names: readonly string[]): boolean {
    const owners = names.flatMap((name) => [...(this.#claimants.get(name)?.owners ?? [])])
    const others = claim(owners).filter((owner) => owner !== this.#participant)
    if (others.length > 0) this.#stay(names, `It is shared with ${others.join(', ')}.`)
    return others.length > 0
  }

  #stay(names: readonly string[], reason: string): void {
    for (const what of names) this.staying.push({ what, reason })
  }
}
