import { ArchiveError } from '../archive/archive-error.ts'
import type { Slice as Range } from '../archive/source.ts'
import { readWavHeader, type WavHeader } from '../archive/wav.ts'
import type { ZipEntry } from '../archive/zip.ts'
import type { ExportTree, Written } from './export-tree.ts'
import type { Inspected } from './inspection.ts'
import { Segments } from './segment.ts'
import { readOneEntry } from './upload-archive.ts'
import { baseName, type UploadContent } from './upload-content.ts'

const HEADER_BYTES = 64 * 1024

/** An upload that could be read, with what it holds. */
export interface ReadUpload {
  readonly inspected: Inspected
  readonly ranges: readonly Range[]
  readonly content: UploadContent
}

/** A recording, as it was written. */
export interface ExportedRecording {
  readonly file: Written
  /** Undefined where it is no WAV file. */
  readonly header: WavHeader | undefined
}

/** Why an entry was not written as a recording. */
export interface RecordingProblem {
  readonly reason: string
  /** Whether its data cannot be read; else it is another recording under the same name. */
  readonly isDamaged: boolean
}

/** The recordings of one session: each name once, from the first upload that has it undamaged. */
export class RecordingExport {
  readonly #tree: ExportTree
  readonly #folder: string
  readonly #segments: Segments
  readonly #entries = new Map<string, ZipEntry>()
  readonly #damaged = new Set<string>()
  readonly exported = new Map<string, ExportedRecording>()

  constructor(tree: ExportTree, folder: string, uploads: readonly ReadUpload[]) {
    this.#tree = tree
    this.#folder = folder
    this.#segments = new Segments(uploads.flatMap(({ content }) => content.recordings.map(baseName)))
  }

  /** Writes a recording, unless it has been written already; says what is wrong with it. */
  async add(upload: ReadUpload, entry: ZipEntry): Promise<RecordingProblem | undefined> {
    const name = baseName(entry)
    const first = this.#entries.get(name)
    if (first !== undefined) {
      const isSame = first.bytes === entry.bytes && first.crc32 === entry.crc32
      return isSame ? undefined : { reason: 'Another recording of the same name is in a better upload.', isDamaged: false }
    }
    try {
      const beginning = new FirstBytes()
      const file = await this.#tree.write(`${this.#folder}/${this.#segments.of(name)}`, beginning.watch(readOneEntry(upload.ranges, entry)))
      this.exported.set(name, { file, header: await readWavHeader({ first: beginning.taken(), bytes: file.bytes }) })
      this.#entries.set(name, entry)
      this.#damaged.delete(name)
      return undefined
    } catch (error) {
      if (!(error instanceof ArchiveError)) throw error
      this.#damaged.add(name)
      return { reason: error.reason, isDamaged: true }
    }
  }

  /** The names of recordings that no upload has undamaged. */
  lacking(): string[] {
    return [...this.#damaged]
  }
}

/** The first bytes of what passes by. */
class FirstBytes {
  readonly #pieces: Buffer[] = []
  #bytes = 0

  async *watch(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of content) {
      const room = HEADER_BYTES - this.#bytes
      if (room > 0) this.#pieces.push(Buffer.from(piece.subarray(0, room)))
      this.#bytes += piece.length
      yield piece
    }
  }

  taken(): Buffer {
    return Buffer.concat(this.#pieces)
  }
}
