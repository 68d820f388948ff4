import { createHash } from 'node:crypto'
import type { Answer } from './answers.ts'
import { compactJson } from './json-pieces.ts'
import type { AnswersFile } from './upload-content.ts'

/** One activity of a session, as it is exported. */
export interface MergedActivity {
  /** The address of the activity, `used[1]`. */
  readonly address: string
  readonly answers: readonly Answer[]
  /** The bytes as they came wherever one file holds all of it; else the elements as they were spelled, in a new list. */
  readonly content: Buffer
}

/** Where an answer came from. */
export interface Place {
  /** The index of its upload. */
  readonly upload: number
  /** The name of its file in the archive. */
  readonly entry: string
}

/** Two answers that differ, and have one `@id`. In one upload both are taken; of two uploads the better one's is. */
export interface AnswerConflict {
  readonly taken: Place
  readonly other: Place
}

/** The answers of a session. */
export interface Merged {
  readonly activities: readonly MergedActivity[]
  readonly conflicts: readonly AnswerConflict[]
}

/**
 * Merges the answers of a session's uploads: each answer once by its `@id`, the best upload first, the others filling
 * what it lacks. Answers that are added stand in the order in which they were given, since the converters take the last
 * answer to an item: one that was changed later must not come back.
 * @param uploads the files of answers of each upload, the best upload first
 */
export function mergeAnswers(uploads: readonly (readonly AnswersFile[])[]): Merged {
  const taken = new Taken()
  const merged: Growing[] = []
  const byAddress = new Map<string, Growing>() // of uploads before
  for (const [upload, files] of uploads.entries()) {
    const added: Growing[] = [] // two files of one upload stay two, even of the same activity
    for (const file of files) {
      const fresh = file.answers.filter((answer) => taken.add(answer, { upload, entry: file.entry.name }))
      const rest = fresh.filter((answer) => !addTo(byAddress.get(answer.activity), answer))
      const [first] = rest
      if (first === undefined) continue
      const isWhole = rest.length === file.answers.length
      added.push({ address: first.activity, answers: rest, content: isWhole ? file.content : undefined })
    }
    for (const activity of added) {
      merged.push(activity)
      if (!byAddress.has(activity.address)) byAddress.set(activity.address, activity)
    }
  }
  return { activities: merged.map(finish), conflicts: taken.conflicts }
}

/** Writes answers as a file of answers, each as it was spelled. */
export function formatAnswers(answers: readonly Answer[]): Buffer {
  return Buffer.from(`[\n${answers.flatMap(({ texts }) => texts).join(',\n')}\n]\n`)
}

/** The answers that were taken, by their `@id`. */
class Taken {
  readonly #firsts = new Map<string, { answer: Answer; place: Place }>()
  readonly #contents = new Map<string, Set<string>>() // of what came under one `@id` more than once
  readonly conflicts: AnswerConflict[] = []

  /** Takes an answer, unless it is there; says whether it is to be written. */
  add(answer: Answer, place: Place): boolean {
    const first = this.#firsts.get(answer.id)
    if (first === undefined) {
      this.#firsts.set(answer.id, { answer, place })
      return true
    }
    const known = this.#contents.get(answer.id) ?? new Set([contentOf(first.answer)])
    this.#contents.set(answer.id, known)
    const content = contentOf(answer)
    if (known.has(content)) return false
    this.conflicts.push({ taken: first.place, other: place })
    const isTaken = first.place.upload === place.upload
    if (isTaken) known.add(content)
    return isTaken
  }
}

// The times of the ResponseActivity are not the answer: an app may write them anew. A digest: an answer may be long.
function contentOf({ item, session, activity, texts }: Answer): string {
  const what = JSON.stringify([item, session, activity, compactJson(texts.at(-1) ?? '')])
  return createHash('sha256').update(what).digest('base64')
}

interface Growing {
  readonly address: string
  readonly answers: Answer[]
  content: Buffer | undefined
}

function addTo(activity: Growing | undefined, answer: Answer): boolean {
  if (activity === undefined) return false
  activity.answers.push(answer)
  activity.content = undefined
  return true
}

function finish({ address, answers, content }: Growing): MergedActivity {
  if (content !== undefined) return { address, answers, content }
  const isTimed = answers.every(({ endedAt }) => endedAt !== '')
  const ordered = isTimed ? answers.toSorted((a, b) => (a.endedAt < b.endedAt ? -1 : Number(a.endedAt > b.endedAt))) : answers
  return { address, answers: ordered, content: formatAnswers(ordered) }
}
