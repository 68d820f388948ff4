const UPLOAD = /^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})-(.*?)(?:-activity(\d{1,6}))?\.zip(?:\.00(\d{1,6}))?$/is

/** What the name of a file says of the upload that it belongs to, as reproschema-ui names them. */
export interface UploadName {
  /** New for each upload. */
  readonly uuid: string
  /** The `uid` in the address of the web app; may be empty. */
  readonly uid: string
  /** The number of the activity after which it was sent; undefined where it is a whole session. */
  readonly activity: number | undefined
  /** Counted from 0; undefined where the upload is one file. */
  readonly slice: number | undefined
}

/**
 * Parses `<uuid>-<uid>-activity<N>.zip`, `<uuid>-<uid>.zip` and the names of its slices, `<uuid>-<uid>.zip.000` …
 * `.zip.0010`: `.00` and the number. Returns undefined for any other name.
 */
export function parseUploadName(name: string): UploadName | undefined {
  const found = UPLOAD.exec(name)
  if (found === null) return undefined
  const [, uuid = '', uid = '', activity, slice] = found
  return { uuid: uuid.toLowerCase(), uid, activity: toNumber(activity), slice: toNumber(slice) }
}

function toNumber(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : Number(digits)
}
