import { ArchiveError } from './archive-error.ts'
import type { ByteSource } from './source.ts'
import { readDirectory, type CentralHeader } from './zip-directory.ts'
import { readEnd } from './zip-end.ts'
import type { EntryProblem, ZipEntry } from './zip-entry.ts'
import { readPlace, type Place } from './zip-local.ts'
import { withoutSlash } from './zip-name.ts'

export { readEntry } from './zip-content.ts'
export type { EntryProblem, ZipEntry } from './zip-entry.ts'

/** What an archive may claim at most. */
export interface ZipLimits {
  /** The bytes of all contents together; entries that no longer fit get a `problem`. No limit where it is missing. */
  readonly contentBytes?: number
  /** How many entries it may have; else it cannot be read at all. No limit where it is missing. */
  readonly entries?: number
}

/**
 * Reads the directory of a zip archive and the local header of every entry. An entry that cannot be trusted has a
 * `problem`; the others can be read. Throws an ArchiveError where the archive as a whole cannot be read, and also where
 * bytes of it are missing or stand in front of it (`readEnd` tells which).
 * @returns the entries in the order of the directory
 */
export async function readEntries(source: ByteSource, limits: ZipLimits = {}): Promise<ZipEntry[]> {
  const end = await readEnd(source)
  if (end.totalBytes > source.bytes) throw new ArchiveError('A part of the archive is missing.')
  if (end.totalBytes < source.bytes) {
    throw new ArchiveError('Bytes stand in front of the archive that are not part of it.')
  }
  const { entries = Infinity, contentBytes = Infinity } = limits
  if (end.entries > entries) throw new ArchiveError(`The archive has more than ${entries} entries.`)
  const candidates: Candidate[] = []
  for (const header of await readDirectory(source, end)) {
    candidates.push(await look(source, header, end.directoryOffset))
  }
  refuseSharedNames(candidates)
  refuseSharedBytes(candidates)
  refuseAbove(candidates, contentBytes)
  return candidates.map(toEntry)
}

/** An entry on its way to be trusted. */
interface Candidate {
  readonly header: CentralHeader
  readonly place: Place | undefined
  problem: EntryProblem | undefined
}

async function look(source: ByteSource, header: CentralHeader, directoryOffset: number): Promise<Candidate> {
  if (header.problem !== undefined) return { header, place: undefined, problem: header.problem }
  const place = await readPlaceIn(source, header, directoryOffset)
  const isProblem = typeof place === 'string'
  return isProblem ? { header, place: undefined, problem: place } : { header, place, problem: undefined }
}

// Where bytes in front of an entry cannot be read, as in a chunk of an encrypted file that was altered, the others still can.
async function readPlaceIn(source: ByteSource, header: CentralHeader, directoryOffset: number): Promise<Place | string> {
  try {
    return await readPlace(source, header, directoryOffset)
  } catch (error) {
    if (error instanceof ArchiveError) return error.reason
    throw error
  }
}

// Which of two entries of one name counts differs between readers, so neither does; nor can a file hold other files.
function refuseSharedNames(candidates: readonly Candidate[]): void {
  const byPath = new Map<string, Candidate>()
  const good = candidates.filter((candidate) => candidate.problem === undefined)
  for (const candidate of good) {
    const path = withoutSlash(candidate.header.name)
    const other = byPath.get(path)
    if (other === undefined) byPath.set(path, candidate)
    else other.problem = candidate.problem = 'Another entry has the same name.'
  }
  for (const candidate of good) {
    for (const parent of parentsOf(candidate.header.name)) {
      const other = byPath.get(parent)
      if (other === undefined || other.header.name.endsWith('/')) continue
      other.problem = candidate.problem = 'Another entry has the same name, once as a file and once as a folder.'
    }
  }
}

function* parentsOf(name: string): Generator<string> {
  const path = withoutSlash(name)
  for (let at = path.lastIndexOf('/'); at !== -1; at = path.lastIndexOf('/', at - 1)) yield path.slice(0, at)
}

// By where they begin, each held against the one before it that reaches furthest.
function refuseSharedBytes(candidates: readonly Candidate[]): void {
  let furthest: { candidate: Candidate; end: number } | undefined
  const placed = candidates.flatMap((candidate) => {
    return candidate.problem === undefined && candidate.place !== undefined ? [{ candidate, ...candidate.place }] : []
  })
  for (const each of placed.toSorted((a, b) => a.headerOffset - b.headerOffset)) {
    if (furthest !== undefined && each.headerOffset < furthest.end) {
      furthest.candidate.problem = each.candidate.problem = 'The entry shares bytes with another entry.'
    }
    if (furthest === undefined || each.end > furthest.end) furthest = each
  }
}

function refuseAbove(candidates: readonly Candidate[], limitBytes: number): void {
  let sumBytes = 0
  for (const candidate of candidates) {
    if (candidate.problem !== undefined) continue
    if (sumBytes + candidate.header.bytes > limitBytes) candidate.problem = 'The content of the archive is too large.'
    else sumBytes += candidate.header.bytes
  }
}

function toEntry({ header, place, problem }: Candidate): ZipEntry {
  const { name, bytes, compressedBytes, crc32, method } = header
  const dataOffset = problem === undefined ? (place?.dataOffset ?? 0) : 0
  const entry = { name, bytes, compressedBytes, crc32, method, isDirectory: name.endsWith('/'), dataOffset }
  return problem === undefined ? entry : { ...entry, problem }
}
