import { join } from 'node:path'
import type { Layout } from '../store/layout.ts'
import { readArrivals, type Arrivals, type Snapshot } from './arrivals.ts'
import { forEachBounded } from './bounded.ts'
import { inspectUpload, type Inspected } from './inspection.ts'
import { groupSessions, type Session } from './session.ts'
import { sortArrivals, type Arrival } from './upload.ts'

const AT_ONCE = 16

/** All that has arrived in a project, put in order. */
export interface Collection {
  readonly project: string
  /** Where its files are stored. */
  readonly directory: string
  readonly arrivals: Arrivals
  readonly sessions: readonly Session[]
  readonly messages: readonly Arrival[]
  readonly foreign: readonly Arrival[]
  readonly repeats: number
}

/**
 * Puts what has arrived in a project in order. Of each upload only the ends, the directory and the answers are read: it
 * takes as long for large recordings as for small ones.
 * @param isThorough whether recordings are read too, where slices came more than once and there is a choice
 * @param count is told how many uploads there are and how many were looked at
 */
export async function collect(
  layout: Layout,
  project: string,
  { snapshot, isThorough, count }: { snapshot?: Snapshot | undefined; isThorough?: boolean; count?: ((done: number, of: number) => void) | undefined } = {},
): Promise<Collection> {
  const arrivals = await readArrivals(layout, project, snapshot)
  const { uploads, messages, foreign, repeats } = sortArrivals(arrivals.submissions)
  const directory = layout.responsesOf(project)
  const inspected: Inspected[] = new Array<Inspected>(uploads.length)
  let done = 0
  await forEachBounded(uploads.entries(), AT_ONCE, async ([index, upload]) => {
    inspected[index] = await inspectUpload(upload, directory, isThorough)
    count?.(++done, uploads.length)
  })
  return { project, directory, arrivals, sessions: groupSessions(inspected), messages, foreign, repeats }
}

/** The path of a stored file. */
export function pathOf({ directory }: Pick<Collection, 'directory'>, arrival: Arrival): string {
  return join(directory, arrival.file.storedAs)
}
