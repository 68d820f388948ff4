import type { AnswerConflict, Place } from './merge.ts'

/**
 * Says which answers differ under one `@id`, by the places where they stand: what they say is not for a table of sessions.
 * @param uuids of the uploads that were merged
 */
export function describeConflicts(conflicts: readonly AnswerConflict[], uuids: readonly string[]): string[] {
  const counts = new Map<string, number>()
  for (const { taken, other } of conflicts) {
    const outcome = taken.upload === other.upload ? 'both were taken' : 'the latter was left out, its archive has it'
    const says = `differs under one @id between ${describe(taken, uuids)} and ${describe(other, uuids)}: ${outcome}`
    counts.set(says, (counts.get(says) ?? 0) + 1)
  }
  return [...counts].map(([says, count]) => (count === 1 ? `an answer ${says}` : `each of ${count} answers ${says}`))
}

function describe({ upload, entry }: Place, uuids: readonly string[]): string {
  return `${entry.split('/').at(-1)} of upload ${uuids[upload] ?? ''}`
}
