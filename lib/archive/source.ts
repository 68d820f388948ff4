import { open, stat, type FileHandle } from 'node:fs/promises'
import type { SealedContent } from '../crypt/sealed-content.ts'
import { ArchiveError } from './archive-error.ts'
import { readArchived } from './archived-bytes.ts'
import { SealedReader } from './sealed-reader.ts'

const MOST_OPEN = 4 // descriptors of one source, whatever the number of its slices

/** Bytes that can be read at any place, such as those of an archive. */
export interface ByteSource {
  /** How many there are. */
  readonly bytes: number
  /** Gives exactly `length` bytes from `position` on, in a buffer of their own, or throws an ArchiveError. */
  read(position: number, length: number): Promise<Buffer>
  /** Closes what is open; nothing can be read any more. */
  close(): Promise<void>
}

/** A file, or the bytes of it from `from` to before `to`. */
export interface Slice {
  readonly path: string
  readonly from?: number
  readonly to?: number
  /** Opens a file that is stored encrypted: what is read of it, and `from` and `to`, are its plaintext. */
  readonly unseal?: () => Promise<SealedContent>
}

/**
 * Reads several files, or ranges of them, in place as one. At most four of them are kept open; each is looked at once
 * at the start. What the file system refuses (a file that is gone, no permission) is thrown as it comes.
 * @param slices in their order; `from` and `to` in bytes, the whole file where they are missing
 */
export async function openSlices(slices: readonly Slice[]): Promise<ByteSource> {
  const ranges: Range[] = []
  let start = 0
  for (const slice of slices) {
    const range = await toRange(slice, start)
    if (range.bytes > 0) ranges.push(range)
    start += range.bytes
  }
  return new SlicedSource(ranges, start)
}

/** A slice with its place in the whole, in bytes. */
interface Range {
  readonly path: string
  readonly from: number
  readonly start: number
  readonly bytes: number
  readonly sealed: SealedContent | undefined
}

async function toRange({ path, from = 0, to, unseal }: Slice, start: number): Promise<Range> {
  const sealed = await unseal?.()
  const size = sealed?.bytes ?? (await measureFile(path))
  const end = to ?? size
  if (!(from >= 0 && from <= end && end <= size)) throw new ArchiveError('A part of the archive is too short.')
  return { path, from, start, bytes: end - from, sealed }
}

async function measureFile(path: string): Promise<number> {
  const found = await stat(path)
  if (!found.isFile()) throw new ArchiveError('A part of the archive is not a file.')
  return found.size
}

class SlicedSource implements ByteSource {
  readonly bytes: number
  readonly #ranges: readonly Range[]
  readonly #files = new OpenFiles()
  readonly #sealed = new SealedReader()

  constructor(ranges: readonly Range[], bytes: number) {
    this.#ranges = ranges
    this.bytes = bytes
  }

  async read(position: number, length: number): Promise<Buffer> {
    const end = position + length
    if (!(position >= 0 && length >= 0 && end <= this.bytes)) throw new ArchiveError('The archive ends too early.')
    const buffer = Buffer.allocUnsafe(length)
    for (let index = this.#find(position), at = position; at < end; index++) {
      const range = this.#ranges[index]
      if (range === undefined) throw new ArchiveError('The archive ends too early.')
      const rangeEnd = Math.min(end, range.start + range.bytes)
      const target = buffer.subarray(at - position, rangeEnd - position)
      const place = range.from + at - range.start
      const { sealed } = range
      await this.#files.use(range.path, (handle) =>
        sealed === undefined ? readArchived(handle, target, place) : this.#sealed.read(sealed, handle, target, place),
      )
      at = rangeEnd
    }
    return buffer
  }

  close(): Promise<void> {
    return this.#files.close()
  }

  // Binary search: an archive may have thousands of slices, and is read in thousands of pieces.
  #find(position: number): number {
    let low = 0
    let high = this.#ranges.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if ((this.#ranges[middle]?.start ?? 0) <= position) low = middle
      else high = middle - 1
    }
    return low
  }
}

/** One descriptor; closed once it was put out and nobody reads from it. */
interface OpenFile {
  readonly handle: Promise<FileHandle>
  readers: number
  isOut: boolean
}

/** The files that were used last, kept open. */
class OpenFiles {
  readonly #open = new Map<string, OpenFile>() // the first is the one not used for longest
  #isClosed = false

  async use(path: string, action: (handle: FileHandle) => Promise<void>): Promise<void> {
    if (this.#isClosed) throw new Error('this source is closed')
    const file = this.#open.get(path) ?? beginToOpen(path)
    this.#open.delete(path)
    this.#open.set(path, file)
    file.readers++
    try {
      await this.#putOutOldest()
      await action(await file.handle)
    } catch (error) {
      if (this.#open.get(path) === file) this.#open.delete(path) // the next reader tries anew
      file.isOut = true
      throw error
    } finally {
      file.readers--
      await closeIfOut(file)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    while (this.#open.size > 0) await this.#putOut()
  }

  async #putOutOldest(): Promise<void> {
    while (this.#open.size > MOST_OPEN) await this.#putOut()
  }

  async #putOut(): Promise<void> {
    for (const [path, file] of this.#open) {
      this.#open.delete(path)
      file.isOut = true
      return closeIfOut(file)
    }
  }
}

function beginToOpen(path: string): OpenFile {
  const handle = open(path, 'r')
  handle.catch(() => undefined) // whoever reads is told, and may begin to wait for it later
  return { handle, readers: 0, isOut: false }
}

async function closeIfOut(file: OpenFile): Promise<void> {
  if (!file.isOut || file.readers > 0) return
  const handle = await file.handle.catch(() => undefined) // who opened it was told
  await handle?.close()
}
