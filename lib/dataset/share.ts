import { ArchiveError } from '../archive/archive-error.ts'
import type { Answer } from './answers.ts'
import { formatAnswers } from './merge.ts'
import { baseName, isUnusable, namesFile, type AnswersFile, type UploadContent } from './upload-content.ts'

const MOST_SESSIONS = 200 // of one upload: each reads all of it

/** What an upload holds of one session. */
export interface Share extends UploadContent {
  /** The session; several where they cannot be told apart, none where no answer names one. */
  readonly sessions: readonly string[]
  /** Whether the upload holds other sessions too. */
  readonly isPart: boolean
  /** Whether it is the first of them, which has what belongs to none alone. */
  readonly isFirst: boolean
}

/**
 * Splits what an upload holds by session: a page that was loaded anew sends the answers of both loads in one zip.
 * Recordings and other files go where an answer names them; what none names goes to the first session, and what cannot
 * be read concerns every one. Where an answer names no session nothing is split: it could be anyone's.
 * @returns the share of the first session first; at least one. Throws an `ArchiveError` where there are too many
 */
export function splitBySession(content: UploadContent): Share[] {
  const answers = content.answersFiles.flatMap((file) => file.answers)
  const sessions = [...new Set(answers.flatMap(({ session }) => session ?? []))]
  if (sessions.length > MOST_SESSIONS) throw new ArchiveError(`It has answers of more than ${MOST_SESSIONS} sessions.`)
  const isTold = answers.every(({ item, session }) => item === undefined || session !== undefined)
  if (sessions.length < 2 || !isTold) return [{ ...content, sessions, isPart: false, isFirst: true }]
  const named = new Set(answers.filter(namesFile).map(({ value }) => value))
  return sessions.map((session, index) => {
    const isOwn = (answer: Answer) => answer.session === session || (answer.session === undefined && index === 0)
    const own = new Set(answers.filter((answer) => isOwn(answer) && namesFile(answer)).map(({ value }) => value))
    const isHere = (name: string) => own.has(name) || (index === 0 && !named.has(name))
    return {
      sessions: [session],
      isPart: true,
      isFirst: index === 0,
      answersFiles: content.answersFiles.flatMap((file) => takeFrom(file, isOwn)),
      recordings: content.recordings.filter((entry) => isHere(baseName(entry))),
      rest: content.rest.filter((each) => (isUnusable(each) && !named.has(baseName(each.entry))) || isHere(baseName(each.entry))),
    }
  })
}

function takeFrom(file: AnswersFile, isOwn: (answer: Answer) => boolean): AnswersFile[] {
  const answers = file.answers.filter(isOwn)
  if (answers.length === 0) return []
  return [answers.length === file.answers.length ? file : { ...file, answers, content: formatAnswers(answers) }]
}
