import type { Claimants } from './claimants.ts'
import type { Collection } from './collection.ts'

/** Files that stay, and may be somebody's all the same. */
export interface UnknownFiles {
  /** Of which neither a token nor a name nor an answer says whose they are. */
  readonly ofNobody: number
  /** Answers and uploads that are encrypted, and that no key which was given opens: they may name anybody. */
  readonly locked: number
}

/**
 * Counts what stays of a project, and may be somebody's all the same.
 * @param isSettled says of a stored name whether that file goes, or was told of
 */
export async function countUnknown(
  { arrivals, foreign, vault }: Collection,
  claimants: ReadonlyMap<string, Claimants>,
  isSettled: (storedAs: string) => boolean,
): Promise<UnknownFiles> {
  const notLookedInto = new Set(foreign.map(({ file }) => file.storedAs))
  let [ofNobody, locked] = [0, 0]
  for (const file of arrivals.submissions.flatMap(({ files }) => files)) {
    if (isSettled(file.storedAs)) continue
    if ((claimants.get(file.storedAs)?.named.size ?? 0) === 0) ofNobody++
    if (file.sealed === undefined || notLookedInto.has(file.storedAs)) continue
    if (!vault.mayRead(file) || !(await vault.opens(file))) locked++
  }
  return { ofNobody, locked }
}
