import type { Findings, Inspected } from './inspection.ts'
import { claim, decideParticipant } from './participant.ts'
import { arrivalsOf } from './upload.ts'

/** Everything that one participant sent in one sitting. */
export interface Session {
  /** `wasAttributedTo.@id` of its answers; `upload-<uuid>` where no answer can be read. */
  readonly id: string
  /** The best source of answers first: whole sessions, the last one first; then activities in the order of their arrival. */
  readonly uploads: readonly Inspected[]
  readonly participant: string | undefined
  readonly conflicts: readonly string[]
  /** What is not there: slices, recordings that an answer names, the upload at the end. Empty where the session is complete. */
  readonly missing: readonly string[]
  readonly bytes: number
  readonly firstAt: string
  readonly lastAt: string
}

/** Puts uploads to their sessions, in the order of the sessions' first arrivals. */
export function groupSessions(inspected: readonly Inspected[]): Session[] {
  const groups = new Map<string, Inspected[]>()
  const add = (id: string, upload: Inspected) => {
    const uploads = groups.get(id) ?? []
    groups.set(id, uploads)
    uploads.push(upload)
  }
  const unread: Inspected[] = []
  for (const each of inspected) {
    const id = findingsOf(each)?.sessions[0]
    if (id === undefined) unread.push(each)
    else add(id, each)
  }
  const owners = indexOwners(groups)
  for (const each of unread) add(findOwner(each, owners) ?? `upload-${each.upload.uuid}`, each)
  return [...groups].map(([id, uploads]) => toSession(id, uploads)).toSorted((a, b) => compare(a.firstAt, b.firstAt) || compare(a.id, b.id))
}

/** Says whether an upload is of a whole session, and can be read. */
export function isFinal({ upload, type }: Inspected): boolean {
  return upload.activity === undefined && type === 'whole'
}

/** What was found in an upload; undefined where it cannot be read. */
export function findingsOf(inspected: Inspected): Findings | undefined {
  return inspected.type === 'whole' ? inspected.findings : undefined
}

// An upload whose answers cannot be read belongs to the session of the same token and uid, where there is only one.
function indexOwners(groups: ReadonlyMap<string, readonly Inspected[]>): Map<string, Set<string>> {
  const owners = new Map<string, Set<string>>()
  for (const [id, uploads] of groups) {
    for (const key of uploads.flatMap(ownerKeys)) owners.set(key, (owners.get(key) ?? new Set()).add(id))
  }
  return owners
}

function findOwner(inspected: Inspected, owners: ReadonlyMap<string, ReadonlySet<string>>): string | undefined {
  const candidates = new Set(ownerKeys(inspected).flatMap((key) => [...(owners.get(key) ?? [])]))
  return candidates.size === 1 ? [...candidates][0] : undefined
}

function ownerKeys({ upload }: Inspected): string[] {
  const tokens = new Set(arrivalsOf(upload).map(({ submission }) => submission.tokenSha256))
  return [...tokens].flatMap((token) => (token === undefined && upload.uid === '' ? [] : [JSON.stringify([token, upload.uid])]))
}

function toSession(id: string, unsorted: readonly Inspected[]): Session {
  const uploads = unsorted.toSorted(byWorth)
  const arrivals = uploads.flatMap(({ upload }) => arrivalsOf(upload))
  const moments = arrivals.map(({ submission }) => submission.receivedAt).toSorted()
  const { participant, conflict } = decideParticipant({
    tokens: claim(arrivals.map(({ submission }) => submission.participant)),
    uids: claim(uploads.map(({ upload }) => upload.uid)),
    answers: claim(uploads.flatMap((each) => findingsOf(each)?.identifiers ?? [])),
  })
  const mixed = uploads.filter((each) => (findingsOf(each)?.sessions.length ?? 0) > 1)
  return {
    id,
    uploads,
    participant,
    conflicts: [
      ...(conflict === undefined ? [] : [conflict]),
      ...mixed.map((each) => `upload ${each.upload.uuid} has answers of ${findingsOf(each)?.sessions.length} sessions`),
    ],
    missing: findMissing(uploads),
    bytes: arrivals.reduce((sum, { file }) => sum + file.bytes, 0),
    firstAt: moments[0] ?? '',
    lastAt: moments.at(-1) ?? '',
  }
}

function byWorth(a: Inspected, b: Inspected): number {
  if (isFinal(a) !== isFinal(b)) return isFinal(a) ? -1 : 1
  const order = compare(lastArrival(a), lastArrival(b)) || compare(a.upload.uuid, b.upload.uuid)
  return isFinal(a) ? -order : order
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

function lastArrival({ upload }: Inspected): string {
  return upload.slices.map(({ submission }) => submission.receivedAt).toSorted().at(-1) ?? ''
}

function findMissing(uploads: readonly Inspected[]): string[] {
  const missing: string[] = []
  const hasFinal = uploads.some(isFinal)
  for (const each of uploads) {
    if (each.type === 'whole' || (hasFinal && each.upload.activity !== undefined)) continue
    if (each.type === 'incomplete') missing.push(`${each.missing} of upload ${each.upload.uuid}`)
    else missing.push(`upload ${each.upload.uuid}, which cannot be read: ${each.reason}`)
  }
  if (!hasFinal && !uploads.some(({ upload }) => upload.activity === undefined)) missing.push('the upload at the end of the session')
  const findings = uploads.flatMap((each) => findingsOf(each) ?? [])
  const there = new Set(findings.flatMap(({ recordings, files }) => [...recordings.map(({ name }) => name), ...files]))
  const named = new Set(findings.flatMap((each) => each.named))
  for (const name of named) if (!there.has(name)) missing.push(`recording ${name}`)
  return missing
}
