import { ArchiveError } from '../archive/archive-error.ts'
import type { ZipEntry } from '../archive/zip.ts'
import type { ExportTables } from './export-tables.ts'
import type { ExportTree, Written } from './export-tree.ts'
import type { Inspected } from './inspection.ts'
import type { ReceiptCheck } from './receipt-check.ts'
import type { ReadUpload } from './recording-export.ts'
import { AS_STORED, titleOf } from './sealed-file.ts'
import { toSegment } from './segment.ts'
import { readOneEntry, readRanges } from './upload-archive.ts'
import type { Slice, Upload } from './upload.ts'
import type { Vault } from './vault.ts'

/** What an export needs to set things of a session aside. */
export interface SetAsideParts {
  readonly tree: ExportTree
  readonly tables: ExportTables
  readonly vault: Vault
  readonly check: ReceiptCheck
  /** The name of the session in the tree. */
  readonly segment: string
  /** Whose it is, for the table of reasons. */
  readonly who: { readonly participant: string | undefined; readonly session: string }
}

/** What of a session arrived and fits nowhere, under `incomplete/` with its reason. */
export class SetAside {
  readonly #parts: SetAsideParts
  readonly #damaged = new Set<Inspected>()

  constructor(parts: SetAsideParts) {
    this.#parts = parts
  }

  /** Writes a file of the session's folder. */
  async write(name: string, content: AsyncIterable<Buffer>, { reason, source }: { reason: string; source: string }): Promise<void> {
    await this.note(await this.#parts.tree.write(this.pathOf(name), content), { reason, source })
  }

  /** Gives the path of a file of the session's folder. */
  pathOf(name: string): string {
    return `incomplete/sessions/${this.#parts.segment}/${name}`
  }

  /** Notes why a file was set aside. */
  async note({ path }: Written, { reason, source }: { reason: string; source: string }): Promise<void> {
    const { tables, who } = this.#parts
    await tables.incomplete.add({ ...who, file: path, reason, source })
  }

  /** Writes a slice as it was sent; as it is stored where that is encrypted and cannot be opened. */
  async writeSlice({ file }: Slice, reason: string): Promise<void> {
    const { vault, tree, check } = this.#parts
    try {
      const written = await tree.write(this.pathOf(toSegment(titleOf(file))), readRanges([vault.rangeOf(file)]))
      const reasons = [reason, check.describe(file, written) ?? ''].join(' ').trimEnd()
      await this.note(written, { reason: reasons, source: titleOf(file) })
    } catch (error) {
      if (!(error instanceof ArchiveError) || file.sealed === undefined) throw error
      const reasons = [...new Set([reason, error.reason, AS_STORED])].join(' ')
      await this.write(toSegment(file.storedAs), readRanges([vault.storedRangeOf(file)]), { reason: reasons, source: file.storedAs })
    }
  }

  /** Writes the slices that are not part of an upload, but for repeats of one that is. */
  async writeOthers(upload: Upload): Promise<void> {
    for (const slice of upload.others) {
      if (await this.#isRepeat(slice, upload)) continue
      await this.writeSlice(slice, 'It came under a name that has another content already.')
    }
  }

  /** Writes an entry of an archive; says what is wrong with it where it cannot be read, and then notes that instead. */
  async writeEntry(upload: ReadUpload, entry: ZipEntry, reason: string): Promise<string | undefined> {
    const { uuid } = upload.inspected.upload
    try {
      if (entry.problem !== undefined) throw new ArchiveError(entry.problem)
      await this.write(`${uuid}-${toSegment(entry.name.replaceAll('/', '_'))}`, readOneEntry(upload.ranges, entry), { reason, source: uuid })
      return undefined
    } catch (error) {
      if (!(error instanceof ArchiveError)) throw error
      await this.noteDamaged(upload, entry, error.reason)
      return error.reason
    }
  }

  /** Notes an entry that cannot be used. */
  async noteDamaged({ inspected }: ReadUpload, entry: ZipEntry, reason: string): Promise<void> {
    const { tables, who } = this.#parts
    this.#damaged.add(inspected)
    await tables.incomplete.add({ ...who, reason: `${reason} Its name in the archive: ${entry.name}`, source: inspected.upload.uuid })
  }

  /** Says whether an entry of an upload was noted as one that cannot be used. */
  isDamaged({ inspected }: ReadUpload): boolean {
    return this.#damaged.has(inspected)
  }

  // What the seed server stored has no SHA-256 until it is read.
  async #isRepeat(slice: Slice, { slices }: Upload): Promise<boolean> {
    const first = slices.find(({ number }) => number === slice.number)
    if (first === undefined || first.file.bytes !== slice.file.bytes) return false
    const [content, firstContent] = await Promise.all([slice, first].map(({ file }) => this.#parts.vault.readContent(file)))
    if (content?.type !== 'file' || firstContent?.type !== 'file' || content.sha256 !== firstContent.sha256) return false
    return this.#parts.check.describe(slice.file, content) === undefined // else it was to be another content
  }
}
