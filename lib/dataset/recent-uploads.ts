import { ArchiveError } from '../archive/archive-error.ts'
import { openSlices } from '../archive/source.ts'
import { readEnd } from '../archive/zip-end.ts'
import { systemCode } from '../errors.ts'
import type { Layout } from '../store/layout.ts'
import type { Receipt } from '../store/receipt.ts'
import { toStoredFile, type Submission } from './arrivals.ts'
import { findNewestReceipts } from './newest-receipts.ts'
import { readReceiptLines } from './receipt-line.ts'
import { sortArrivals, type Slice, type Upload } from './upload.ts'
import { Vault } from './vault.ts'

const HOUR_MS = 3_600_000
const WINDOW_MS = 24 * HOUR_MS
const TAIL_BYTES = 8 * 1024 * 1024 // of each receipts file
const MOST_READ = 500 // uploads whose end is read
const SLICE_BYTES = 10_000_000 // of the web app

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
  const vault = new Vault(layout.responsesOf(project), undefined)
  const found: string[] = []
  let read = 0
  for (const upload of settled) {
    const isIncomplete = hasGap(upload) || (mayBeCut(upload) && read++ < MOST_READ && !(await hasEnd(upload, vault)))
    if (isIncomplete) found.push(upload.uuid)
  }
  return found
}

async function readRecent(layout: Layout, project: string, nowMs: number): Promise<{ submissions: Submission[]; sinceMs: number }> {
  const submissions: Submission[] = []
  let sinceMs = nowMs - WINDOW_MS
  for (const { path, bytes, modifiedMs } of await findNewestReceipts(layout, project)) {
    if (modifiedMs < nowMs - WINDOW_MS) continue
    const from = Math.max(0, bytes - TAIL_BYTES)
    let isFirst = true
    for await (const { receipt } of readReceiptLines(path, { from, to: bytes })) {
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
  return { receivedAt, tokenSha256, participant: undefined, files: files.map(toStoredFile), repeats: [] }
}

function hasGap({ slices }: Upload): boolean {
  return slices.some(({ number }, index) => number !== index)
}

// All slices but the last are of one size.
function mayBeCut({ slices }: Upload): boolean {
  return slices.every(({ file }) => file.bytes === slices[0]?.file.bytes)
}

// Without the quick way of a command, which reads small files at once: here others wait.
async function hasEnd(upload: Upload, vault: Vault): Promise<boolean> {
  const [last, before] = [upload.slices.at(-1), upload.slices.at(-2)]
  if (last === undefined) return false
  if (last.file.sealed !== undefined) return hasSealedEnd(last, upload)
  const isSealedBefore = before?.file.sealed !== undefined
  try {
    const source = await openSlices(vault.rangesOf(upload.slices.slice(isSealedBefore ? -1 : -2)))
    try {
      await readEnd(source)
    } finally {
      await source.close()
    }
    return true
  } catch (error) {
    if (error instanceof ArchiveError) return isSealedBefore // it may begin in there
    if (systemCode(error) === 'ENOENT') return true // gone: `verify` tells of it
    throw error
  }
}

// Where the receipt tells of no end there may be one all the same, with a large directory. Nobody is to be alarmed by that:
// only of a slice that others follow in the web app it is all but sure.
function hasSealedEnd({ file }: Slice, { slices }: Upload): boolean {
  return file.sealed?.zip !== undefined || (slices.length === 1 && file.bytes !== SLICE_BYTES)
}
