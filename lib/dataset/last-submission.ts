import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Layout } from '../store/layout.ts'
import { listDirectory, listProjects } from './projects.ts'
import { readReceiptLines } from './receipt-line.ts'
import { isWithdrawal } from './withdrawals.ts'

const MOST_FILES = 16 // the newest: several processes may each write to one
const TAIL_BYTES = 256 * 1024

/**
 * Finds when a project had its last submission, or gives undefined where it had none. Reads no more than the ends of its
 * newest receipts files; where such an end is one long line, the time when the file was written stands for it.
 * @returns milliseconds since the epoch
 */
export async function findLastSubmission(layout: Layout, project: string): Promise<number | undefined> {
  const directory = layout.receiptsOf(project)
  const names = (await listDirectory(directory)).files.filter((name) => name.endsWith('.ndjson') && !isWithdrawal(name)).slice(-MOST_FILES)
  const moments = await Promise.all(names.map((name) => lastMomentIn(join(directory, name))))
  const known = moments.filter((ms) => ms !== undefined)
  return known.length === 0 ? undefined : Math.max(...known)
}

/** Tells `memory` when each project had its last submission: a restart must not look like a silence. */
export async function rememberSubmissions(layout: Layout, memory: { sawSubmission(project: string, atMs: number): void }): Promise<void> {
  for (const project of await listProjects(layout)) {
    const lastMs = await findLastSubmission(layout, project)
    if (lastMs !== undefined) memory.sawSubmission(project, lastMs)
  }
}

async function lastMomentIn(path: string): Promise<number | undefined> {
  const { size, mtimeMs } = await stat(path)
  if (size === 0) return undefined
  let lastMs: number | undefined
  let isRewritten = false // who withdraws has the file written, and submits nothing
  for await (const { receipt, withdrawn } of readReceiptLines(path, { from: Math.max(0, size - TAIL_BYTES), to: size })) {
    if (receipt !== undefined) lastMs = Date.parse(receipt.received_at)
    isRewritten ||= withdrawn !== undefined
  }
  return lastMs ?? (isRewritten ? undefined : mtimeMs)
}
