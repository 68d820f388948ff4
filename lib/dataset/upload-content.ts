import { ArchiveError } from '../archive/archive-error.ts'
import type { ByteSource } from '../archive/source.ts'
import { readSmallEntry } from '../archive/zip-small.ts'
import { readEntries, type ZipEntry } from '../archive/zip.ts'
import { AnswersError, lastSegment, parseAnswers, type Answer } from './answers.ts'

const MAX_ANSWERS_BYTES = 64 * 1024 * 1024 // of one file of answers, which is held in memory
const ANSWERS = /\.jsonld$/i
const RECORDING = /\.wav$/i
const NAMED = /^[^/\\]*-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\.[a-z0-9]{1,5}$/i
const BY_NUMBER = new Intl.Collator('en', { numeric: true })
const IDENTIFIERS = new Set(['record_id', 'participant_id'])

/** One `activity_<k>.jsonld` of an upload. */
export interface AnswersFile {
  readonly entry: ZipEntry
  /** The bytes as they came. */
  readonly content: Buffer
  readonly answers: readonly Answer[]
}

/** What an upload holds. */
export interface UploadContent {
  readonly answersFiles: readonly AnswersFile[]
  readonly recordings: readonly ZipEntry[]
  /** Entries of any other kind, and those that cannot be read, with the reason. */
  readonly rest: readonly RestEntry[]
}

/** An entry that is neither answers that can be read nor a WAV recording. */
export interface RestEntry {
  readonly entry: ZipEntry
  readonly reason: string
}

/** Reads the directory of an upload and its answers; recordings are not read. Throws an `ArchiveError`. */
export async function readUploadContent(source: ByteSource): Promise<UploadContent> {
  const answersFiles: AnswersFile[] = []
  const recordings: ZipEntry[] = []
  const rest: RestEntry[] = []
  for (const entry of (await readEntries(source)).toSorted(byNumber)) {
    if (entry.problem !== undefined) rest.push({ entry, reason: entry.problem })
    else if (entry.isDirectory) continue
    else if (RECORDING.test(entry.name)) recordings.push(entry)
    else if (!ANSWERS.test(entry.name)) rest.push({ entry, reason: 'It is neither answers nor a WAV recording.' })
    else {
      const file = await readAnswers(source, entry)
      if (typeof file === 'string') rest.push({ entry, reason: file })
      else answersFiles.push(file)
    }
  }
  return { answersFiles, recordings, rest }
}

/** The name of an entry without its folder. */
export function baseName(entry: ZipEntry): string {
  return entry.name.split('/').findLast((segment) => segment !== '') ?? ''
}

/** Says whether an entry was refused, or is answers that cannot be read; else it is a file of another kind. */
export function isUnusable({ entry }: RestEntry): boolean {
  return entry.problem !== undefined || ANSWERS.test(entry.name)
}

/** Says whether an answer's value names a file, as `<item>-<uuid>.wav` does. */
export function namesFile(answer: Answer): boolean {
  return answer.isText && NAMED.test(answer.value)
}

/** Says whether an answer tells who the participant is. */
export function isIdentifier(answer: Answer): boolean {
  return answer.item !== undefined && IDENTIFIERS.has(lastSegment(answer.item).toLowerCase()) && answer.value.trim() !== ''
}

async function readAnswers(source: ByteSource, entry: ZipEntry): Promise<AnswersFile | string> {
  if (entry.bytes > MAX_ANSWERS_BYTES) return `It has more than ${MAX_ANSWERS_BYTES} bytes.`
  try {
    const content = await readSmallEntry(source, entry)
    return { entry, content, answers: parseAnswers(content) }
  } catch (error) {
    if (error instanceof ArchiveError) return error.reason
    if (error instanceof AnswersError) return error.message
    throw error
  }
}

// activity_10 comes after activity_9.
function byNumber(a: ZipEntry, b: ZipEntry): number {
  return BY_NUMBER.compare(a.name, b.name)
}
