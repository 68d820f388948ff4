import { AlteredError, ArchiveError } from '../archive/archive-error.ts'
import type { ByteSource, Slice as Range } from '../archive/source.ts'
import { readEnd } from '../archive/zip-end.ts'
import type { ZipEntry } from '../archive/zip-entry.ts'
import { systemCode } from '../errors.ts'
import { describeMissing, findGaps, whatFollows } from './gaps.ts'
import { inspectSealed, type SealedUpload } from './sealed-upload.ts'
import { splitBySession, type Share } from './share.ts'
import { chooseSlices, type Tried } from './slice-choice.ts'
import { countDamaged, skipFront, withSource } from './upload-archive.ts'
import { baseName, isIdentifier, isUnusable, namesFile, withUploadContent } from './upload-content.ts'
import type { Slice, Upload } from './upload.ts'
import type { Vault } from './vault.ts'

/** An upload with what its zip says: whole, or why it is not. */
export type Inspected = { readonly upload: Upload } & (
  | {
      readonly type: 'whole'
      /** Bytes in front of the archive that belong to another upload: a known fault of the web app. */
      readonly leftoverBytes: number
      readonly findings: Findings
      /** Of an upload that was split by session: what the other sessions have of it. */
      readonly further: readonly Findings[]
    }
  | {
      readonly type: 'incomplete'
      /** What is missing, such as `slices 0, 3-5`. */
      readonly missing: string
    }
  | { readonly type: 'broken'; readonly reason: string }
)

/** What is kept of an upload's content: enough to put it to its session, whatever its size. */
export interface Findings {
  /** The sessions of its answers, the first one first. */
  readonly sessions: readonly string[]
  /** Whether it is only what one session has of the upload. */
  readonly isPart: boolean
  /** Whether it is the first of these, which has what belongs to none alone. */
  readonly isFirst: boolean
  readonly hasAnswers: boolean
  readonly activities: readonly string[]
  /** Answers to `record_id` or `participant_id`. */
  readonly identifiers: readonly string[]
  /** Names of files that answers give. */
  readonly named: readonly string[]
  readonly recordings: readonly { readonly name: string; readonly bytes: number }[]
  /** Names of other files that can be read. */
  readonly files: readonly string[]
  /** What the files of answers hold, as `contentKey` gives it. */
  readonly contents: readonly string[]
  /** Entries that were refused, and files of answers that cannot be read. */
  readonly unusable: readonly Unusable[]
}

/** An entry that nothing can be taken from. */
export interface Unusable {
  readonly name: string
  /** What it should hold, as `contentKey` gives it. */
  readonly content: string
  readonly reason: string
}

/** Says whether an upload is of a whole session, and can be read. */
export function isFinal({ upload, type }: Inspected): boolean {
  return upload.activity === undefined && type === 'whole'
}

/** What was found in an upload; undefined where it cannot be read. */
export function findingsOf(inspected: Inspected): Findings | undefined {
  return inspected.type === 'whole' ? inspected.findings : undefined
}

/**
 * Looks into an upload. Its zip ends with the record from which the length of the whole follows; with it, which slices are
 * missing, and whether the first begins with bytes of another upload. Reads the end, the directory and the answers alone;
 * where slices came more than once it takes those that make the upload whole. Of one that is encrypted, and for which
 * there is no key, it gives what is known without one.
 * @param isThorough whether recordings are read too, where there is a choice of slices
 */
export async function inspectUpload(upload: Upload, vault: Vault, isThorough = false): Promise<Inspected | SealedUpload> {
  if (!upload.slices.every(({ file }) => vault.mayRead(file))) return inspectUnread(upload, vault)
  const hasChoice = new Set([...upload.slices, ...upload.others, ...upload.repeats].map(({ file }) => file.storedAs)).size > upload.slices.length
  return chooseSlices(upload, vault, async (chosen): Promise<Tried<Inspected>> => {
    const result = await inspectSlices(chosen, vault)
    if (result.type !== 'whole') return { result, flaws: Number.POSITIVE_INFINITY }
    const damaged = isThorough && hasChoice ? (await countDamaged(vault.rangesOf(chosen.slices, result.leftoverBytes))) + (await countChanged(chosen.slices, vault)) : 0
    const unusable = [result.findings, ...result.further].reduce((sum, each) => sum + each.unusable.length, 0)
    return { result, flaws: unusable + damaged + (result.leftoverBytes > 0 ? 0.5 : 0) }
  })
}

// What a copy says of the same content is believed before what is not as its receipt promised.
async function countChanged(slices: readonly Slice[], vault: Vault): Promise<number> {
  let changed = 0
  for (const { file } of slices) {
    if (file.sealed !== undefined || file.sha256 === undefined) continue
    const content = await vault.readContent(file)
    if (content.type !== 'file' || content.sha256 !== file.sha256) changed++
  }
  return changed
}

// Without a key: of the slices that are not encrypted the last ones may be read.
async function inspectUnread(upload: Upload, vault: Vault): Promise<SealedUpload> {
  return inspectSealed(upload, async (tail) => {
    try {
      return await withSource(vault.rangesOf(tail), findEnd)
    } catch (error) {
      if (error instanceof ArchiveError || systemCode(error) === 'ENOENT') return undefined
      throw error
    }
  })
}

async function inspectSlices(upload: Upload, vault: Vault): Promise<Inspected> {
  try {
    const gaps = findGaps(upload.slices)
    if (gaps.length > 0) return await describeGaps(upload, gaps, vault)
    return await withSource(vault.rangesOf(upload.slices), (source) => inspect(upload, source))
  } catch (error) {
    if (error instanceof ArchiveError) return { upload, type: 'broken', reason: error.reason }
    if (systemCode(error) === 'ENOENT') return { upload, type: 'broken', reason: 'A part of it is gone from the disk.' }
    throw error
  }
}

// The record at the end may begin in the last slice but one: it is 22 bytes long, and more with a comment (APPNOTE 4.3.16).
async function describeGaps(upload: Upload, gaps: readonly string[], vault: Vault): Promise<Inspected> {
  const mayEnd = await mayBeEnd(vault.rangesOf(upload.slices.slice(-2)))
  return { upload, type: 'incomplete', missing: describeMissing(mayEnd ? gaps : [...gaps, whatFollows(upload.slices)]) }
}

async function mayBeEnd(ranges: readonly Range[]): Promise<boolean> {
  try {
    return await withSource(ranges, async (source) => (await findEnd(source)) !== undefined)
  } catch (error) {
    if (error instanceof ArchiveError) return true // it cannot be decrypted
    throw error
  }
}

async function inspect(upload: Upload, source: ByteSource): Promise<Inspected> {
  const end = await findEnd(source)
  if (end === undefined) {
    const isCut = upload.isSliced && upload.slices.every(({ file }) => file.bytes === upload.slices[0]?.file.bytes)
    if (isCut) return { upload, type: 'incomplete', missing: describeMissing([whatFollows(upload.slices)]) }
    return { upload, type: 'broken', reason: 'It does not end as a zip does.' }
  }
  const leftoverBytes = source.bytes - end.totalBytes
  if (leftoverBytes < 0) return { upload, type: 'broken', reason: `It should have ${end.totalBytes} bytes, and has ${source.bytes}.` }
  const [first, ...further] = await withUploadContent(skipFront(source, leftoverBytes), (content) => splitBySession(content).map(summarise))
  if (first === undefined) throw new Error('an upload was split into nothing')
  return { upload, type: 'whole', leftoverBytes, findings: first, further }
}

async function findEnd(source: ByteSource): Promise<{ totalBytes: number } | undefined> {
  try {
    return await readEnd(source)
  } catch (error) {
    if (error instanceof ArchiveError && !(error instanceof AlteredError)) return undefined
    throw error
  }
}

function summarise({ sessions, isPart, isFirst, answersFiles, recordings, rest }: Share): Findings {
  const answers = answersFiles.flatMap((file) => file.answers)
  return {
    sessions,
    isPart,
    isFirst,
    hasAnswers: answers.length > 0,
    activities: unique(answers.map((answer) => answer.activity)),
    identifiers: unique(answers.filter(isIdentifier).map((answer) => copyOf(answer.value.trim()))),
    named: unique(answers.filter(namesFile).map((answer) => answer.value)),
    recordings: recordings.map((entry) => ({ name: baseName(entry), bytes: entry.bytes })),
    files: rest.filter((each) => !isUnusable(each)).map(({ entry }) => baseName(entry)),
    contents: answersFiles.map(({ entry }) => contentKey(entry)),
    unusable: rest.filter(isUnusable).map(({ entry, reason }) => ({ name: baseName(entry), content: contentKey(entry), reason })),
  }
}

// What the directory says of a content tells it from every other of the same session, also where it cannot be read.
function contentKey({ crc32, bytes }: ZipEntry): string {
  return `${crc32}-${bytes}`
}

function unique(names: readonly (string | undefined)[]): string[] {
  return [...new Set(names.filter((name): name is string => name !== undefined && name !== ''))]
}

// A piece of a text holds all of that text in memory.
function copyOf(piece: string): string {
  return Buffer.from(piece, 'utf16le').toString('utf16le')
}
