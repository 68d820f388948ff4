import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { findStats } from '../identity.ts'

const OF_OTHERS = 0o077
const OF_OWNER = 0o700

/** Whose a base directory is, and what of it is as it should not be: paths of directories and files. */
export interface FoundRights {
  readonly uid: number
  readonly gid: number
  /** The lowest nine bits of its mode. */
  readonly mode: number
  /** What others than its user may look into. */
  readonly open: readonly string[]
  /** What is another user's. */
  readonly foreign: readonly string[]
  /** Directories, the base directory too, that their own user may not read, write and enter. */
  readonly closed: readonly string[]
}

/**
 * Looks at whose a base directory and what is in it are, and who may look into them.
 * @param paths below it; what holds another one comes before it, and what is not there is passed over
 */
export async function findRights(basedir: string, paths: readonly string[]): Promise<FoundRights> {
  const { uid, gid, mode } = await stat(basedir)
  const [open, foreign, closed]: [string[], string[], string[]] = [[], [], (mode & OF_OWNER) === OF_OWNER ? [] : [basedir]]
  const isOpen = new Map([[basedir, (mode & OF_OTHERS) !== 0]])
  for (const path of paths) {
    const found = await findStats(path)
    if (found === undefined) continue
    const itsMode = Number(found.mode)
    isOpen.set(path, isOpen.get(dirname(path)) === true && (itsMode & OF_OTHERS) !== 0) // who cannot get through what holds it cannot get into it
    if (isOpen.get(path) === true) open.push(path)
    if (Number(found.uid) !== uid) foreign.push(path)
    if (found.isDirectory() && (itsMode & OF_OWNER) !== OF_OWNER) closed.push(path)
  }
  return { uid, gid, mode: mode & 0o777, open, foreign, closed }
}
