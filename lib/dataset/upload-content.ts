import { ArchiveError } from '../archive/archive-error.ts'
import type { ByteSource } from '../archive/source.ts'
import { readSmallEntry } from '../archive/zip-small.ts'
import { readEntries, type ZipEntry } from '../archive/zip.ts'
import { AnswersError, countMarks, lastSegment, parseAnswers, type Answer } from './answers.ts'
import { Turns } from './bounded.ts'
import { limitsOf } from './upload-limits.ts'

const MAX_ANSWERS_BYTES = 64 * 1024 * 1024 // of one upload in all: they are held in memory
const MAX_MARKS = 1_000_000 // of one upload in all; an answer of the web app has about 25
const MAX_SESSION_BYTES = 2 * MAX_ANSWERS_BYTES // of all uploads of a session: its export holds them together
const MAX_SESSION_MARKS = 2 * MAX_MARKS
const LARGE_BYTES = 1024 * 1024
const large = new Turns() // uploads are read sixteen at a time
const BEYOND_SESSION = `The answers of this session have more than ${MAX_SESSION_BYTES} bytes, or ${MAX_SESSION_MARKS} commas and brackets, with it.`
const ANSWERS = /\.jsonld$/i
const RECORDING = /\.wav$/i
const NAMED = /^[^/\\]*-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\.[a-z0-9]{1,5}$/i
const BY_NUMBER = new Intl.Collator('en', { numeric: true })
const MAX_NAME_CHARACTERS = 1024 // of a file in an archive, and of a participant; each is kept in memory
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

/** How much more of answers may be held in memory. */
export interface AnswersRoom {
  bytes: number
  marks: number
}

/** Makes the room that the answers of one session have. */
export function makeSessionRoom(): AnswersRoom {
  return { bytes: MAX_SESSION_BYTES, marks: MAX_SESSION_MARKS }
}

/**
 * Reads the directory of an upload and its answers; recordings are not read. Throws an `ArchiveError`.
 * @param sessionRoom what the uploads of its session have left; answers beyond it are not read
 */
export async function readUploadContent(source: ByteSource, sessionRoom: AnswersRoom): Promise<UploadContent> {
  const content = await withUploadContent(source, (read) => read)
  const answersFiles: AnswersFile[] = []
  const rest = [...content.rest]
  for (const file of content.answersFiles) {
    const marks = countMarks(file.content)
    if (file.content.length > sessionRoom.bytes || marks > sessionRoom.marks) {
      rest.push({ entry: file.entry, reason: BEYOND_SESSION })
      continue
    }
    sessionRoom.bytes -= file.content.length
    sessionRoom.marks -= marks
    answersFiles.push(file)
  }
  return { ...content, answersFiles, rest }
}

/**
 * Reads an upload as `readUploadContent` does. Of uploads with many answers one at a time is in memory.
 * @param work is given what was read; what it gives stays in memory
 */
export async function withUploadContent<Result>(source: ByteSource, work: (content: UploadContent) => Result): Promise<Result> {
  const entries = (await readEntries(source, limitsOf(source.bytes))).toSorted(byNumber)
  const answersBytes = entries.filter(({ name }) => ANSWERS.test(name)).reduce((sum, entry) => sum + sizeOf(entry), 0)
  const read = async () => work(await readContent(source, entries))
  return answersBytes > LARGE_BYTES ? large.take(read) : read()
}

async function readContent(source: ByteSource, entries: readonly ZipEntry[]): Promise<UploadContent> {
  const answersFiles: AnswersFile[] = []
  const recordings: ZipEntry[] = []
  const rest: RestEntry[] = []
  const room = { bytes: MAX_ANSWERS_BYTES, marks: MAX_MARKS }
  for (const entry of entries) {
    if (entry.problem !== undefined) rest.push({ entry, reason: entry.problem })
    else if (entry.isDirectory) continue
    else if (RECORDING.test(entry.name)) recordings.push(entry)
    else if (!ANSWERS.test(entry.name)) rest.push({ entry, reason: 'It is neither answers nor a WAV recording.' })
    else {
      const file = await readAnswers(source, entry, room)
      if (typeof file === 'string') rest.push({ entry, reason: file })
      else answersFiles.push(file)
    }
  }
  return { answersFiles, recordings, rest }
}

// Stored answers are as large in the archive as out of it; others may be larger in it where somebody means harm.
function sizeOf({ bytes, compressedBytes }: ZipEntry): number {
  return Math.max(bytes, compressedBytes)
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
  return answer.isText && answer.value.length <= MAX_NAME_CHARACTERS && NAMED.test(answer.value)
}

/** Says whether an answer tells who the participant is. */
export function isIdentifier(answer: Answer): boolean {
  if (answer.item === undefined || !IDENTIFIERS.has(lastSegment(answer.item).toLowerCase())) return false
  return answer.value.trim() !== '' && answer.value.length <= MAX_NAME_CHARACTERS
}

async function readAnswers(source: ByteSource, entry: ZipEntry, room: AnswersRoom): Promise<AnswersFile | string> {
  if (sizeOf(entry) > room.bytes) return `The answers of this upload have more than ${MAX_ANSWERS_BYTES} bytes with it.`
  room.bytes -= entry.bytes
  try {
    const content = await readSmallEntry(source, entry)
    const marks = countMarks(content)
    if (marks > room.marks) return `The answers of this upload have more than ${MAX_MARKS} commas and brackets with it.`
    room.marks -= marks
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
