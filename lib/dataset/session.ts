import { Adoption } from './adoption.ts'
import { findingsOf, isFinal, type Inspected } from './inspection.ts'
import { findMissing } from './missing.ts'
import { claim, decideParticipant } from './participant.ts'
import { arrivalsOf, sendersOf } from './upload.ts'

const ADOPTED = 'names no session that can be read; it was put here as the only session of its token and uid'
const SPLIT = 'has answers of several sessions; each session got its own, with the recordings that they name'
const UNSPLIT = 'has answers of several sessions and some that name none; all of them were put here'

/** Everything that one participant sent in one sitting. */
export interface Session {
  /** `wasAttributedTo.@id` of its answers; `upload-<uuid>` for an upload that names no session and fits none. */
  readonly id: string
  /** The best source of answers first: whole sessions, the last one first; then activities in the order of their arrival. */
  readonly uploads: readonly Inspected[]
  readonly participant: string | undefined
  /** Everybody whom a token, a file name or an answer names. */
  readonly claimed: readonly string[]
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
    const shares = sharesOf(each)
    if (shares.length === 0) unread.push(each)
    for (const [id, share] of shares) add(id, share)
  }
  const adoption = new Adoption(groups)
  const adopted = new Set<Inspected>()
  for (const each of unread) {
    const id = adoption.find(each)
    if (id !== undefined) adopted.add(each)
    add(id ?? newId(each, groups), each)
  }
  const sessions = [...groups].map(([id, uploads]) => toSession(id, uploads, adopted))
  return sessions.toSorted((a, b) => compare(a.firstAt, b.firstAt) || compare(a.id, b.id))
}

function sharesOf(inspected: Inspected): (readonly [string, Inspected])[] {
  if (inspected.type !== 'whole') return []
  return [inspected.findings, ...inspected.further].flatMap((findings) => {
    const [id] = findings.sessions
    return id === undefined ? [] : [[id, { ...inspected, findings, further: [] }] as const]
  })
}

function newId({ upload }: Inspected, groups: ReadonlyMap<string, unknown>): string {
  const id = `upload-${upload.uuid}`
  let free = id
  for (let copy = 2; groups.has(free); copy++) free = `${id}-${copy}`
  return free
}

function toSession(id: string, unsorted: readonly Inspected[], adopted: ReadonlySet<Inspected>): Session {
  const uploads = unsorted.toSorted(byWorth)
  const arrivals = uploads.flatMap(({ upload }) => arrivalsOf(upload))
  const moments = arrivals.map(({ submission }) => submission.receivedAt).toSorted()
  // Who sent an upload of several sessions says least of whose each is.
  const bySurety = [...uploads.filter((each) => !isMixed(each)), ...uploads.filter(isMixed)].map(({ upload }) => upload)
  const claims = {
    tokens: claim(bySurety.flatMap(sendersOf).map((submission) => submission.participant)),
    uids: claim(bySurety.map(({ uid }) => uid)),
    answers: claim(uploads.flatMap((each) => findingsOf(each)?.identifiers ?? [])),
  }
  const { participant, conflict } = decideParticipant(claims)
  return {
    id,
    uploads,
    participant,
    claimed: claim([...claims.tokens, ...claims.uids, ...claims.answers]),
    conflicts: [
      ...(conflict === undefined ? [] : [conflict]),
      ...uploads.filter((each) => adopted.has(each)).map(({ upload }) => `upload ${upload.uuid} ${ADOPTED}`),
      ...uploads.filter(isMixed).map((each) => `upload ${each.upload.uuid} ${findingsOf(each)?.isPart === true ? SPLIT : UNSPLIT}`),
    ],
    missing: findMissing(uploads),
    bytes: arrivals.reduce((sum, { file }) => sum + file.bytes, 0),
    firstAt: moments[0] ?? '',
    lastAt: moments.at(-1) ?? '',
  }
}

function isMixed(inspected: Inspected): boolean {
  const findings = findingsOf(inspected)
  return findings !== undefined && (findings.isPart || findings.sessions.length > 1)
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
