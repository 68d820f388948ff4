import { readFile } from 'node:fs/promises'
import { AnswersError, countMarks, parseAnswers } from './answers.ts'
import { Turns } from './bounded.ts'
import { pathOf, type Collection } from './collection.ts'
import { claim, decideParticipant } from './participant.ts'
import { isIdentifier } from './upload-content.ts'
import type { Arrival } from './upload.ts'

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

/** Finds out who sent a JSON submission: whom its token was issued for, else the answer that says so. Reads it. */
export async function findSender(collection: Pick<Collection, 'directory'>, arrival: Arrival): Promise<Sender> {
  const tokens = claim([arrival.submission.participant])
  const answers = claim(await readIdentifiers(pathOf(collection, arrival), arrival.file.bytes))
  return { ...decideParticipant({ tokens, uids: [], answers }), claimed: claim([...tokens, ...answers]) }
}

async function readIdentifiers(path: string, bytes: number): Promise<string[]> {
  if (bytes > MAX_BYTES) return []
  return bytes > LARGE_BYTES ? large.take(() => parseIdentifiers(path)) : parseIdentifiers(path)
}

async function parseIdentifiers(path: string): Promise<string[]> {
  try {
    const content = await readFile(path)
    if (countMarks(content) > MAX_MARKS) return []
    return parseAnswers(content).filter(isIdentifier).map((answer) => answer.value)
  } catch (error) {
    if (error instanceof AnswersError) return [] // other clients send JSON of their own
    throw error
  }
}
