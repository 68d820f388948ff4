import { Adoption } from './adoption.ts'
import { findingsOf, isFinal, type Inspected } from './inspection.ts'
import { findMissing } from './missing.ts'
import { isMixed, splitByOwner } from './ownership.ts'
import { claim, decideParticipant } from './participant.ts'
import { senderOf } from './sealed-session.ts'
import type { SessionState } from './session-state.ts'
import { arrivalsOf, sendersOf } from './upload.ts'

const ADOPTED = 'names no session that can be read; it was put here as the only session of its token and uid'
const SPLIT = 'has answers of several sessions; each session got its own, with the recordings that they name'
const UNSPLIT = 'has answers of several sessions and some that name none; all of them were put here'

/** Everything that one participant sent in one sitting. */
export interface Session extends SessionState {
  /**
   * `wasAttributedTo.@id` of its answers, with `-of-<participant>` where uploads of several participants name it;
   * `upload-<uuid>` for an upload that names no session and fits none.
   */
  readonly id: string
  /** `wasAttributedTo.@id` of its answers; undefined where they name none. */
  readonly givenId: string | undefined
  /** The best source of answers first: whole sessions, the last one first, and those that are not of this session alone after them; then activities in the order of their arrival. */
  readonly uploads: readonly Inspected[]
}

/**
 * Puts uploads to their sessions, in the order of the sessions' first arrivals.
 * @param sealedSenders who sent uploads that were not looked into, as `senderOf` names them: what is missing may be in these
 */
export function groupSessions(inspected: readonly Inspected[], sealedSenders: ReadonlySet<string> = new Set()): Session[] {
  const given = new Map<string, Inspected[]>()
  const unread: Inspected[] = []
  for (const each of inspected) {
    const shares = sharesOf(each)
    if (shares.length === 0) unread.push(each)
    for (const [id, share] of shares) add(given, id, share)
  }
  const { groups, givenIds } = nameOwned(given)
  const adoption = new Adoption(groups)
  const adopted = new Set<Inspected>()
  for (const each of unread) {
    const id = adoption.find(each)
    if (id !== undefined) adopted.add(each)
    add(groups, id ?? freeId(`upload-${each.upload.uuid}`, groups), each)
  }
  const sessions = [...groups].map(([id, uploads]) => toSession({ id, givenId: givenIds.get(id) }, uploads, adopted))
  const told = sessions.map((session) => (session.uploads.some(({ upload }) => sealedSenders.has(senderOf(upload))) ? doubt(session) : session))
  return told.toSorted((a, b) => compare(a.firstAt, b.firstAt) || compare(a.id, b.id))
}

function sharesOf(inspected: Inspected): (readonly [string, Inspected])[] {
  if (inspected.type !== 'whole') return []
  return [inspected.findings, ...inspected.further].flatMap((findings) => {
    const [id] = findings.sessions
    return id === undefined ? [] : [[id, { ...inspected, findings, further: [] }] as const]
  })
}

function add(groups: Map<string, Inspected[]>, id: string, upload: Inspected): void {
  const uploads = groups.get(id) ?? []
  groups.set(id, uploads)
  uploads.push(upload)
}

// A session of one participant keeps its name, whatever the names of others are made to look like.
function nameOwned(given: ReadonlyMap<string, readonly Inspected[]>): { groups: Map<string, Inspected[]>; givenIds: Map<string, string> } {
  const groups = new Map<string, Inspected[]>()
  const givenIds = new Map<string, string>()
  const shared: (readonly [string, ReturnType<typeof splitByOwner>])[] = []
  for (const [id, uploads] of given) {
    const owned = splitByOwner(uploads)
    if (owned.length > 1) shared.push([id, owned])
    else groups.set(id, [...uploads])
    givenIds.set(id, id)
  }
  for (const [givenId, owned] of shared) {
    for (const { owner, uploads } of owned) {
      const id = freeId(owner === undefined ? `${givenId}-of-nobody` : `${givenId}-of-${owner}`, groups)
      groups.set(id, [...uploads])
      givenIds.set(id, givenId)
    }
  }
  return { groups, givenIds }
}

function freeId(id: string, groups: ReadonlyMap<string, unknown>): string {
  let free = id
  for (let copy = 2; groups.has(free); copy++) free = `${id}-${copy}`
  return free
}

function toSession({ id, givenId }: Pick<Session, 'id' | 'givenId'>, unsorted: readonly Inspected[], adopted: ReadonlySet<Inspected>): Session {
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
    givenId,
    uploads,
    participant,
    claimed: claim([...claims.tokens, ...claims.uids, ...claims.answers]),
    conflicts: [
      ...(conflict === undefined ? [] : [conflict]),
      ...(givenId === undefined || givenId === id ? [] : [`uploads of other participants name the same session, ${givenId}; each participant's were kept apart`]),
      ...uploads.filter((each) => adopted.has(each)).map(({ upload }) => `upload ${upload.uuid} ${ADOPTED}`),
      ...uploads.filter(isMixed).map((each) => `upload ${each.upload.uuid} ${findingsOf(each)?.isPart === true ? SPLIT : UNSPLIT}`),
    ],
    missing: findMissing(uploads),
    unknown: [],
    sealed: undefined,
    bytes: arrivals.reduce((sum, { file }) => sum + file.bytes, 0),
    firstAt: moments[0] ?? '',
    lastAt: moments.at(-1) ?? '',
  }
}

function doubt(session: Session): Session {
  return { ...session, missing: [], unknown: session.missing.map((each) => `whether an encrypted upload of the same sender has what is missing here: ${each}`) }
}

function byWorth(a: Inspected, b: Inspected): number {
  if (isFinal(a) !== isFinal(b)) return isFinal(a) ? -1 : 1
  if (isFinal(a) && isMixed(a) !== isMixed(b)) return isMixed(a) ? 1 : -1 // it may be another participant's
  const order = compare(lastArrival(a), lastArrival(b)) || compare(a.upload.uuid, b.upload.uuid)
  return isFinal(a) ? -order : order
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

function lastArrival({ upload }: Inspected): string {
  return upload.slices.map(({ submission }) => submission.receivedAt).toSorted().at(-1) ?? ''
}
