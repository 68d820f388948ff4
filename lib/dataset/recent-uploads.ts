import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ArchiveError } from '../archive/archive-error.ts'
import { openSlices } from '../archive/source.ts'
import { readEnd } from '../archive/zip-end.ts'
import { systemCode } from '../errors.ts'
import type { Layout } from '../store/layout.ts'
import type { Receipt } from '../store/receipt.ts'
import type { Submission } from './arrivals.ts'
import { listDirectory } from './projects.ts'
import { readReceiptLines } from './receipt-line.ts'
import { rangesOf } from './upload-archive.ts'
import { sortArrivals, type Upload } from './upload.ts'

const HOUR_MS = 3_600_000
const WINDOW_MS = 24 * HOUR_MS
const TAIL_BYTES = 8 * 1024 * 1024 // of each receipts file
const MOST_FILES = 16 // the newest
const MOST_READ = 500 // uploads whose end is read

/**
 * Finds uploads of the last day whose slices have not all arrived, an hour after the last one that has. The work is
 * bounded: it reads the ends of the newest receipts files, and of an upload without a gap the end.
 * @returns their identifiers
 */
export async function findIncompleteUploads(layout: Layout, project: string, nowMs: number): Promise<string[]> {
  const { submissions, sinceMs } = await readRecent(layout, project, nowMs)
  const settled = sortArrivals(submissions).uploads.filter((upload) => {
    const moments = upload.slices.map(({ submission }) => Date.parse(submission.receivedAt)).toSorted((a, b) => a - b)
    const [first = 0, last = 0] = [moments[0], moments.at(-1)]
    // What arrived at the edge of what was read may have had slices before it.
    return upload.isSliced && first > sinceMs + HOUR_MS && last < nowMs - HOUR_MS
  })
  const found: string[] = []
  let read = 0
  for (const upload of settled) {
    const isIncomplete = hasGap(upload) || (mayBeCut(upload) && read++ < MOST_READ && !(await hasEnd(upload, layout.responsesOf(project))))
    if (isIncomplete) found.push(upload.uuid)
  }
  return found
}

async function readRecent(layout: Layout, project: string, nowMs: number): Promise<{ submissions: Submission[]; sinceMs: number }> {
  const directory = layout.receiptsOf(project)
  const submissions: Submission[] = []
  let sinceMs = nowMs - WINDOW_MS
  for (const name of (await listDirectory(directory)).files.filter((each) => each.endsWith('.ndjson')).slice(-MOST_FILES)) {
    const { size, mtimeMs } = await stat(join(directory, name))
    if (mtimeMs < nowMs - WINDOW_MS) continue
    const from = Math.max(0, size - TAIL_BYTES)
    let isFirst = true
    for await (const { receipt } of readReceiptLines(join(directory, name), { from, to: size })) {
      if (receipt === undefined) continue
      const receivedMs = Date.parse(receipt.received_at)
      if (isFirst && from > 0) sinceMs = Math.max(sinceMs, receivedMs)
      isFirst = false
      if (receivedMs >= nowMs - WINDOW_MS) submissions.push(fromReceipt(receipt))
    }
  }
  return { submissions, sinceMs }
}

function fromReceipt({ received_at: receivedAt, token_sha256: tokenSha256, files }: Receipt): Submission {
  const stored = files.map(({ name, stored_as, field, bytes, sha256 }) => ({ name, storedAs: stored_as, field, bytes, sha256 }))
  return { receivedAt, tokenSha256, participant: undefined, files: stored, repeats: [] }
}

function hasGap({ slices }: Upload): boolean {
  return slices.some(({ number }, index) => number !== index)
}

// All slices but the last are of one size.
function mayBeCut({ slices }: Upload): boolean {
  return slices.every(({ file }) => file.bytes === slices[0]?.file.bytes)
}

// Without the quick way of a command, which reads small files at once: here others wait.
async function hasEnd(upload: Upload, directory: string): Promise<boolean> {
  try {
    const source = await openSlices(rangesOf(upload.slices.slice(-2), 0, directory))
    try {
      await readEnd(source)
    } finally {
      await source.close()
    }
    return true
  } catch (error) {
    if (error instanceof ArchiveError) return false
    if (systemCode(error) === 'ENOENT') return true // gone: `verify` tells of it
    throw error
  }
}
