import { ArchiveError } from '../archive/archive-error.ts'
import { AnswersError, countMarks, parseAnswers } from './answers.ts'
import type { StoredFile } from './arrivals.ts'
import { Turns } from './bounded.ts'
import { claim, decideParticipant } from './participant.ts'
import { withSource } from './upload-archive.ts'
import { isIdentifier } from './upload-content.ts'
import type { Arrival } from './upload.ts'
import type { Vault } from './vault.ts'

const MAX_BYTES = 64 * 1024 * 1024 // the usual limit of a form's fields is a quarter
const MAX_MARKS = 1_000_000
const LARGE_BYTES = 1024 * 1024
const large = new Turns() // one at a time is in memory

/** Who sent a JSON submission. */
export interface Sender {
  readonly participant: string | undefined
  /** What its token and its answers say where they contradict each other. */
  readonly conflict: string | undefined
  /** Everybody whom one of them names. */
  readonly claimed: readonly string[]
}

/** Finds out who sent a JSON submission: whom its token was issued for, else the answer that says so. Reads it, where that may be. */
export async function findSender(vault: Vault, arrival: Arrival): Promise<Sender> {
  const tokens = claim([arrival.submission.participant])
  const answers = claim(await readIdentifiers(vault, arrival.file))
  return { ...decideParticipant({ tokens, uids: [], answers }), claimed: claim([...tokens, ...answers]) }
}

/** Says whether a JSON submission has a text in it, wherever it stands; false where it cannot be read. */
export async function holdsText(vault: Vault, file: StoredFile, text: string): Promise<boolean> {
  if (file.bytes > MAX_BYTES || !vault.mayRead(file)) return false
  const look = async () => (await readWhole(vault, file)).includes(JSON.stringify(text))
  try {
    return await (file.bytes > LARGE_BYTES ? large.take(look) : look())
  } catch (error) {
    if (error instanceof ArchiveError) return false // it was cut, or cannot be decrypted
    throw error
  }
}

async function readIdentifiers(vault: Vault, file: StoredFile): Promise<string[]> {
  if (file.bytes > MAX_BYTES || !vault.mayRead(file)) return []
  return file.bytes > LARGE_BYTES ? large.take(() => parseIdentifiers(vault, file)) : parseIdentifiers(vault, file)
}

async function parseIdentifiers(vault: Vault, file: StoredFile): Promise<string[]> {
  try {
    const content = await readWhole(vault, file)
    if (countMarks(content) > MAX_MARKS) return []
    return parseAnswers(content).filter(isIdentifier).map((answer) => answer.value)
  } catch (error) {
    if (error instanceof AnswersError) return [] // other clients send JSON of their own
    if (error instanceof ArchiveError) return [] // it was cut, or cannot be decrypted
    throw error
  }
}

function readWhole(vault: Vault, file: StoredFile): Promise<Buffer> {
  return withSource([{ ...vault.rangeOf(file), from: 0, to: file.bytes }], (source) => source.read(0, source.bytes))
}
