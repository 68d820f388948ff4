import type { Layout } from '../store/layout.ts'
import { findNewestReceipts, type ReceiptsFile } from './newest-receipts.ts'
import { listProjects } from './projects.ts'
import { readReceiptLines } from './receipt-line.ts'

const TAIL_BYTES = 256 * 1024

/**
 * Finds when a project had its last submission, or gives undefined where it had none. Reads no more than the ends of its
 * newest receipts files; where such an end is one long line, the time when the file was written stands for it.
 * @returns milliseconds since the epoch
 */
export async function findLastSubmission(layout: Layout, project: string): Promise<number | undefined> {
  const moments = await Promise.all((await findNewestReceipts(layout, project)).map(lastMomentIn))
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

async function lastMomentIn({ path, bytes, modifiedMs }: ReceiptsFile): Promise<number | undefined> {
  if (bytes === 0) return undefined
  let lastMs: number | undefined
  let isRewritten = false // who withdraws has the file written, and submits nothing
  for await (const { receipt, withdrawn } of readReceiptLines(path, { from: Math.max(0, bytes - TAIL_BYTES), to: bytes })) {
    if (receipt !== undefined) lastMs = Date.parse(receipt.received_at)
    isRewritten ||= withdrawn !== undefined
  }
  return lastMs ?? (isRewritten ? undefined : modifiedMs)
}
