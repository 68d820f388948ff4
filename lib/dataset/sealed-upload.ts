import { describeMissing, findGaps, whatFollows } from './gaps.ts'
import type { SealedZip } from './sealed-file.ts'
import type { Slice, Upload } from './upload.ts'

/** What is known without a key of an upload of which slices are encrypted. */
export interface SealedUpload {
  readonly upload: Upload
  readonly type: 'sealed'
  /** What is missing, such as `slices 0, 3-5`; undefined where nothing is, as far as is known. */
  readonly missing: string | undefined
  /** What of its arrival is not known without a key. */
  readonly unknown: string | undefined
  /** What its zip holds, where that is known. */
  readonly zip: SealedZip | undefined
}

/** Where a zip ends, as the last slices say that have arrived. */
type End =
  | { readonly type: 'found'; readonly totalBytes: number; readonly zip: SealedZip | undefined }
  /** It is not there for sure, or nobody can tell without a key. */
  | { readonly type: 'none' }
  | { readonly type: 'unknown' }

/**
 * Tells from the receipts of an upload, and from what of it is not encrypted, whether all of it has arrived. What it cannot
 * tell for sure it calls unknown.
 * @param readEnd looks for the end of a zip in slices that are not encrypted
 */
export async function inspectSealed(upload: Upload, readEnd: (tail: readonly Slice[]) => Promise<{ totalBytes: number } | undefined>): Promise<SealedUpload> {
  const { slices } = upload
  const end = await findEnd(slices, readEnd)
  const zip = end.type === 'found' ? end.zip : undefined
  const tell = (says: { missing?: string; unknown?: string }): SealedUpload => ({ upload, type: 'sealed', missing: says.missing, unknown: says.unknown, zip })
  const gaps = findGaps(slices)
  if (gaps.length > 0 && end.type === 'unknown') return tell({ missing: describeMissing(gaps), unknown: WHAT_FOLLOWS })
  if (gaps.length > 0) return tell({ missing: describeMissing(end.type === 'none' ? [...gaps, whatFollows(slices)] : gaps) })
  if (end.type === 'none') return tell(upload.isSliced && isEven(slices) ? { missing: describeMissing([whatFollows(slices)]) } : { unknown: WHETHER_ZIP })
  if (end.type === 'unknown') return tell({ unknown: upload.isSliced && isEven(slices) ? WHAT_FOLLOWS : WHETHER_ZIP })
  const bytes = slices.reduce((sum, { file }) => sum + file.bytes, 0)
  if (bytes >= end.totalBytes) return tell({})
  const says = `${end.totalBytes - bytes} of ${end.totalBytes} bytes`
  return tell(upload.others.length === 0 ? { missing: says } : { unknown: `whether other copies of its slices have the ${says} that are missing in the first` })
}

const WHAT_FOLLOWS = 'whether slices follow the last one that has arrived'
const WHETHER_ZIP = 'whether its zip is whole: its receipts do not tell where the zip ends'

// A receipt tells of an end only where all of the directory is in the last 64 KiB of the file.
async function findEnd(slices: readonly Slice[], readEnd: (tail: readonly Slice[]) => Promise<{ totalBytes: number } | undefined>): Promise<End> {
  const [last, before] = [slices.at(-1), slices.at(-2)]
  if (last === undefined) return { type: 'none' }
  const { sealed } = last.file
  if (sealed?.zip !== undefined) return { type: 'found', totalBytes: sealed.zip.bytes, zip: sealed.zip }
  if (sealed !== undefined) return { type: 'unknown' }
  const isSealedBefore = before?.file.sealed !== undefined
  const found = await readEnd(slices.slice(isSealedBefore ? -1 : -2))
  if (found !== undefined) return { type: 'found', totalBytes: found.totalBytes, zip: undefined }
  return { type: isSealedBefore ? 'unknown' : 'none' } // the record at the end may begin in the slice before
}

// All slices but the last are of one size.
function isEven(slices: readonly Slice[]): boolean {
  return slices.every(({ file }) => file.bytes === slices[0]?.file.bytes)
}
