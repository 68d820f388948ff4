import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ArchiveError } from '../lib/archive/archive-error.ts'
import { openSlices, type ByteSource, type Slice } from '../lib/archive/source.ts'
import { readEntries, readEntry, type ZipEntry, type ZipLimits } from '../lib/archive/zip.ts'

/** What came of reading one entry: its content, or why there is none. */
export interface ReadEntry {
  readonly entry: ZipEntry
  readonly content?: Buffer
  readonly reason?: string
}

/** Reads an entry to its end. An error that is no ArchiveError is thrown. */
export async function readWhole(source: ByteSource, entry: ZipEntry): Promise<ReadEntry> {
  const pieces: Buffer[] = []
  try {
    for await (const piece of readEntry(source, entry)) pieces.push(piece)
    return { entry, content: Buffer.concat(pieces) }
  } catch (error) {
    if (error instanceof ArchiveError) return { entry, reason: error.reason }
    throw error
  }
}

/** Reads every entry of the archive that some slices are together, or gives the reason why it cannot be read. */
export async function readArchive(slices: readonly Slice[], limits: ZipLimits = {}): Promise<ReadEntry[] | string> {
  const source = await openSlices(slices)
  try {
    const found: ReadEntry[] = []
    for (const entry of await readEntries(source, limits)) found.push(await readWhole(source, entry))
    return found
  } catch (error) {
    if (error instanceof ArchiveError) return error.reason
    throw error
  } finally {
    await source.close()
  }
}

/** The same as one row of text for each entry, to be compared. */
export async function describeArchive(
  slices: readonly Slice[],
  limits: ZipLimits = {},
): Promise<[name: string, contentOrReason: string][] | string> {
  const found = await readArchive(slices, limits)
  if (typeof found === 'string') return found
  return found.map(({ entry, content, reason }) => [entry.name, content?.toString('latin1') ?? reason ?? ''])
}

/** Writes bytes to a file of a directory and gives its path. */
export async function save(directory: string, name: string, bytes: Buffer): Promise<string> {
  const path = join(directory, name)
  await writeFile(path, bytes)
  return path
}
