import { stat, statfs } from 'node:fs/promises'
import { dirname, relative } from 'node:path'
import { fileSystemOf, type FileSystem } from '../doctor/file-system.ts'
import { findStats } from '../identity.ts'
import type { Layout } from '../store/layout.ts'

const OF_OTHERS = 0o077

/** Whom the file system lets at a base directory, as it was found. */
export interface Rights {
  readonly uid: number
  readonly gid: number
  /** The lowest nine bits of its mode. */
  readonly mode: number
  /** Directories with data that others than their user may look into, by their names in the base directory. */
  readonly open: readonly string[]
  /** Directories with data that are another user's. */
  readonly foreign: readonly string[]
  readonly fileSystem: FileSystem
}

/** Looks at whose a base directory is, who may look into it, and what kind of file system it is on. */
export async function readRights(layout: Layout, project: string): Promise<Rights> {
  const { uid, gid, mode } = await stat(layout.basedir)
  const open: string[] = []
  const foreign: string[] = []
  const isOpen = new Map([[layout.basedir, (mode & OF_OTHERS) !== 0]])
  for (const path of directoriesOf(layout, project)) {
    const found = await findStats(path)
    if (found === undefined) continue
    isOpen.set(path, isOpen.get(dirname(path)) === true && (Number(found.mode) & OF_OTHERS) !== 0) // who cannot get through what holds it cannot get into it
    if (isOpen.get(path) === true) open.push(relative(layout.basedir, path))
    if (Number(found.uid) !== uid) foreign.push(relative(layout.basedir, path))
  }
  return { uid, gid, mode: mode & 0o777, open, foreign, fileSystem: fileSystemOf((await statfs(layout.basedir)).type) }
}

// What holds another one comes before it.
function directoriesOf(layout: Layout, project: string): string[] {
  const { responses, staging, receipts, tokens, clients, logs, audit } = layout
  return [dirname(responses), responses, layout.responsesOf(project), staging, receipts, layout.receiptsOf(project), tokens, clients, logs, audit]
}
