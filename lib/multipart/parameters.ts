import { HttpError } from '../errors.ts'

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/ // RFC 9110 §5.6.2
const QUOTE = 0x22
const BACKSLASH = 0x5c

/** One parameter of a header field's value. */
export interface Parameter {
  /** Its name in lower case. */
  readonly name: string
  /** Its value as it stands there, without the quotes around it but with its escapes. */
  readonly value: string
  /** Whether it stood in quotes. */
  readonly isQuoted: boolean
}

/** Tells whether `text` is a token, as names of fields and of parameters have to be. */
export function isToken(text: string): boolean {
  return TOKEN.test(text)
}

/**
 * Parses the parameters of a header field's value: what follows its first semicolon (RFC 9110 §5.6.6).
 * A value without quotes is taken up to the next semicolon, because some clients do not quote names with spaces.
 * @throws HttpError `malformed_form`
 */
export function parseParameters(text: string): Parameter[] {
  const parameters: Parameter[] = []
  let at = text.indexOf(';')
  while (at !== -1 && at < text.length) {
    const start = skipBlanks(text, at + 1)
    if (start === text.length || text[start] === ';') {
      at = start // RFC 9110 §5.6.6: a parameter may be empty
      continue
    }
    const equals = text.indexOf('=', start)
    const name = text.slice(start, equals).trim().toLowerCase()
    if (equals === -1 || !isToken(name)) throw malformed('a parameter has no name or no value')
    at = readValue(text, skipBlanks(text, equals + 1), name, parameters)
  }
  return parameters
}

/** Adds the parameter whose value begins at `start`, and returns where the value ends. */
function readValue(text: string, start: number, name: string, parameters: Parameter[]): number {
  if (text.charCodeAt(start) !== QUOTE) {
    const semicolon = text.indexOf(';', start)
    const end = semicolon === -1 ? text.length : semicolon
    parameters.push({ name, value: text.slice(start, end).trim(), isQuoted: false })
    return end
  }
  const quote = findClosingQuote(text, start + 1)
  parameters.push({ name, value: text.slice(start + 1, quote), isQuoted: true })
  const end = skipBlanks(text, quote + 1)
  if (end < text.length && text[end] !== ';') throw malformed('text follows a quoted value')
  return end
}

function findClosingQuote(text: string, start: number): number {
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) return at
    if (code === BACKSLASH) at++
  }
  throw malformed('a quoted value does not end')
}

function skipBlanks(text: string, start: number): number {
  let at = start
  while (text[at] === ' ' || text[at] === '\t') at++
  return at
}

function malformed(detail: string): HttpError {
  return new HttpError('malformed_form', { detail })
}
