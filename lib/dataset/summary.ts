import type { Collection } from './collection.ts'
import { isComplete, isUnknown, type SealedHold, type SessionState } from './session-state.ts'

const WITHOUT_KEY =
  'What encrypted files hold is not known without a key: whether they can be read, which participants their answers name, and which uploads are of one session. Each upload at the end of a session counts as one session here.'

/** One session, as `status` tells of it; in the words of its JSON. */
export interface SessionSummary {
  readonly session: string
  readonly participant: string | null
  /** Null where it takes a key to know. */
  readonly complete: boolean | null
  readonly missing: readonly string[]
  /** What may be missing, and is not known without a key. */
  readonly unknown: readonly string[]
  readonly conflicts: readonly string[]
  /** What receipts tell of a session that takes a key to look into. */
  readonly encrypted: { readonly uploads: number; readonly entries: number | null; readonly activities: number | null } | null
  readonly bytes: number
  readonly first_arrival: string
  readonly last_arrival: string
}

/** One project, as `status` tells of it; in the words of its JSON. */
export interface Summary {
  readonly project: string
  readonly submissions: number
  readonly files: number
  readonly bytes: number
  readonly sessions: number
  readonly complete: number
  readonly incomplete: number
  /** Sessions of which it takes a key to know whether they are complete. */
  readonly unknown: number
  readonly participants: number
  /** Sessions of which nobody knows whose they are. */
  readonly unassigned: number
  readonly messages: number
  readonly other_files: number
  /** Files that are stored encrypted. */
  readonly encrypted_files: number
  /** What is not known without a key, where that is something. */
  readonly without_key: string | null
  /** Files that a receipt promises and the disk does not have: `verify` names them. */
  readonly lost_files: number
  /** Lines of receipts files that cannot be read: `verify` names them. */
  readonly unreadable_receipts: number
  readonly first_arrival: string | null
  readonly last_arrival: string | null
  /** Submissions by the day of their arrival, UTC. */
  readonly per_day: Readonly<Record<string, number>>
  /** Sessions that are incomplete or may be, or whose participant is in doubt. */
  readonly attention: readonly SessionSummary[]
}

/** Summarises a project. */
export function summarise(collection: Collection): Summary {
  const { project, arrivals, messages, foreign } = collection
  const sessions: readonly SessionState[] = [...collection.sessions, ...collection.sealed].toSorted(byArrival)
  const { submissions, lost, unreadable } = arrivals
  const files = submissions.flatMap((submission) => submission.files)
  const participants = [...sessions, ...messages.map(({ submission }) => submission)].map(({ participant }) => participant)
  const complete = sessions.filter(isComplete).length
  const unknown = sessions.filter(isUnknown).length
  return {
    project,
    submissions: submissions.length,
    files: files.length,
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    sessions: sessions.length,
    complete,
    incomplete: sessions.length - complete - unknown,
    unknown,
    participants: new Set(participants.filter((participant) => participant !== undefined)).size,
    unassigned: sessions.filter((session) => session.participant === undefined).length,
    messages: messages.length,
    other_files: foreign.length,
    encrypted_files: files.filter((file) => file.sealed !== undefined).length,
    without_key: describeUnknown(collection),
    lost_files: lost.length,
    unreadable_receipts: unreadable.length,
    first_arrival: submissions[0]?.receivedAt ?? null,
    last_arrival: submissions.at(-1)?.receivedAt ?? null,
    per_day: countDays(submissions.map((submission) => submission.receivedAt)),
    attention: sessions.filter(needsAttention).map(summariseSession),
  }
}

/** Says what is not known for want of a key, or of the right one, when all was looked at; null where there is no such thing. */
export function describeUnknown({ arrivals, vault }: Pick<Collection, 'arrivals' | 'vault'>): string | null {
  if (!arrivals.submissions.every(({ files }) => files.every((file) => vault.mayRead(file)))) return WITHOUT_KEY
  const { lockedFiles } = vault
  return lockedFiles === 0 ? null : `What ${lockedFiles} of the encrypted files hold is not known: no identity that was given opens them.`
}

/** Summarises a session. */
export function summariseSession(session: SessionState): SessionSummary {
  return {
    session: session.id,
    participant: session.participant ?? null,
    complete: isUnknown(session) ? null : isComplete(session),
    missing: session.missing,
    unknown: session.unknown,
    encrypted: describeHold(session.sealed),
    conflicts: session.conflicts,
    bytes: session.bytes,
    first_arrival: session.firstAt,
    last_arrival: session.lastAt,
  }
}

function describeHold(sealed: SealedHold | undefined): SessionSummary['encrypted'] {
  return sealed === undefined ? null : { uploads: sealed.uploads, entries: sealed.zip?.entries ?? null, activities: sealed.zip?.activities ?? null }
}

function needsAttention({ missing, unknown, conflicts }: SessionState): boolean {
  return missing.length + unknown.length + conflicts.length > 0
}

function byArrival(a: SessionState, b: SessionState): number {
  return a.firstAt < b.firstAt ? -1 : Number(a.firstAt > b.firstAt)
}

function countDays(moments: readonly string[]): Record<string, number> {
  const days: Record<string, number> = {}
  for (const moment of moments) days[moment.slice(0, 10)] = (days[moment.slice(0, 10)] ?? 0) + 1
  return days
}
