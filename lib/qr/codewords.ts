import { correctionOf } from './reed-solomon.ts'

// ISO/IEC 18004 table 9, level M: for each version from 1 on, codewords for correction in a block, and blocks.
const CORRECTION = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26, 26, ...Array<number>(19).fill(28)]
const BLOCKS = [
  1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16, 17, 17, 18, 20, 21, 23, 25, 26, 28, 29, 31, 33, 35, 37, 38, 40, 43, 45, 47, 49,
]
const BYTE_MODE = 0b0100 // table 2
const PADDING = [0xec, 0x11] // §7.4.10

/** The codewords of a symbol, in the order in which they are placed. */
export interface Codewords {
  readonly version: number
  readonly bytes: Uint8Array
}

/** Writes bytes as the codewords of the smallest version that holds them, level M. Throws a `RangeError` above 2331 bytes. */
export function encodeCodewords(content: Uint8Array): Codewords {
  const version = BLOCKS.findIndex((_, index) => 4 + lengthBits(index + 1) + 8 * content.length <= 8 * dataCapacity(index + 1)) + 1
  if (version === 0) throw new RangeError(`${content.length} bytes are too many for a QR code`)
  return { version, bytes: interleave(version, frame(version, content)) }
}

/** Positions of the centres of the alignment patterns, in modules; the same on both axes (annex E). */
export function alignmentCentres(version: number): number[] {
  if (version === 1) return []
  const count = Math.floor(version / 7) + 2
  const step = version === 32 ? 26 : 2 * Math.ceil((version * 4 + 4) / (count * 2 - 2))
  const last = version * 4 + 10
  return [6, ...Array.from({ length: count - 1 }, (_, index) => last - (count - 2 - index) * step)]
}

// Modules that are left for codewords, in whole codewords (table 1).
function capacity(version: number): number {
  const size = version * 4 + 17
  const perAxis = alignmentCentres(version).length
  const alignment = perAxis === 0 ? 0 : (perAxis * perAxis - 3) * 25 - (perAxis - 2) * 2 * 5 // those on the timing lines share 5 modules
  const fixed = 3 * 64 + 2 * (size - 16) + alignment + 31 + (version >= 7 ? 36 : 0)
  return Math.floor((size * size - fixed) / 8)
}

function dataCapacity(version: number): number {
  return capacity(version) - (CORRECTION[version - 1] ?? 0) * (BLOCKS[version - 1] ?? 0)
}

function lengthBits(version: number): number {
  return version < 10 ? 8 : 16 // table 3
}

// Mode, length, content, terminator, padding.
function frame(version: number, content: Uint8Array): Uint8Array {
  const bits: number[] = []
  const push = (value: number, count: number) => {
    for (let bit = count - 1; bit >= 0; bit--) bits.push((value >>> bit) & 1)
  }
  push(BYTE_MODE, 4)
  push(content.length, lengthBits(version))
  for (const byte of content) push(byte, 8)
  const total = dataCapacity(version)
  push(0, Math.min(4, total * 8 - bits.length))
  push(0, -bits.length & 7)
  const data = new Uint8Array(total)
  for (const [index, bit] of bits.entries()) data[index >>> 3] = (data[index >>> 3] ?? 0) | (bit << (7 - (index & 7)))
  for (let index = bits.length >>> 3, turn = 0; index < total; index++, turn ^= 1) data[index] = PADDING[turn] ?? 0
  return data
}

// §7.6: the blocks take turns, the longer ones last; then their correction.
function interleave(version: number, data: Uint8Array): Uint8Array {
  const count = BLOCKS[version - 1] ?? 0
  const short = Math.floor(data.length / count)
  const longer = data.length % count
  const starts = Array.from({ length: count + 1 }, (_, index) => index * short + Math.max(0, index - (count - longer)))
  const blocks = starts.slice(0, -1).map((start, index) => data.subarray(start, starts[index + 1]))
  const corrections = blocks.map((block) => correctionOf(block, CORRECTION[version - 1] ?? 0))
  return Uint8Array.from([...takeTurns(blocks), ...takeTurns(corrections)])
}

function takeTurns(rows: readonly Uint8Array[]): number[] {
  const longest = Math.max(...rows.map((row) => row.length))
  return Array.from({ length: longest }, (_, index) => rows.flatMap((row) => (index < row.length ? [row[index] ?? 0] : []))).flat()
}
