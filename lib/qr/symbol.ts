import { alignmentCentres, type Codewords } from './codewords.ts'
import { MASKS, penaltyOf } from './mask.ts'

const LEVEL_M = 0b00 // ISO/IEC 18004 table 12

/** A QR code: rows of modules, true where they are dark, without the quiet zone. */
export type Modules = readonly (readonly boolean[])[]

/** Draws the symbol of codewords, under the mask that reads best (ISO/IEC 18004 §7.7 to §7.10). */
export function drawSymbol(codewords: Codewords): Modules {
  const candidates = MASKS.map((_, mask) => {
    const { modules } = new Drawing(codewords, mask)
    return { modules, penalty: penaltyOf(modules) }
  })
  return candidates.reduce((best, each) => (each.penalty < best.penalty ? each : best)).modules
}

class Drawing {
  readonly modules: boolean[][]
  readonly #isFixed: boolean[][]
  readonly #size: number

  constructor({ version, bytes }: Codewords, mask: number) {
    this.#size = version * 4 + 17
    const field = () => Array.from({ length: this.#size }, () => Array<boolean>(this.#size).fill(false))
    this.modules = field()
    this.#isFixed = field()
    this.#drawFixed(version, mask)
    this.#place(bytes, mask)
  }

  #set(row: number, column: number, isDark: boolean): void {
    const [modules, isFixed] = [this.modules[row], this.#isFixed[row]]
    if (modules === undefined || isFixed === undefined || column < 0 || column >= this.#size) return // beyond the edge
    modules[column] = isDark
    isFixed[column] = true
  }

  #drawFixed(version: number, mask: number): void {
    const end = this.#size - 1
    for (let at = 0; at <= end; at++) {
      this.#set(6, at, at % 2 === 0) // timing, §6.3.5
      this.#set(at, 6, at % 2 === 0)
    }
    const centres = alignmentCentres(version)
    const last = centres.at(-1)
    for (const row of centres) {
      for (const column of centres) {
        const isFinder = (row === 6 && (column === 6 || column === last)) || (row === last && column === 6)
        if (!isFinder) this.#drawRings(row, column, 2, [0, 2]) // §6.3.6
      }
    }
    for (const [row, column] of [[3, 3], [3, end - 3], [end - 3, 3]] as const) this.#drawRings(row, column, 4, [0, 1, 3]) // §6.3.3 and §6.3.4
    this.#drawFormat(mask)
    if (version >= 7) this.#drawVersion(version)
  }

  #drawRings(row: number, column: number, radius: number, dark: readonly number[]): void {
    for (let down = -radius; down <= radius; down++) {
      for (let right = -radius; right <= radius; right++) this.#set(row + down, column + right, dark.includes(Math.max(Math.abs(down), Math.abs(right))))
    }
  }

  // §7.9: level and mask with a BCH code, twice.
  #drawFormat(mask: number): void {
    const end = this.#size - 1
    const bits = withRemainder((LEVEL_M << 3) | mask, 10, 0x537) ^ 0x5412
    for (let index = 0; index < 15; index++) {
      const isDark = ((bits >>> index) & 1) === 1
      const near = index < 6 ? index : index < 8 ? index + 1 : 14 - index
      if (index < 8) this.#set(near, 8, isDark)
      else this.#set(8, index === 8 ? 7 : near, isDark)
      if (index < 8) this.#set(8, end - index, isDark)
      else this.#set(end - 14 + index, 8, isDark)
    }
    this.#set(end - 7, 8, true)
  }

  // §7.10: the version with a BCH code, twice.
  #drawVersion(version: number): void {
    const bits = withRemainder(version, 12, 0x1f25)
    for (let index = 0; index < 18; index++) {
      const isDark = ((bits >>> index) & 1) === 1
      const [far, near] = [this.#size - 11 + (index % 3), Math.floor(index / 3)]
      this.#set(far, near, isDark)
      this.#set(near, far, isDark)
    }
  }

  // §7.7.3: pairs of columns from the right, upwards and downwards in turn, past the vertical timing line.
  #place(bytes: Uint8Array, mask: number): void {
    let bit = 0
    let isUp = true
    for (let right = this.#size - 1; right > 0; right -= 2, isUp = !isUp) {
      if (right === 6) right = 5
      for (let step = 0; step < this.#size; step++) {
        const row = isUp ? this.#size - 1 - step : step
        for (const column of [right, right - 1]) {
          const [modules, isFixed] = [this.modules[row], this.#isFixed[row]]
          if (modules === undefined || isFixed?.[column] !== false) continue
          const isDark = (((bytes[bit >>> 3] ?? 0) >>> (7 - (bit & 7))) & 1) === 1 // what is left over is light
          modules[column] = isDark !== (MASKS[mask]?.(row, column) ?? false)
          bit++
        }
      }
    }
  }
}

// Appends the remainder of a division by a generator (annexes C and D).
function withRemainder(value: number, bits: number, generator: number): number {
  let remainder = value
  for (let step = 0; step < bits; step++) remainder = (remainder << 1) ^ ((remainder >>> (bits - 1)) * generator)
  return (value << bits) | remainder
}
