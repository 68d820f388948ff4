import { crc32 } from './crc32.ts'
import { findExtra } from './zip-extra.ts'

const UTF8_FLAG = 0x800
const UNICODE_PATH = 0x7075
const UNIX = [3, 19] // 19 is macOS
const MAX_NAME_BYTES = 1024 // of the 4096 of a path in Linux
const MAX_SEGMENT_BYTES = 255 // NAME_MAX of ext4, XFS and APFS

// The upper half of code page 437, which names are in where nothing else is said (APPNOTE D.1).
const CP437 =
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐' +
  '└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0'

/** What a header of the directory says of how its name is written. */
export interface NameContext {
  readonly flags: number
  readonly extra: Buffer
  /** The system that the archive was made on (APPNOTE 4.4.2). */
  readonly madeOn: number
}

/**
 * Decodes the name of an entry: UTF-8 by flag or by extra field, else code page 437, but for archives made on Unix: zip
 * and macOS write UTF-8 there without saying so.
 * @returns undefined where it is not the UTF-8 that it is said to be
 */
export function decodeName(raw: Buffer, { flags, extra, madeOn }: NameContext): string | undefined {
  if ((flags & UTF8_FLAG) !== 0) return decodeUtf8(raw)
  const unicode = findExtra(extra, UNICODE_PATH)
  // APPNOTE 4.6.9: the field holds only for the name that it was made of.
  if (unicode !== undefined && unicode.length >= 5 && unicode[0] === 1 && unicode.readUInt32LE(1) === crc32(raw, 0)) {
    return decodeUtf8(unicode.subarray(5))
  }
  return (UNIX.includes(madeOn) ? decodeUtf8(raw) : undefined) ?? decodeCp437(raw)
}

/** Says what is wrong with a name, where it is not a plain path below the directory that the archive is unpacked in. */
export function findNameProblem(name: string): string | undefined {
  if (name === '') return 'The entry has no name.'
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) return 'The name of the entry is too long.'
  if (/[\0-\x1f\x7f-\x9f]/.test(name)) return 'The name of the entry has control characters in it.'
  if (name.includes('\\')) return 'The name of the entry has a backslash in it.'
  if (name.startsWith('/') || /^[A-Za-z]:/.test(name)) return 'The name of the entry is an absolute path.'
  const segments = withoutSlash(name).split('/')
  if (segments.includes('..')) return 'The name of the entry leads out of the archive.'
  if (segments.includes('.') || segments.includes('')) return 'The name of the entry is not a plain path.'
  const isTooLong = segments.some((segment) => Buffer.byteLength(segment) > MAX_SEGMENT_BYTES)
  return isTooLong ? 'The name of the entry is too long.' : undefined
}

/** The path that a name stands for: without the slash that marks a folder (APPNOTE 4.4.17). */
export function withoutSlash(name: string): string {
  return name.endsWith('/') ? name.slice(0, -1) : name
}

function decodeUtf8(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}

function decodeCp437(bytes: Buffer): string {
  return Array.from(bytes, (byte) => (byte < 0x80 ? String.fromCharCode(byte) : CP437[byte - 0x80])).join('')
}
