import type { Collection } from './collection.ts'
import type { Session } from './session.ts'

/** One session, as `status` tells of it; in the words of its JSON. */
export interface SessionSummary {
  readonly session: string
  readonly participant: string | null
  readonly complete: boolean
  readonly missing: readonly string[]
  readonly conflicts: readonly string[]
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
  readonly participants: number
  /** Sessions of which nobody knows whose they are. */
  readonly unassigned: number
  readonly messages: number
  readonly other_files: number
  /** Files that a receipt promises and the disk does not have: `verify` names them. */
  readonly lost_files: number
  /** Lines of receipts files that cannot be read: `verify` names them. */
  readonly unreadable_receipts: number
  readonly first_arrival: string | null
  readonly last_arrival: string | null
  /** Submissions by the day of their arrival, UTC. */
  readonly per_day: Readonly<Record<string, number>>
  /** Sessions that are incomplete, or whose participant is in doubt. */
  readonly attention: readonly SessionSummary[]
}

/** Summarises a project. */
export function summarise({ project, arrivals, sessions, messages, foreign }: Collection): Summary {
  const { submissions, lost, unreadable } = arrivals
  const files = submissions.flatMap((submission) => submission.files)
  const participants = [...sessions, ...messages.map(({ submission }) => submission)].map(({ participant }) => participant)
  const complete = sessions.filter(isComplete).length
  return {
    project,
    submissions: submissions.length,
    files: files.length,
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    sessions: sessions.length,
    complete,
    incomplete: sessions.length - complete,
    participants: new Set(participants.filter((participant) => participant !== undefined)).size,
    unassigned: sessions.filter((session) => session.participant === undefined).length,
    messages: messages.length,
    other_files: foreign.length,
    lost_files: lost.length,
    unreadable_receipts: unreadable.length,
    first_arrival: submissions[0]?.receivedAt ?? null,
    last_arrival: submissions.at(-1)?.receivedAt ?? null,
    per_day: countDays(submissions.map((submission) => submission.receivedAt)),
    attention: sessions.filter((session) => !isComplete(session) || session.conflicts.length > 0).map(summariseSession),
  }
}

/** Summarises a session. */
export function summariseSession(session: Session): SessionSummary {
  return {
    session: session.id,
    participant: session.participant ?? null,
    complete: isComplete(session),
    missing: session.missing,
    conflicts: session.conflicts,
    bytes: session.bytes,
    first_arrival: session.firstAt,
    last_arrival: session.lastAt,
  }
}

/** Says whether everything of a session has arrived. */
export function isComplete(session: Session): boolean {
  return session.missing.length === 0
}

function countDays(moments: readonly string[]): Record<string, number> {
  const days: Record<string, number> = {}
  for (const moment of moments) days[moment.slice(0, 10)] = (days[moment.slice(0, 10)] ?? 0) + 1
  return days
}
