import { readFile } from 'node:fs/promises'
import { AnswersError, parseAnswers } from './answers.ts'
import { pathOf, type Collection } from './collection.ts'
import { claim, decideParticipant } from './participant.ts'
import { isIdentifier } from './upload-content.ts'
import type { Arrival } from './upload.ts'

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
  const answers = claim(await readIdentifiers(pathOf(collection, arrival)))
  return { ...decideParticipant({ tokens, uids: [], answers }), claimed: claim([...tokens, ...answers]) }
}

async function readIdentifiers(path: string): Promise<string[]> {
  try {
    return parseAnswers(await readFile(path)).filter(isIdentifier).map((answer) => answer.value) // at most what a form's fields may have
  } catch (error) {
    if (error instanceof AnswersError) return [] // other clients send JSON of their own
    throw error
  }
}
