import { join } from 'node:path'
import { ArchiveError } from '../archive/archive-error.ts'
import type { ZipEntry } from '../archive/zip.ts'
import { describeConflicts } from './answer-conflict.ts'
import { lastSegment } from './answers.ts'
import type { ExportTables } from './export-tables.ts'
import type { ExportTree, Written } from './export-tree.ts'
import { isFinal, type Inspected } from './inspection.ts'
import { mergeAnswers, type MergedActivity } from './merge.ts'
import { describeUnusable } from './missing.ts'
import { RecordingExport, type ExportedRecording, type ReadUpload } from './recording-export.ts'
import { toSegment, type Segments } from './segment.ts'
import type { Session } from './session.ts'
import { readContent } from './stored-content.ts'
import { rangesOf, readOneEntry, readRanges, withSource } from './upload-archive.ts'
import { baseName, isUnusable, readUploadContent } from './upload-content.ts'
import { arrivalsOf, type Slice, type Upload } from './upload.ts'

/** What the export of a session works with. */
export interface SessionExportParts {
  readonly tree: ExportTree
  readonly tables: ExportTables
  /** The names that participants and sessions have in the tree. */
  readonly participants: Segments
  readonly sessions: Segments
  /** Where the project's files are stored. */
  readonly directory: string
}

/**
 * Writes everything of one session. Its answers are in memory, its recordings never are.
 * @returns whether it is complete: damage to a recording shows only here, where all of it is read
 */
export async function exportSession(parts: SessionExportParts, session: Session): Promise<boolean> {
  return new SessionExport(parts, session).run()
}

class SessionExport {
  readonly #tree: ExportTree
  readonly #tables: ExportTables
  readonly #directory: string
  readonly #session: Session
  readonly #segment: string
  readonly #owner: string | undefined
  readonly #missing: string[]
  readonly #damaged = new Set<Inspected>()

  constructor({ tree, tables, participants, sessions, directory }: SessionExportParts, session: Session) {
    this.#tree = tree
    this.#tables = tables
    this.#directory = directory
    this.#session = session
    this.#segment = sessions.of(session.id)
    this.#owner = session.participant === undefined ? undefined : participants.of(session.participant)
    this.#missing = [...session.missing]
  }

  async run(): Promise<boolean> {
    const uploads = await this.#readUploads()
    const { activities, conflicts } = mergeAnswers(uploads.map(({ content }) => content.answersFiles))
    const differing = describeConflicts(conflicts, uploads.map(({ inspected }) => inspected.upload.uuid))
    const recordings = await this.#writeRecordings(uploads)
    await this.#writeRest(uploads)
    await this.#writeAnswers(activities, recordings)
    for (const upload of uploads) await this.#writeArchive(upload)
    await this.#noteSession(activities, recordings, [...this.#session.conflicts, ...differing])
    return this.#missing.length === 0
  }

  async #readUploads(): Promise<ReadUpload[]> {
    const uploads: ReadUpload[] = []
    for (const inspected of this.#session.uploads) {
      const { upload } = inspected
      for (const slice of upload.others) {
        if (await this.#isRepeat(slice, upload)) continue
        await this.#setAside(slice, 'It came under a name that has another content already.')
      }
      if (inspected.type === 'whole') {
        const ranges = rangesOf(upload.slices, inspected.leftoverBytes, this.#directory)
        uploads.push({ inspected, ranges, content: await withSource(ranges, readUploadContent) })
        continue
      }
      const reason = inspected.type === 'incomplete' ? `The upload is incomplete: ${inspected.missing} missing.` : inspected.reason
      for (const slice of upload.slices) await this.#setAside(slice, reason)
    }
    return uploads
  }

  // What the seed server stored has no SHA-256 until it is read.
  async #isRepeat(slice: Slice, { slices }: Upload): Promise<boolean> {
    const first = slices.find(({ number }) => number === slice.number)
    if (first === undefined || first.file.bytes !== slice.file.bytes) return false
    const [content, firstContent] = await Promise.all([slice, first].map(({ file }) => readContent(join(this.#directory, file.storedAs))))
    return content?.type === 'file' && firstContent?.type === 'file' && content.sha256 === firstContent.sha256
  }

  async #writeRecordings(uploads: readonly ReadUpload[]): Promise<Map<string, ExportedRecording>> {
    const audio = new RecordingExport(this.#tree, this.#folder('audio'), uploads)
    for (const upload of uploads) {
      for (const entry of upload.content.recordings) {
        const problem = await audio.add(upload, entry)
        const damage = problem?.isDamaged === false ? await this.#setEntryAside(upload, entry, problem.reason) : problem?.reason
        if (damage !== undefined) await this.#noteDamaged(upload, entry, damage)
      }
    }
    for (const name of audio.lacking()) this.#missing.push(`recording ${name}, which is damaged`)
    return audio.exported
  }

  async #writeRest(uploads: readonly ReadUpload[]): Promise<void> {
    const kept = new Set<string>()
    const damaged: { name: string; says: string }[] = []
    for (const upload of uploads) {
      for (const { entry, reason } of upload.content.rest) {
        const name = baseName(entry)
        const problem = entry.problem ?? (await this.#setEntryAside(upload, entry, reason))
        if (problem === undefined) kept.add(name)
        else await this.#noteDamaged(upload, entry, problem)
        if (problem !== undefined && !isUnusable({ entry, reason })) damaged.push({ name, says: describeUnusable({ name, reason: problem }, upload.inspected.upload.uuid) })
      }
    }
    this.#missing.push(...damaged.filter(({ name }) => !kept.has(name)).map(({ says }) => says))
  }

  async #writeAnswers(activities: readonly MergedActivity[], recordings: ReadonlyMap<string, ExportedRecording>): Promise<void> {
    const named = new Map<string, string>()
    for (const [number, { address, answers, content }] of activities.entries()) {
      const file = await this.#tree.write(`${this.#folder('survey')}/activity_${number}.jsonld`, [content])
      for (const answer of answers) {
        if (answer.item === undefined) continue
        const recording = recordings.get(answer.value)
        if (recording !== undefined) named.set(answer.value, lastSegment(answer.item))
        await this.#tables.responses.add({
          ...this.#who(),
          activity: lastSegment(address),
          item: lastSegment(answer.item),
          value: answer.value,
          started: answer.startedAt,
          ended: answer.endedAt,
          file: (recording?.file ?? file).path,
          sha256: (recording?.file ?? file).sha256,
          activity_url: address,
          item_url: answer.item,
          response: answer.id,
        })
      }
    }
    for (const [name, recording] of recordings) await this.#noteRecording(name, recording, named.get(name))
  }

  async #noteRecording(name: string, { file, header }: ExportedRecording, item: string | undefined): Promise<void> {
    const notes = [...(item === undefined ? ['no answer names it'] : []), ...(header === undefined ? ['its header is not that of a WAV file'] : [])]
    await this.#tables.recordings.add({
      ...this.#who(),
      item: item ?? name.replace(/(?:-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?\.wav$/i, ''),
      file: file.path,
      bytes: file.bytes,
      duration_seconds: header === undefined ? undefined : Number(header.durationSeconds.toFixed(6)),
      sample_rate: header?.sampleRate,
      channels: header?.channels,
      bits_per_sample: header?.bitsPerSample,
      sha256: file.sha256,
      note: notes.join('; '),
    })
  }

  // An archive that could harm or mislead whoever unpacks it is not put beside the good ones.
  async #writeArchive({ inspected, ranges }: ReadUpload): Promise<void> {
    const { upload } = inspected
    const isFirst = isFinal(inspected) && this.#session.uploads.find(isFinal) === inspected
    const suffix = upload.activity === undefined ? '' : `-activity${upload.activity}`
    const name = isFirst ? this.#segment : `${this.#segment}-${upload.uuid}${suffix}`
    const isDamaged = this.#damaged.has(inspected)
    const path = isDamaged ? `incomplete/sessions/${this.#segment}/${upload.uuid}${suffix}.zip` : `archives/${name}.zip`
    const archive = await this.#tree.write(path, readRanges(ranges))
    if (isDamaged) await this.#noteIncomplete(archive, 'Some of its entries cannot be used; the rows with its name as source tell which.', upload.uuid)
    const leftoverBytes = inspected.type === 'whole' ? inspected.leftoverBytes : 0
    if (leftoverBytes === 0) return
    const front = readRanges(rangesOf(upload.slices, 0, this.#directory), leftoverBytes)
    const leftover = await this.#tree.write(`incomplete/sessions/${this.#segment}/${upload.uuid}-leftover.bin`, front)
    await this.#noteIncomplete(leftover, 'These bytes of another upload stood in front of the archive.', upload.uuid)
  }

  async #noteSession(activities: readonly MergedActivity[], recordings: ReadonlyMap<string, ExportedRecording>, conflicts: readonly string[]): Promise<void> {
    const { uploads, bytes, firstAt, lastAt, participant } = this.#session
    await this.#tables.sessions.add({
      ...this.#who(),
      state: this.#missing.length === 0 ? 'complete' : 'incomplete',
      missing: this.#missing.join('; '),
      conflicts: conflicts.join('; '),
      activities: activities.length,
      responses: activities.flatMap(({ answers }) => answers.filter(({ item }) => item !== undefined)).length,
      recordings: recordings.size,
      sources: uploads.flatMap(({ upload }) => arrivalsOf(upload).map(({ file }) => file.storedAs)).join(' '),
      bytes,
      first_arrival: firstAt,
      last_arrival: lastAt,
    })
    if (participant !== undefined) return
    await this.#tables.unassigned.add({ ...this.#who(), reason: 'Neither the token, nor the file name, nor an answer to record_id or participant_id says whose session it is.' })
  }

  async #setAside(slice: Slice, reason: string): Promise<void> {
    const { storedAs } = slice.file
    const content = readRanges([{ path: join(this.#directory, storedAs) }])
    await this.#noteIncomplete(await this.#tree.write(`incomplete/sessions/${this.#segment}/${toSegment(storedAs)}`, content), reason, storedAs)
  }

  /** Writes an entry; says what is wrong with it where it cannot be read, and then writes nothing. */
  async #setEntryAside(upload: ReadUpload, entry: ZipEntry, reason: string): Promise<string | undefined> {
    const { uuid } = upload.inspected.upload
    const path = `incomplete/sessions/${this.#segment}/${uuid}-${toSegment(entry.name.replaceAll('/', '_'))}`
    try {
      await this.#noteIncomplete(await this.#tree.write(path, readOneEntry(upload.ranges, entry)), reason, uuid)
      return undefined
    } catch (error) {
      if (!(error instanceof ArchiveError)) throw error
      return error.reason
    }
  }

  async #noteDamaged({ inspected }: ReadUpload, entry: ZipEntry, reason: string): Promise<void> {
    this.#damaged.add(inspected)
    await this.#tables.incomplete.add({ ...this.#who(), reason: `${reason} Its name in the archive: ${entry.name}`, source: inspected.upload.uuid })
  }

  async #noteIncomplete(file: Written, reason: string, source: string): Promise<void> {
    await this.#tables.incomplete.add({ ...this.#who(), file: file.path, reason, source })
  }

  #who(): { participant: string | undefined; session: string } {
    return { participant: this.#session.participant, session: this.#session.id }
  }

  #folder(kind: 'survey' | 'audio'): string {
    return this.#owner === undefined ? `unassigned/${kind}/${this.#segment}` : `${kind}/${this.#owner}/${this.#segment}`
  }
}
