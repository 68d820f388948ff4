import type { Answer } from './answers.ts'
import type { AnswersFile } from './upload-content.ts'

/** One activity of a session, as it is exported. */
export interface MergedActivity {
  /** The address of the activity, `used[1]`. */
  readonly address: string
  readonly answers: readonly Answer[]
  /** The bytes as they came wherever one file holds all of it; else the elements as they were spelled, in a new list. */
  readonly content: Buffer
}

/**
 * Merges the answers of a session's uploads: each answer once by its `@id`, the best upload first, the others filling
 * what it lacks. Answers that are added stand in the order in which they were given, since the converters take the last
 * answer to an item: one that was changed later must not come back.
 * @param uploads the files of answers of each upload, the best upload first
 */
export function mergeAnswers(uploads: readonly (readonly AnswersFile[])[]): MergedActivity[] {
  const seen = new Set<string>()
  const merged: Growing[] = []
  for (const files of uploads) {
    const added: Growing[] = [] // two files of one upload stay two, even of the same activity
    for (const file of files) {
      const fresh = file.answers.filter(({ id }) => !seen.has(id) && seen.add(id))
      const rest = fresh.filter((answer) => !addTo(merged, answer))
      const [first] = rest
      if (first === undefined) continue
      const isWhole = rest.length === file.answers.length
      added.push({ address: first.activity, answers: rest, content: isWhole ? file.content : undefined })
    }
    merged.push(...added)
  }
  return merged.map(({ address, answers, content }) => {
    if (content !== undefined) return { address, answers, content }
    const ordered = answers.every(({ endedAt }) => endedAt !== '') ? answers.toSorted((a, b) => (a.endedAt < b.endedAt ? -1 : Number(a.endedAt > b.endedAt))) : answers
    return { address, answers: ordered, content: Buffer.from(`[\n${ordered.flatMap(({ texts }) => texts).join(',\n')}\n]\n`) }
  })
}

interface Growing {
  readonly address: string
  readonly answers: Answer[]
  content: Buffer | undefined
}

function addTo(merged: readonly Growing[], answer: Answer): boolean {
  const activity = merged.find(({ address }) => address === answer.activity)
  if (activity === undefined) return false
  activity.answers.push(answer)
  activity.content = undefined
  return true
}
