import { HttpError } from '../errors.ts'
import type { PartHead } from '../form-event.ts'
import { makePartHead } from './part-head.ts'
import { isToken, parseParameters, type Parameter } from './parameters.ts'

const FORBIDDEN = /\0|\r(?!\n)|(?<!\r)\n/ // RFC 9110 §5.5, and no line ends but CRLF

/**
 * Parses the header block of one part.
 * @param block its lines, decoded as UTF-8, without the empty line that ends the block and the CRLF before it
 * @throws HttpError `malformed_form`
 */
export function parsePartHead(block: string): PartHead {
  if (block === '') throw malformed('a part has no header')
  if (FORBIDDEN.test(block)) throw malformed('a part header holds NUL, or CR or LF alone')
  let disposition: string | undefined
  let mediaType: string | undefined
  for (const line of block.split('\r\n')) {
    const colon = line.indexOf(':')
    const name = parseFieldName(line, colon)
    if (name === 'content-disposition') {
      if (disposition !== undefined) throw malformed('a part has two Content-Disposition')
      disposition = line.slice(colon + 1)
    } else if (name === 'content-type') {
      mediaType ??= line.slice(colon + 1).trim()
    }
  }
  if (disposition === undefined) throw malformed('a part has no Content-Disposition')
  const { name, filename } = parseDisposition(disposition)
  return makePartHead(name, filename, mediaType)
}

function parseFieldName(line: string, colon: number): string {
  if (colon === -1) throw malformed('a line of a part header has no colon')
  // RFC 2046 §5.1: that is the next delimiter, which has a colon where the boundary has one; the part never began.
  if (line.startsWith('--')) throw malformed('a delimiter stands in a part header')
  const name = line.slice(0, colon)
  // RFC 9112 §5.2: a folded line, whose blanks would be the beginning of the name, is refused as well.
  if (!isToken(name)) throw malformed('a field name in a part header is not a token')
  return name.toLowerCase()
}

function parseDisposition(disposition: string): { name: string; filename: string | undefined } {
  const semicolon = disposition.indexOf(';')
  const type = semicolon === -1 ? disposition : disposition.slice(0, semicolon)
  if (type.trim().toLowerCase() !== 'form-data') throw malformed('a Content-Disposition is not form-data')

  const parameters = parseParameters(disposition)
  const name = findOnce(parameters, 'name')
  const filename = findOnce(parameters, 'filename')
  const extended = findOnce(parameters, 'filename*')
  return {
    name: name === undefined ? '' : decodeValue(name),
    filename: filename !== undefined ? decodeValue(filename) : extended && decodeExtended(extended.value),
  }
}

function findOnce(parameters: readonly Parameter[], name: string): Parameter | undefined {
  let found: Parameter | undefined
  for (const parameter of parameters) {
    if (parameter.name !== name) continue
    if (found !== undefined) throw malformed('a parameter of a Content-Disposition is given twice')
    found = parameter
  }
  return found
}

/**
 * Undoes the percent-encoding of the WHATWG form submission algorithm, which writes quotes and line ends that way, and
 * backslashes only where they are sure to be escapes: browsers send those in a name, such as `C:\dir`, as they are.
 */
function decodeValue({ value, isQuoted }: Parameter): string {
  const encoded = isQuoted ? /%22|%0d|%0a|\\["\\]/gi : /%22|%0d|%0a/gi
  return value.replace(encoded, (found) =>
    found.startsWith('%') ? String.fromCharCode(Number.parseInt(found.slice(1), 16)) : found.slice(1),
  )
}

/** Decodes a `filename*` (RFC 8187 §3.2); lets pass what clients forget to encode, such as parentheses and quotes. */
function decodeExtended(text: string): string {
  const [, charset, value] = /^([^']*)'[^']*'(.*)$/s.exec(text) ?? []
  if (charset === undefined || value === undefined) throw malformed('a filename* has no charset')
  if (/%(?![0-9a-f]{2})/i.test(value)) throw malformed('a filename* is not percent-encoded')
  switch (charset.toLowerCase()) {
    case 'utf-8':
      return decodeUtf8(value)
    case 'iso-8859-1':
      return value.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    default:
      throw malformed('a filename* has a charset other than UTF-8 and ISO-8859-1')
  }
}

function decodeUtf8(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch (error) {
    if (!(error instanceof URIError)) throw error
    throw new HttpError('malformed_form', { detail: 'a filename* is not UTF-8', cause: error })
  }
}

function malformed(detail: string): HttpError {
  return new HttpError('malformed_form', { detail })
}
