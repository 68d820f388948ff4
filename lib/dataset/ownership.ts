import { findingsOf, type Inspected } from './inspection.ts'
import { claim } from './participant.ts'
import { sendersOf } from './upload.ts'

/** The uploads of one session that are one participant's. */
export interface Owned {
  /** Undefined where neither a token nor a file's name says whose they are. */
  readonly owner: string | undefined
  readonly uploads: readonly Inspected[]
}

/**
 * Splits the uploads that name one session by whom their tokens were issued for, else by the uid in their names: whoever
 * sends the session of another, through a fault of an app or to do harm, must not get what is that one's. What names
 * nobody stays with the only participant there is.
 * @returns at least one; the participant whose upload came first is the first
 */
export function splitByOwner(uploads: readonly Inspected[]): Owned[] {
  const owners = new Owners(uploads)
  const owned = new Map<string | undefined, Inspected[]>()
  for (const each of uploads) {
    const owner = owners.find(each)
    owned.set(owner, [...(owned.get(owner) ?? []), each])
  }
  return [...owned].map(([owner, theirs]) => ({ owner, uploads: theirs }))
}

/** Says whether an upload has answers of several sessions: who sent it says least of whose each is. */
export function isMixed(inspected: Inspected): boolean {
  const findings = findingsOf(inspected)
  return findings !== undefined && (findings.isPart || findings.sessions.length > 1)
}

class Owners {
  readonly #byUid = new Map<string, Set<string>>() // whom the tokens of uploads with this uid were issued for
  readonly #named: ReadonlySet<string>

  constructor(uploads: readonly Inspected[]) {
    const sure = uploads.filter((each) => !isMixed(each))
    for (const each of sure) {
      const [uid, owner] = [uidOf(each), tokenOwnerOf(each)]
      if (uid !== undefined && owner !== undefined) this.#byUid.set(uid, (this.#byUid.get(uid) ?? new Set()).add(owner))
    }
    this.#named = new Set(sure.flatMap((each) => this.#claimed(each) ?? []))
  }

  find(inspected: Inspected): string | undefined {
    const claimed = this.#claimed(inspected)
    const [only] = this.#named
    if (this.#named.size === 1 && (claimed === undefined || isMixed(inspected))) return only
    return claimed
  }

  #claimed(inspected: Inspected): string | undefined {
    const uid = uidOf(inspected)
    const known = this.#byUid.get(uid ?? '')
    return tokenOwnerOf(inspected) ?? (known?.size === 1 ? [...known][0] : uid)
  }
}

function uidOf({ upload }: Inspected): string | undefined {
  return claim([upload.uid])[0]
}

function tokenOwnerOf({ upload }: Inspected): string | undefined {
  return claim(sendersOf(upload).map(({ participant }) => participant))[0]
}
