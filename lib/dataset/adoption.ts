import { findingsOf, type Inspected } from './inspection.ts'
import { sendersOf } from './upload.ts'

/** The sessions that an upload without one may belong to: those of the same token and uid. */
export class Adoption {
  readonly #sessions = new Map<string, Set<string>>()

  /** @param groups the uploads of each session */
  constructor(groups: ReadonlyMap<string, readonly Inspected[]>) {
    for (const [id, uploads] of groups) {
      for (const key of uploads.flatMap(keysOf)) this.#sessions.set(key, (this.#sessions.get(key) ?? new Set()).add(id))
    }
  }

  /** Finds the session of an upload, where there is only one that it can be. One with answers of its own is never put to others. */
  find(inspected: Inspected): string | undefined {
    if (findingsOf(inspected)?.hasAnswers === true) return undefined
    const candidates = new Set(keysOf(inspected).flatMap((key) => [...(this.#sessions.get(key) ?? [])]))
    return candidates.size === 1 ? [...candidates][0] : undefined
  }
}

// A token that was issued for nobody may serve a whole clinic: without a uid it says nothing of who sent an upload.
function keysOf({ upload }: Inspected): string[] {
  const known = sendersOf(upload).filter(({ participant }) => participant !== undefined || upload.uid !== '')
  return [...new Set(known.map(({ tokenSha256 }) => JSON.stringify([tokenSha256, upload.uid])))]
}
