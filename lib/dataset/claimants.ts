import { forEachBounded } from './bounded.ts'
import type { Collection } from './collection.ts'
import { findingsOf, type Inspected } from './inspection.ts'
import { isMixed } from './ownership.ts'
import { claim, decideParticipant } from './participant.ts'
import { findSender, type Sender } from './sender.ts'
import type { Arrival, Upload } from './upload.ts'

const AT_ONCE = 16

/** Whose a stored file is. */
export interface Claimants {
  /** Whom it belongs to; several where it is shared, or where it cannot be told which of them it is. */
  readonly owners: ReadonlySet<string>
  /** Everybody whom its token, its name or its answers name. */
  readonly named: ReadonlySet<string>
  /** What of this contradicts itself, as `status` says it. */
  readonly conflicts: ReadonlySet<string>
}

/**
 * Says of each stored file whose it is, as `status` and `export` decide. They give a session to one participant, and name
 * contradictions; here, where something is to be erased, a file that more than one participant may have a part in has
 * several owners: a zip with several sessions, and what nothing but contradicting answers tell of.
 * @returns by stored name
 */
export async function findClaimants(collection: Collection): Promise<ReadonlyMap<string, Claimants>> {
  const all = new ClaimantsByFile()
  const byGivenId = new Map<string, string[]>()
  for (const { givenId, participant } of collection.sessions) {
    if (givenId !== undefined) byGivenId.set(givenId, [...(byGivenId.get(givenId) ?? []), ...claim([participant])])
  }
  for (const session of collection.sessions) {
    const isSure = session.uploads.some(({ upload }) => claim([upload.uid, ...slicesOf(upload).map(({ submission }) => submission.participant)]).length > 0)
    for (const inspected of session.uploads) {
      const others = isMixed(inspected) || !isSure ? [...session.claimed, ...othersOf(inspected, byGivenId)] : []
      const owners = claim([session.participant, ...others])
      const { upload } = inspected
      const named = claim([upload.uid, ...slicesOf(upload).map(({ submission }) => submission.participant), ...(findingsOf(inspected)?.identifiers ?? [])])
      for (const { file, submission } of slicesOf(upload)) {
        // Where a token names nobody the name of a file counts beside its session: that one it may have by mistake.
        const uid = claim([submission.participant]).length > 0 ? [] : claim([upload.uid])
        all.add(file.storedAs, { owners: [...owners, ...uid], named, conflicts: session.conflicts })
      }
    }
  }
  // What is in an encrypted upload nobody here can tell: it is whose its tokens say, else its name.
  for (const { upload } of collection.sealedUploads) {
    const tokens = claim(slicesOf(upload).map(({ submission }) => submission.participant))
    const uids = claim([upload.uid])
    const { conflict } = decideParticipant({ tokens, uids, answers: [] })
    const claims = { owners: tokens.length > 0 ? tokens : uids, named: claim([...tokens, ...uids]), conflicts: claim([conflict]) }
    for (const { file } of slicesOf(upload)) all.add(file.storedAs, claims)
  }
  await forEachBounded(collection.messages, AT_ONCE, async (arrival) => {
    all.add(arrival.file.storedAs, claimsOf(arrival, await findSender(collection.vault, arrival)))
  })
  for (const { file, submission } of collection.foreign) {
    const owners = claim([submission.participant])
    all.add(file.storedAs, { owners, named: owners, conflicts: [] })
  }
  return all.files
}

class ClaimantsByFile {
  readonly files = new Map<string, { owners: Set<string>; named: Set<string>; conflicts: Set<string> }>()

  add(storedAs: string, { owners, named, conflicts }: { owners: readonly string[]; named: readonly string[]; conflicts: readonly string[] }): void {
    const known = this.files.get(storedAs) ?? { owners: new Set(), named: new Set(), conflicts: new Set() }
    this.files.set(storedAs, known)
    for (const each of owners) known.owners.add(each)
    for (const each of named) known.named.add(each)
    for (const each of conflicts) known.conflicts.add(each)
  }
}

function slicesOf({ slices, others, repeats }: Upload): readonly Arrival[] {
  return [...slices, ...others, ...repeats]
}

// Where several sessions cannot be told apart the upload is with the first of them.
function othersOf(inspected: Inspected, byGivenId: ReadonlyMap<string, readonly string[]>): string[] {
  return (findingsOf(inspected)?.sessions ?? []).flatMap((id) => byGivenId.get(id) ?? [])
}

function claimsOf({ submission }: Arrival, { participant, claimed, conflict }: Sender): { owners: string[]; named: readonly string[]; conflicts: string[] } {
  const isSure = claim([submission.participant]).length > 0
  return { owners: claim(isSure ? [participant] : claimed), named: claimed, conflicts: conflict === undefined ? [] : [conflict] }
}
