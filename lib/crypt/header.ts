import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import { AgeError } from './age-error.ts'
import { formatBase64, parseBase64 } from './base64.ts'
import type { Stanza } from './stanza.ts'

const VERSION_LINE = 'age-encryption.org/v1\n'
const COLUMNS = 64
const ROW_BYTES = COLUMNS + 1 // with the end of its line
const PADDING = 'reproschema-padding'
const MAC_CHARACTERS = 43
const MAX_HEADER_BYTES = 64 * 1024 // one of several hundred recipients is shorter

/** What stands before the payload. */
export interface Header {
  readonly stanzas: readonly Stanza[]
  /** Bytes from the start of the file to the payload. */
  readonly length: number
  /** Says whether the header is as it was written by somebody who knew the file key. */
  readonly isAuthentic: (fileKey: Buffer) => boolean
}

/** Writes a header (c2sp.org/age, "Header"). */
export function formatHeader(fileKey: Buffer, stanzas: readonly Stanza[]): Buffer {
  const text = `${VERSION_LINE}${stanzas.map(formatStanza).join('')}---`
  return Buffer.from(`${text} ${formatBase64(macOf(fileKey, text))}\n`, 'latin1')
}

/**
 * Writes a header of exactly so many bytes: its last stanza is of a type that nobody knows and everybody passes over
 * (c2sp.org/age, "Recipient stanza"). Throws an `AgeError` where there is no room for it.
 */
export function formatPaddedHeader(fileKey: Buffer, stanzas: readonly Stanza[], bytes: number): Buffer {
  const least = formatHeader(fileKey, [...stanzas, paddingOf(1, 0)]).length
  const left = bytes - least
  if (left < 0) throw new AgeError(`a header of ${bytes} bytes has no room for ${stanzas.length} recipients`)
  const rows = Math.floor(left / ROW_BYTES)
  return formatHeader(fileKey, [...stanzas, paddingOf(1 + left - rows * ROW_BYTES, rows)])
}

/**
 * Reads a header from the first bytes of a file; undefined where more bytes are needed.
 * Throws an `AgeError` where it is none, or is longer than 64 KiB.
 */
export function parseHeader(bytes: Buffer): Header | undefined {
  const text = bytes.toString('latin1', 0, MAX_HEADER_BYTES)
  const begin = text.slice(0, VERSION_LINE.length)
  if (!VERSION_LINE.startsWith(begin)) throw new AgeError('it is not an age file of version 1')
  const lastLine = text.indexOf('\n---') + 1 // no line before it may begin so
  const end = lastLine === 0 ? -1 : text.indexOf('\n', lastLine)
  if (end < 0 && bytes.length >= MAX_HEADER_BYTES) throw new AgeError('its header is too long')
  if (end < 0) return undefined
  const stanzas = parseStanzas(text.slice(VERSION_LINE.length, lastLine).split('\n').slice(0, -1))
  const [, mac] = /^--- (.*)$/s.exec(text.slice(lastLine, end)) ?? []
  const macBytes = mac?.length === MAC_CHARACTERS ? parseBase64(mac) : undefined
  if (stanzas.length === 0 || macBytes === undefined) throw malformed()
  const signed = text.slice(0, lastLine + 3)
  return { stanzas, length: end + 1, isAuthentic: (fileKey) => timingSafeEqual(macOf(fileKey, signed), macBytes) }
}

// So many full lines of nothing, and an empty one. What is less than a line is the length of the argument.
function paddingOf(argLength: number, rows: number): Stanza {
  return { args: [PADDING, '-'.repeat(argLength)], body: Buffer.alloc((rows * COLUMNS * 3) / 4) }
}

function formatStanza({ args, body }: Stanza): string {
  const text = formatBase64(body)
  const rows = Math.floor(text.length / COLUMNS) + 1 // the last is shorter than the others, and may be empty
  const lines = Array.from({ length: rows }, (_, index) => text.slice(index * COLUMNS, (index + 1) * COLUMNS))
  return `-> ${args.join(' ')}\n${lines.join('\n')}\n`
}

function parseStanzas(lines: readonly string[]): Stanza[] {
  const stanzas: Stanza[] = []
  for (let at = 0; at < lines.length; ) {
    const argLine = lines[at++] ?? ''
    if (!/^->(?: [\x21-\x7e]+)+$/.test(argLine)) throw malformed()
    const last = lines.findIndex((line, index) => index >= at && line.length < COLUMNS)
    const rows = lines.slice(at, last + 1)
    const body = rows.every((row) => row.length <= COLUMNS) ? parseBase64(rows.join('')) : undefined
    if (last < 0 || body === undefined) throw malformed()
    stanzas.push({ args: argLine.slice(3).split(' '), body })
    at = last + 1
  }
  return stanzas
}

function macOf(fileKey: Buffer, signed: string): Buffer {
  const key = Buffer.from(hkdfSync('sha256', fileKey, '', 'header', 32))
  return createHmac('sha256', key).update(signed, 'latin1').digest()
}

function malformed(): AgeError {
  return new AgeError('its header is malformed')
}
