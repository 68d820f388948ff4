import type { StoredFile, Submission } from './arrivals.ts'
import { parseUploadName, type UploadName } from './upload-name.ts'

/** A stored file with the submission it came in. */
export interface Arrival {
  readonly file: StoredFile
  readonly submission: Submission
}

/** One slice of an upload, or all of it where it is one file. */
export interface Slice extends Arrival {
  readonly number: number
}

/** One zip as the web app sent it, in one or more slices. */
export interface Upload {
  readonly uuid: string
  readonly uid: string
  /** Undefined where it is a whole session, sent at its end. */
  readonly activity: number | undefined
  readonly isSliced: boolean
  /** One for each number that has arrived, by number: the first that came, until the upload is looked into. */
  readonly slices: readonly Slice[]
  /** Slices that came under the same numbers with another content. */
  readonly others: readonly Slice[]
  /** Slices that came again: the same content, as far as receipts tell. */
  readonly repeats: readonly Slice[]
}

/** Everything of a project, sorted by kind. */
export interface Sorted {
  readonly uploads: readonly Upload[]
  /** JSON of the field `responses`. */
  readonly messages: readonly Arrival[]
  /** Files of any other kind. */
  readonly foreign: readonly Arrival[]
  /** Files that came again with the same name and content. */
  readonly repeats: number
}

/** Puts slices to their uploads, and takes what came again only once: the same name, size and SHA-256. */
export function sortArrivals(submissions: readonly Submission[]): Sorted {
  const uploads = new Map<string, Growing>()
  const messages: Arrival[] = []
  const foreign: Arrival[] = []
  let repeats = 0
  for (const submission of submissions) {
    for (const file of submission.files) {
      const name = parseUploadName(file.name)
      if (isMessages(file)) messages.push({ file, submission })
      else if (name === undefined) foreign.push({ file, submission })
      else if (!addSlice(uploads, name, { number: name.slice ?? 0, file, submission })) repeats++
    }
    for (const file of submission.repeats) {
      const name = parseUploadName(file.name)
      if (!isMessages(file) && name !== undefined) addSlice(uploads, name, { number: name.slice ?? 0, file, submission })
    }
  }
  return { uploads: [...uploads.values()].map(finish), messages, foreign, repeats }
}

/** What came of an upload, each content once. */
export function arrivalsOf(upload: Upload): readonly Slice[] {
  return [...upload.slices, ...upload.others]
}

/** The submissions that say whom an upload belongs to: also those that only repeated what had come. */
export function sendersOf(upload: Upload): readonly Submission[] {
  return [...upload.slices, ...upload.others, ...upload.repeats].map(({ submission }) => submission)
}

interface Growing extends UploadName {
  readonly slices: Map<number, Slice>
  readonly others: Slice[]
  readonly repeats: Slice[]
}

// A file input may be called `responses` too: what it holds is told by its name.
function isMessages(file: StoredFile): boolean {
  return file.name === 'messages.json' && (file.field === 'responses' || file.field === undefined)
}

function addSlice(uploads: Map<string, Growing>, name: UploadName, slice: Slice): boolean {
  const key = JSON.stringify([name.uuid, name.uid, name.activity, name.slice === undefined])
  const upload = uploads.get(key) ?? { ...name, slices: new Map<number, Slice>(), others: [], repeats: [] }
  uploads.set(key, upload)
  const first = upload.slices.get(slice.number)
  const isRepeat = first !== undefined && [first, ...upload.others].some((each) => each.number === slice.number && isSame(each.file, slice.file))
  if (first === undefined) upload.slices.set(slice.number, slice)
  else (isRepeat ? upload.repeats : upload.others).push(slice)
  return !isRepeat
}

// Where no receipt names a file, or it is encrypted, only its size is known without reading it: it counts as another, and
// nothing is lost.
function isSame(a: StoredFile, b: StoredFile): boolean {
  if (a.storedAs === b.storedAs) return true
  return a.bytes === b.bytes && a.sha256 !== undefined && a.sha256 === b.sha256
}

function finish({ uuid, uid, activity, slice, slices, others, repeats }: Growing): Upload {
  return { uuid, uid, activity, isSliced: slice !== undefined, slices: [...slices.values()].toSorted((a, b) => a.number - b.number), others, repeats }
}
