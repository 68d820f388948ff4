import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../errors.ts'
import type { Layout } from '../store/layout.ts'
import { listDirectory } from './projects.ts'
import { isWithdrawal } from './withdrawals.ts'

const MOST_FILES = 64 // each process writes to one, and so many workers there may be

/** A receipts file as it was when it was found. */
export interface ReceiptsFile {
  readonly path: string
  readonly bytes: number
  /** Milliseconds since the epoch. */
  readonly modifiedMs: number
}

/**
 * Finds the receipts files of a project that were written to last, the newest first: not those with the latest names, for
 * a process goes on with the file that it began, and who withdraws has one of another kind.
 */
export async function findNewestReceipts(layout: Layout, project: string): Promise<ReceiptsFile[]> {
  const directory = layout.receiptsOf(project)
  const names = (await listDirectory(directory)).files.filter((name) => name.endsWith('.ndjson') && !isWithdrawal(name))
  const found = await Promise.all(names.map((name) => look(join(directory, name))))
  return found.filter((file) => file !== undefined).toSorted((a, b) => b.modifiedMs - a.modifiedMs).slice(0, MOST_FILES)
}

async function look(path: string): Promise<ReceiptsFile | undefined> {
  try {
    const { size, mtimeMs } = await stat(path)
    return { path, bytes: size, modifiedMs: mtimeMs }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined // begun in vain, and removed at this moment
    throw error
  }
}
