import { closeSync, constants, openSync, readSync } from 'node:fs'
import { ArchiveError } from '../archive/archive-error.ts'
import { openSlices, type ByteSource, type Slice as Range } from '../archive/source.ts'
import { readEntries, readEntry, type ZipEntry } from '../archive/zip.ts'
import { limitsOf } from './upload-limits.ts'

const READ_BYTES = 256 * 1024
const SMALL_BYTES = 256 * 1024

/** Opens files as one source, works with it and closes it. What is small is read at once. */
export async function withSource<Result>(ranges: readonly Range[], work: (source: ByteSource) => Promise<Result>): Promise<Result> {
  const source = readSmall(ranges) ?? (await openSlices(ranges))
  try {
    return await work(source)
  } finally {
    await source.close()
  }
}

/** Gives a source without its first bytes. */
export function skipFront(source: ByteSource, bytes: number): ByteSource {
  if (bytes === 0) return source
  return { bytes: source.bytes - bytes, read: (position, length) => source.read(position + bytes, length), close: () => source.close() }
}

/**
 * Gives the bytes of files, or of ranges of them, one after another. Throws an `ArchiveError` where they cannot be decrypted.
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

/** Counts the entries of an archive whose content is damaged: reads all of it, a piece at a time. */
export function countDamaged(ranges: readonly Range[]): Promise<number> {
  return withSource(ranges, async (source) => {
    let damaged = 0
    for (const entry of await readEntries(source, limitsOf(source.bytes))) {
      if (entry.problem === undefined && !(await isReadable(source, entry))) damaged++
    }
    return damaged
  })
}

async function isReadable(source: ByteSource, entry: ZipEntry): Promise<boolean> {
  try {
    for await (const piece of readEntry(source, entry)) void piece
    return true
  } catch (error) {
    if (error instanceof ArchiveError) return false
    throw error
  }
}

// A study has a hundred thousand small zips, and each call that waits for another thread costs more than the reading: this
// takes a fifth of the time. Nobody else waits for this process.
function readSmall(ranges: readonly Range[]): ByteSource | undefined {
  if (ranges.some(({ unseal }) => unseal !== undefined)) return undefined
  const bytes = ranges.reduce((sum, { from = 0, to = Number.POSITIVE_INFINITY }) => sum + to - from, 0)
  if (!(bytes <= SMALL_BYTES)) return undefined
  const whole = Buffer.allocUnsafe(bytes)
  let at = 0
  for (const { path, from = 0, to = 0 } of ranges) {
    if (!readExactly(path, whole.subarray(at, at + to - from), from)) return undefined // let the other way say what is wrong
    at += to - from
  }
  return memorySource(whole)
}

function readExactly(path: string, target: Buffer, position: number): boolean {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    let at = 0
    while (at < target.length) {
      const bytesRead = readSync(descriptor, target, at, target.length - at, position + at)
      if (bytesRead === 0) return false
      at += bytesRead
    }
    return true
  } finally {
    closeSync(descriptor)
  }
}

function memorySource(whole: Buffer): ByteSource {
  return {
    bytes: whole.length,
    read: async (position, length) => {
      if (!(position >= 0 && length >= 0 && position + length <= whole.length)) throw new ArchiveError('The archive ends too early.')
      return whole.subarray(position, position + length) // nobody here writes into what was read
    },
    close: async () => undefined,
  }
}
