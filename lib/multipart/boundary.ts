import { HttpError } from '../errors.ts'
import { parseParameters } from './parameters.ts'

// RFC 2046 §5.1.1 allows fewer, but real clients use more. No CR, LF or NUL: the search for delimiters rests on that.
const QUOTED = /^[\x20-\x7e]{0,69}[\x21-\x7e]$/
const UNQUOTED = /^[\x21\x23-\x7e]{1,70}$/

/**
 * Parses the boundary out of the Content-Type of a form.
 * @param contentType the whole field value, such as `multipart/form-data; boundary=x`
 * @returns 1 to 70 printable ASCII characters, the last of them no space
 * @throws HttpError `malformed_form` where there is no boundary, more than one, or one that cannot be used
 */
export function parseBoundary(contentType: string): string {
  const [boundary, second] = parseParameters(contentType).filter((parameter) => parameter.name === 'boundary')
  if (boundary === undefined) throw new HttpError('malformed_form', { detail: 'there is no boundary' })
  if (second !== undefined) throw new HttpError('malformed_form', { detail: 'there is more than one boundary' })

  const { isQuoted, value } = boundary
  const text = isQuoted ? value.replace(/\\(.)/gs, '$1') : value // RFC 9110 §5.6.4: quoted-pair
  if (!(isQuoted ? QUOTED : UNQUOTED).test(text)) {
    throw new HttpError('malformed_form', { detail: 'the boundary is not 1 to 70 usable characters' })
  }
  return text
}
