import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { isProject } from '../project.ts'
import type { Receipt, ReceiptFile } from '../store/receipt.ts'

const NEWLINE = 10
const READ_BYTES = 1024 * 1024
const SHA256 = /^[0-9a-f]{64}$/

/** One line of a receipts file, as it was found. */
export interface ReceiptLine {
  /** Counted from 1. */
  readonly number: number
  /** Undefined where the line is not a receipt. */
  readonly receipt: Receipt | undefined
  /** Whether its `previous` is the SHA-256 of the line before it, or null on the first line. */
  readonly isChained: boolean
  /** Whether the file ends within it: it was never answered, so that nothing was promised. */
  readonly isTorn: boolean
}

/** The part of a receipts file that is to be read, in bytes: a file may grow meanwhile. Both are at the ends of lines. */
export interface Extent {
  readonly from?: number
  readonly to?: number
}

/** Reads a receipts file line by line, whatever its size. Where it is not read from its start, the first line is not chained. */
export async function* readReceiptLines(path: string, extent: Extent = {}): AsyncGenerator<ReceiptLine> {
  let previous: string | null = null
  let number = 0
  for await (const { bytes, isTorn } of readLines(path, extent)) {
    number++
    const value = isTorn ? undefined : parseJson(bytes.toString())
    yield { number, receipt: parseReceipt(value), isChained: isTorn || previousOf(value) === previous, isTorn }
    previous = createHash('sha256').update(bytes).digest('hex')
  }
}

async function* readLines(path: string, { from = 0, to = Infinity }: Extent): AsyncGenerator<{ bytes: Buffer; isTorn: boolean }> {
  if (to <= from) return
  let carried: Buffer[] = []
  const chunks: AsyncIterable<Buffer> = createReadStream(path, { highWaterMark: READ_BYTES, start: from, end: to - 1 })
  for await (const chunk of chunks) {
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      yield { bytes: Buffer.concat([...carried, chunk.subarray(start, end)]), isTorn: false }
      carried = []
      start = end + 1
    }
    if (start < chunk.length) carried.push(chunk.subarray(start))
  }
  if (carried.length > 0) yield { bytes: Buffer.concat(carried), isTorn: true }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function previousOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'previous' in value ? value.previous : undefined
}

function parseReceipt(value: unknown): Receipt | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const given = value as Record<string, unknown>
  const { id, received_at, project, token_sha256, participant, repeats } = given
  if (typeof id !== 'string' || typeof received_at !== 'string' || Number.isNaN(Date.parse(received_at))) return undefined
  if (typeof project !== 'string' || !isProject(project) || typeof token_sha256 !== 'string') return undefined
  if (participant !== undefined && typeof participant !== 'string') return undefined
  if (repeats !== undefined && typeof repeats !== 'string') return undefined
  if (!Array.isArray(given['files']) || !given['files'].every(isReceiptFile)) return undefined
  const files: readonly ReceiptFile[] = given['files']
  return {
    id,
    received_at,
    project,
    token_sha256,
    ...(participant === undefined ? {} : { participant }),
    fields: [], // whatever a form held beside its files stays in the receipts
    files,
    ...(repeats === undefined ? {} : { repeats }),
  }
}

function isReceiptFile(value: unknown): value is ReceiptFile {
  if (typeof value !== 'object' || value === null) return false
  const { field, name, stored_as: storedAs, bytes, sha256 } = value as Record<string, unknown>
  if (typeof field !== 'string' || typeof name !== 'string' || typeof storedAs !== 'string') return false
  if (!Number.isSafeInteger(bytes) || typeof sha256 !== 'string' || !SHA256.test(sha256)) return false
  return storedAs !== '' && !/^\.\.?$|[/\0]/.test(storedAs) // it becomes a path
}
