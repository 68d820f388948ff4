import { ArchiveError } from '../archive/archive-error.ts'
import { systemCode } from '../errors.ts'
import { withSource, type Inspection } from './upload-archive.ts'
import { baseName, isIdentifier, namesFile, readUploadContent, type UploadContent } from './upload-content.ts'
import type { Upload } from './upload.ts'

/** What is kept of an upload's content: enough to put it to its session, whatever its size. */
export interface Findings {
  /** The sessions of its answers, the first one first. */
  readonly sessions: readonly string[]
  readonly activities: readonly string[]
  readonly answers: number
  /** Answers to `record_id` or `participant_id`. */
  readonly identifiers: readonly string[]
  /** Names of files that answers give. */
  readonly named: readonly string[]
  readonly recordings: readonly { readonly name: string; readonly bytes: number }[]
  /** Other files that can be read. */
  readonly files: readonly { readonly name: string }[]
}

/** An upload with what was found in it. */
export interface Inspected {
  readonly upload: Upload
  readonly inspection: Inspection
  /** Undefined unless it is whole. */
  readonly findings: Findings | undefined
}

/** Looks into an upload that was found whole: its directory and its answers. A directory that cannot be read makes it broken. */
export async function findIn(upload: Upload, inspection: Inspection): Promise<Inspected> {
  if (inspection.type !== 'whole') return { upload, inspection, findings: undefined }
  try {
    const content = await withSource(inspection.ranges, readUploadContent)
    return { upload, inspection, findings: summarise(content) }
  } catch (error) {
    const isGone = systemCode(error) === 'ENOENT'
    if (!(error instanceof ArchiveError) && !isGone) throw error
    const reason = error instanceof ArchiveError ? error.reason : 'A part of it is gone from the disk.'
    return { upload, inspection: { type: 'broken', reason }, findings: undefined }
  }
}

function summarise({ answersFiles, recordings, rest }: UploadContent): Findings {
  const answers = answersFiles.flatMap((file) => file.answers)
  return {
    sessions: unique(answers.map((answer) => answer.session)),
    activities: unique(answers.map((answer) => answer.activity)),
    answers: answers.length,
    identifiers: unique(answers.filter(isIdentifier).map((answer) => answer.value.trim())),
    named: unique(answers.filter(namesFile).map((answer) => answer.value)),
    recordings: recordings.map((entry) => ({ name: baseName(entry), bytes: entry.bytes })),
    files: rest.filter(({ entry }) => entry.problem === undefined).map(({ entry }) => ({ name: baseName(entry) })),
  }
}

function unique(names: Iterable<string | undefined>): string[] {
  return [...new Set([...names].filter((name) => name !== undefined && name !== ''))] as string[]
}
