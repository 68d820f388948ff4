import { ArchiveError } from '../archive/archive-error.ts'
import { describeConflicts } from './answer-conflict.ts'
import { lastSegment } from './answers.ts'
import type { ExportTables } from './export-tables.ts'
import type { ExportTree } from './export-tree.ts'
import { findingsOf, isFinal, type Inspected } from './inspection.ts'
import { mergeAnswers, type MergedActivity } from './merge.ts'
import { describeUnusable } from './missing.ts'
import { CheckedSlices, type ReceiptCheck } from './receipt-check.ts'
import { RecordingExport, type ExportedRecording, type ReadUpload } from './recording-export.ts'
import { titleOf } from './sealed-file.ts'
import type { Segments } from './segment.ts'
import type { Session } from './session.ts'
import { SetAside } from './set-aside.ts'
import { splitBySession } from './share.ts'
import { readRanges, withSource } from './upload-archive.ts'
import { baseName, isUnusable, makeSessionRoom, readUploadContent } from './upload-content.ts'
import { arrivalsOf, type Upload } from './upload.ts'
import type { Vault } from './vault.ts'

const SOME_UNUSABLE = 'Some of its entries cannot be used; the rows with its name as source tell which.'
const SEVERAL_SESSIONS = 'It has answers of several sessions, and each session got its own.'

/** What the export of a session works with. */
export interface SessionExportParts {
  readonly tree: ExportTree
  readonly tables: ExportTables
  /** The names that participants and sessions have in the tree. */
  readonly participants: Segments
  readonly sessions: Segments
  readonly vault: Vault
  readonly check: ReceiptCheck
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
  readonly #vault: Vault
  readonly #check: ReceiptCheck
  readonly #session: Session
  readonly #segment: string
  readonly #owner: string | undefined
  readonly #missing: string[]
  readonly #aside: SetAside

  constructor({ tree, tables, participants, sessions, vault, check }: SessionExportParts, session: Session) {
    this.#tree = tree
    this.#tables = tables
    this.#vault = vault
    this.#check = check
    this.#session = session
    this.#segment = sessions.of(session.id)
    this.#owner = session.participant === undefined ? undefined : participants.of(session.participant)
    this.#aside = new SetAside({ tree, tables, vault, check, segment: this.#segment, who: this.#who() })
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
    const room = makeSessionRoom()
    for (const inspected of this.#session.uploads) {
      const { upload } = inspected
      if (!isOfOthers(inspected)) await this.#aside.writeOthers(upload)
      if (inspected.type === 'whole') {
        const ranges = this.#vault.rangesOf(upload.slices, inspected.leftoverBytes)
        const shares = splitBySession(await withSource(ranges, (source) => readUploadContent(source, room)))
        const content = shares.find(({ isPart, sessions }) => !isPart || sessions[0] === this.#session.givenId)
        if (content !== undefined) uploads.push({ inspected, ranges, content })
        continue
      }
      const reason = inspected.type === 'incomplete' ? `The upload is incomplete: ${inspected.missing} missing.` : inspected.reason
      for (const slice of upload.slices) await this.#aside.writeSlice(slice, reason)
    }
    return uploads
  }

  async #writeRecordings(uploads: readonly ReadUpload[]): Promise<Map<string, ExportedRecording>> {
    const audio = new RecordingExport(this.#tree, this.#folder('audio'), uploads)
    for (const upload of uploads) {
      for (const entry of upload.content.recordings) {
        const problem = await audio.add(upload, entry)
        if (problem?.isDamaged === true) await this.#aside.noteDamaged(upload, entry, problem.reason)
        else if (problem !== undefined) await this.#aside.writeEntry(upload, entry, problem.reason)
      }
    }
    for (const name of audio.lacking()) this.#missing.push(`recording ${name}, which is damaged`)
    return audio.exported
  }

  async #writeRest(uploads: readonly ReadUpload[]): Promise<void> {
    const kept = new Set<string>()
    const damaged: { name: string; says: string }[] = []
    for (const upload of uploads) {
      const known = new Set(findingsOf(upload.inspected)?.unusable.map(({ name }) => name))
      for (const { entry, reason } of upload.content.rest) {
        const name = baseName(entry)
        if (isUnusable({ entry, reason }) && !known.has(name)) this.#missing.push(describeUnusable({ name, reason }, upload.inspected.upload.uuid))
        const problem = await this.#aside.writeEntry(upload, entry, reason)
        if (problem === undefined) kept.add(name)
        else if (!isUnusable({ entry, reason })) damaged.push({ name, says: describeUnusable({ name, reason: problem }, upload.inspected.upload.uuid) })
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

  // An archive that could harm or mislead whoever unpacks it is not put beside the good ones, nor is one that is not as it was sent.
  async #writeArchive(read: ReadUpload): Promise<void> {
    const { inspected } = read
    if (isOfOthers(inspected)) return // once, with the first session
    const { upload } = inspected
    const isFirst = isFinal(inspected) && this.#session.uploads.find(isFinal) === inspected
    const suffix = upload.activity === undefined ? '' : `-activity${upload.activity}`
    const name = isFirst ? this.#segment : `${this.#segment}-${upload.uuid}${suffix}`
    const problem = this.#aside.isDamaged(read) ? SOME_UNUSABLE : findingsOf(inspected)?.isPart === true ? SEVERAL_SESSIONS : undefined
    const slices = new CheckedSlices(this.#vault, upload.slices, this.#check)
    const asidePath = this.#aside.pathOf(`${upload.uuid}${suffix}.zip`)
    try {
      const content = slices.read(leftoverOf(inspected))
      const file = await this.#tree.write(problem === undefined ? `archives/${name}.zip` : asidePath, content, () => (slices.changes.length > 0 ? asidePath : undefined))
      const reasons = [...(problem === undefined ? [] : [problem]), ...slices.changes]
      if (reasons.length > 0) await this.#aside.note(file, { reason: reasons.join(' '), source: upload.uuid })
      if (slices.changes.length > 0) this.#missing.push(`upload ${upload.uuid} as it was sent: what is stored differs from its receipt`)
      await this.#writeLeftover(inspected)
    } catch (error) {
      if (!(error instanceof ArchiveError)) throw error
      await this.#writeSlices(upload, error.reason)
    }
  }

  async #writeLeftover(inspected: Inspected): Promise<void> {
    const { upload } = inspected
    const leftoverBytes = leftoverOf(inspected)
    if (leftoverBytes === 0) return
    const front = readRanges(this.#vault.rangesOf(upload.slices), leftoverBytes)
    await this.#aside.write(`${upload.uuid}-leftover.bin`, front, { reason: 'These bytes of another upload stood in front of the archive.', source: upload.uuid })
  }

  // A slice was altered since it was encrypted: what could be read of its entries is in the tree.
  async #writeSlices(upload: Upload, reason: string): Promise<void> {
    this.#missing.push(`a part of upload ${upload.uuid}, which cannot be read: ${reason}`)
    for (const slice of upload.slices) await this.#aside.writeSlice(slice, reason)
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
      sources: uploads.flatMap(({ upload }) => arrivalsOf(upload).map(({ file }) => titleOf(file))).join(' '),
      bytes,
      first_arrival: firstAt,
      last_arrival: lastAt,
    })
    if (participant !== undefined) return
    await this.#tables.unassigned.add({ ...this.#who(), reason: 'Neither the token, nor the file name, nor an answer to record_id or participant_id says whose session it is.' })
  }

  #who(): { participant: string | undefined; session: string } {
    return { participant: this.#session.participant, session: this.#session.id }
  }

  #folder(kind: 'survey' | 'audio'): string {
    return this.#owner === undefined ? `unassigned/${kind}/${this.#segment}` : `${kind}/${this.#owner}/${this.#segment}`
  }
}

function leftoverOf(inspected: Inspected): number {
  return inspected.type === 'whole' ? inspected.leftoverBytes : 0
}

/** Says whether an upload was split, and what belongs to none of its sessions alone is with another one. */
function isOfOthers(inspected: Inspected): boolean {
  return findingsOf(inspected)?.isFirst === false
}
