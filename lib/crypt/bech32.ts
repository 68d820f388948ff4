import { AgeError } from './age-error.ts'

// BIP 173, without its limit of 90 characters, as c2sp.org/age asks.
const ALPHABET = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'
const GENERATORS = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3] as const
const CHECKSUM_LENGTH = 6

/** Writes bytes as a Bech32 string in lower case (BIP 173). */
export function formatBech32(prefix: string, bytes: Uint8Array): string {
  const values = regroup(bytes, 8, 5)
  const sum = polymod([...expand(prefix), ...values, ...Array<number>(CHECKSUM_LENGTH).fill(0)]) ^ 1
  const checksum = Array.from({ length: CHECKSUM_LENGTH }, (_, index) => (sum >>> (5 * (CHECKSUM_LENGTH - 1 - index))) & 31)
  return `${prefix}1${[...values, ...checksum].map((value) => ALPHABET[value]).join('')}`
}

/** Reads a Bech32 string, all in lower or all in upper case (BIP 173). Throws an `AgeError`. */
export function parseBech32(text: string): { readonly prefix: string; readonly bytes: Buffer } {
  const lower = text.toLowerCase()
  if (text !== lower && text !== text.toUpperCase()) throw new AgeError('upper and lower case are mixed')
  const end = lower.lastIndexOf('1')
  if (end < 1 || lower.length - end - 1 < CHECKSUM_LENGTH || !/^[\x21-\x7e]+$/.test(lower)) throw new AgeError('it is not whole')
  const prefix = lower.slice(0, end)
  const values = Array.from(lower.slice(end + 1), (character) => ALPHABET.indexOf(character))
  if (values.includes(-1)) throw new AgeError('it has a character that does not belong there')
  if (polymod([...expand(prefix), ...values]) !== 1) throw new AgeError('its checksum does not match: it was mistyped or cut')
  return { prefix, bytes: joinBytes(values.slice(0, -CHECKSUM_LENGTH)) }
}

function expand(prefix: string): number[] {
  const codes = Array.from(prefix, (character) => character.charCodeAt(0))
  return [...codes.map((code) => code >>> 5), 0, ...codes.map((code) => code & 31)]
}

function polymod(values: readonly number[]): number {
  let sum = 1
  for (const value of values) {
    const top = sum >>> 25
    sum = ((sum & 0x1ffffff) << 5) ^ value
    for (const [index, generator] of GENERATORS.entries()) if ((top >>> index) & 1) sum ^= generator
  }
  return sum
}

function joinBytes(values: readonly number[]): Buffer {
  const spare = (values.length * 5) % 8
  const isCanonical = spare < 5 && ((values.at(-1) ?? 0) & ((1 << spare) - 1)) === 0
  if (!isCanonical) throw new AgeError('it is not whole')
  return Buffer.from(regroup(values, 5, 8).slice(0, (values.length * 5) >>> 3))
}

// Reads groups of bits as groups of another size; the last one is filled with zero bits.
function regroup(values: Iterable<number>, from: number, to: number): number[] {
  const groups: number[] = []
  let bits = 0
  let held = 0
  for (const value of values) {
    held = (held << from) | value
    bits += from
    for (; bits >= to; bits -= to) groups.push((held >>> (bits - to)) & ((1 << to) - 1))
    held &= (1 << bits) - 1
  }
  if (bits > 0) groups.push((held << (to - bits)) & ((1 << to) - 1))
  return groups
}
