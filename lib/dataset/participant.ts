/** What is known of whom a session belongs to, by where it is known from; each list without repetitions or empty names. */
export interface Claims {
  /** Whom the tokens were issued for. */
  readonly tokens: readonly string[]
  /** `uid` in the names of the uploads. */
  readonly uids: readonly string[]
  /** Answers to `record_id` or `participant_id`. */
  readonly answers: readonly string[]
}

/** Gives the participant, the surest claim first, and says where claims contradict each other. */
export function decideParticipant({ tokens, uids, answers }: Claims): { participant: string | undefined; conflict: string | undefined } {
  const all = new Set([...tokens, ...uids, ...answers])
  const sources = [
    ['token', tokens],
    ['file name', uids],
    ['answer', answers],
  ] as const
  const said = sources.filter(([, names]) => names.length > 0).map(([source, names]) => `${source}: ${names.join(', ')}`)
  return { participant: tokens[0] ?? uids[0] ?? answers[0], conflict: all.size > 1 ? said.join('; ') : undefined }
}

/** Gives names once each, trimmed, without empty ones. */
export function claim(names: Iterable<string | undefined>): string[] {
  return [...new Set([...names].flatMap((name) => (name === undefined || name.trim() === '' ? [] : [name.trim()])))]
}
