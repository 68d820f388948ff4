import { statfs } from 'node:fs/promises'
import { dirname, relative } from 'node:path'
import { fileSystemOf, type FileSystem } from '../doctor/file-system.ts'
import { findRights } from '../doctor/rights.ts'
import type { Layout } from '../store/layout.ts'

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
  const { uid, gid, mode, open, foreign } = await findRights(layout.basedir, directoriesOf(layout, project))
  const named = (paths: readonly string[]) => paths.map((path) => relative(layout.basedir, path))
  return { uid, gid, mode, open: named(open), foreign: named(foreign), fileSystem: fileSystemOf((await statfs(layout.basedir)).type) }
}

// What holds another one comes before it.
function directoriesOf(layout: Layout, project: string): string[] {
  const { responses, staging, receipts, tokens, clients, logs, audit } = layout
  return [dirname(responses), responses, layout.responsesOf(project), staging, receipts, layout.receiptsOf(project), tokens, clients, logs, audit]
}
