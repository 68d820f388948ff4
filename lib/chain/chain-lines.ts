import { createReadStream } from 'node:fs'
import { isObject, parseJson } from '../json.ts'
import { sha256Of } from '../sha256.ts'

const NEWLINE = 10
const READ_BYTES = 1024 * 1024

/** One line of a chain, as it was found. */
export interface ChainLine {
  /** Counted from 1. */
  readonly number: number
  /** Where it begins, and how long it is without its newline, in bytes. */
  readonly offset: number
  readonly bytes: number
  readonly sha256: string
  /** What the line says, parsed as JSON; undefined where it is none. */
  readonly value: unknown
  /** What it carries as the SHA-256 of the line before it. */
  readonly previous: unknown
  /** Whether its `previous` is the SHA-256 of the line before it, or null on the first line. */
  readonly isChained: boolean
  /** Whether the file ends within it: its writer was never told that it is safe. */
  readonly isTorn: boolean
}

/** The part of a chain that is to be read, in bytes: a file may grow meanwhile. Both are at the ends of lines. */
export interface Extent {
  readonly from?: number
  readonly to?: number
  /** Tells what stood at a place, as its SHA-256, where a line was overwritten: the next line carries that. */
  readonly stoodAt?: (offset: number, value: unknown) => string | undefined
}

/** Reads a chain line by line, whatever its size. Where it is not read from its start, the first line is not chained. */
export async function* readChain(path: string, extent: Extent = {}): AsyncGenerator<ChainLine> {
  let before: string | null = null
  let number = 0
  let offset = extent.from ?? 0
  for await (const { bytes, isTorn } of readLines(path, extent)) {
    number++
    const value = isTorn ? undefined : parseJson(bytes.toString())
    const sha256 = sha256Of(bytes)
    const previous = previousOf(value)
    const stood = extent.stoodAt?.(offset, value)
    const isCut = stood !== undefined && value === undefined // as it was overwritten
    yield { number, offset, bytes: bytes.length, sha256, value, previous, isChained: isTorn || isCut || previous === before, isTorn }
    before = stood ?? sha256
    offset += bytes.length + 1
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

function previousOf(value: unknown): unknown {
  return isObject(value) ? value['previous'] : undefined
}
