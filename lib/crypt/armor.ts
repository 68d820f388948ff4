import { AgeError } from './age-error.ts'

const BEGIN = '-----BEGIN AGE ENCRYPTED FILE-----'
const END = '-----END AGE ENCRYPTED FILE-----'
const COLUMNS = 64

/** Writes bytes as text (c2sp.org/age, "ASCII armor"; RFC 7468 §3). */
export function formatArmor(bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `${[BEGIN, ...lines, END].join('\n')}\n`
}

/** Reads armored text; white space may stand around it, nothing else. Throws an `AgeError`. */
export function parseArmor(text: string): Buffer {
  const lines = text.trim().split(/\r?\n/)
  const content = lines.slice(1, -1)
  const isFull = content.every((line, index) => line.length === COLUMNS || (index === content.length - 1 && line.length < COLUMNS && line !== ''))
  const bytes = Buffer.from(content.join(''), 'base64')
  if (lines[0] !== BEGIN || lines.at(-1) !== END || !isFull || bytes.toString('base64') !== content.join('')) {
    throw new AgeError(`the armored text must run from ${BEGIN} to ${END}, unchanged`)
  }
  return bytes
}
