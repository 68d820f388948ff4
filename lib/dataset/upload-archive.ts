import { join } from 'node:path'
import { ArchiveError } from '../archive/archive-error.ts'
import { openSlices, type ByteSource, type Slice as Range } from '../archive/source.ts'
import { readEnd } from '../archive/zip-end.ts'
import { readEntry, type ZipEntry } from '../archive/zip.ts'
import { systemCode } from '../errors.ts'
import type { Slice, Upload } from './upload.ts'

const READ_BYTES = 256 * 1024
const MOST_RANGES = 20 // of missing slices that are spelled out

/** An upload as its zip says: whole, or why it is not. */
export type Inspection =
  | {
      readonly type: 'whole'
      /** The slices in order, without what was left over in front. */
      readonly ranges: readonly Range[]
      /** Bytes of the archive. */
      readonly bytes: number
      /** Bytes in front of the archive that belong to another upload: a known fault of the web app. */
      readonly leftoverBytes: number
    }
  | {
      readonly type: 'incomplete'
      /** What is missing, such as `slices 0, 3-5`. */
      readonly missing: string
    }
  | { readonly type: 'broken'; readonly reason: string }

/**
 * Says whether an upload is whole. The last slice ends with the record from which the length of the archive follows; with
 * it, which slices are missing, and whether the first begins with bytes of another upload. Reads the end alone.
 * @param directory where the slices are stored
 */
export async function inspectUpload(upload: Upload, directory: string): Promise<Inspection> {
  try {
    return await inspect(upload, directory)
  } catch (error) {
    if (error instanceof ArchiveError) return { type: 'broken', reason: error.reason }
    if (systemCode(error) === 'ENOENT') return { type: 'broken', reason: 'A part of it is gone from the disk.' }
    throw error
  }
}

/** Opens something, works with it and closes it. */
export async function withSource<Result>(ranges: readonly Range[], work: (source: ByteSource) => Promise<Result>): Promise<Result> {
  const source = await openSlices(ranges)
  try {
    return await work(source)
  } finally {
    await source.close()
  }
}

/**
 * Gives the bytes of files, or of ranges of them, one after another.
 * @param limitBytes how many there are to be at most
 */
export async function* readRanges(ranges: readonly Range[], limitBytes = Number.POSITIVE_INFINITY): AsyncGenerator<Buffer> {
  const source = await openSlices(ranges)
  try {
    const end = Math.min(source.bytes, limitBytes)
    for (let at = 0; at < end; at += READ_BYTES) yield await source.read(at, Math.min(READ_BYTES, end - at))
  } finally {
    await source.close()
  }
}

/** Gives the content of one entry of an archive. Throws an `ArchiveError` where it is damaged. */
export async function* readOneEntry(ranges: readonly Range[], entry: ZipEntry): AsyncGenerator<Buffer> {
  const source = await openSlices(ranges)
  try {
    yield* readEntry(source, entry)
  } finally {
    await source.close()
  }
}

async function inspect({ slices, isSliced }: Upload, directory: string): Promise<Inspection> {
  const end = await findEnd(slices, directory)
  const gaps = gapsIn(slices)
  if (end === undefined) {
    if (!isSliced || !areEqual(slices)) return { type: 'broken', reason: 'It does not end as a zip does.' }
    const next = (slices.at(-1)?.number ?? -1) + 1
    return { type: 'incomplete', missing: `slices ${[...gaps, `${next} and what follows`].join(', ')}` }
  }
  if (gaps.length > 0) return { type: 'incomplete', missing: `slice${gaps.length === 1 && !gaps[0]?.includes('-') ? '' : 's'} ${gaps.join(', ')}` }
  const arrivedBytes = slices.reduce((sum, slice) => sum + slice.file.bytes, 0)
  if (arrivedBytes < end.totalBytes) return { type: 'broken', reason: `It should have ${end.totalBytes} bytes; its slices have ${arrivedBytes}.` }
  const leftoverBytes = arrivedBytes - end.totalBytes
  return { type: 'whole', ranges: skip(slices, leftoverBytes, directory), bytes: end.totalBytes, leftoverBytes }
}

// The record may begin in the last slice but one: it is 22 bytes long, and more with a comment (APPNOTE 4.3.16).
async function findEnd(slices: readonly Slice[], directory: string): Promise<{ totalBytes: number } | undefined> {
  for (const parts of [slices.slice(-1), slices.slice(-2)]) {
    try {
      return await withSource(skip(parts, 0, directory), readEnd)
    } catch (error) {
      if (!(error instanceof ArchiveError)) throw error
    }
  }
  return undefined
}

function areEqual(slices: readonly Slice[]): boolean {
  return slices.every((slice) => slice.file.bytes === slices[0]?.file.bytes)
}

function gapsIn(slices: readonly Slice[]): string[] {
  const gaps: string[] = []
  let expected = 0
  for (const { number } of slices) {
    if (number - expected === 1) gaps.push(String(expected))
    else if (number > expected) gaps.push(`${expected}-${number - 1}`)
    expected = number + 1
  }
  return gaps.length > MOST_RANGES ? [...gaps.slice(0, MOST_RANGES), '…'] : gaps
}

function skip(slices: readonly Slice[], bytes: number, directory: string): Range[] {
  const ranges: Range[] = []
  let left = bytes
  for (const { file } of slices) {
    const from = Math.min(left, file.bytes)
    left -= from
    if (from < file.bytes) ranges.push({ path: join(directory, file.storedAs), from, to: file.bytes })
  }
  return ranges
}
