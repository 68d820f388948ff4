// ISO/IEC 18004 §7.5.2: arithmetic in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1.
const FIELD = 0x11d
const POWERS = new Uint8Array(255)
const LOGARITHMS = new Uint8Array(256)
for (let exponent = 0, value = 1; exponent < 255; exponent++) {
  POWERS[exponent] = value
  LOGARITHMS[value] = exponent
  value <<= 1
  if (value > 255) value ^= FIELD
}

function multiply(a: number, b: number): number {
  if (a === 0 || b === 0) return 0
  return POWERS[((LOGARITHMS[a] ?? 0) + (LOGARITHMS[b] ?? 0)) % 255] ?? 0
}

/** Gives the error correction codewords of a block of data codewords: the remainder of its division by the generator. */
export function correctionOf(data: Uint8Array, count: number): Uint8Array {
  const generator = generatorOf(count)
  const remainder = new Uint8Array(count)
  for (const codeword of data) {
    const factor = codeword ^ (remainder[0] ?? 0)
    remainder.copyWithin(0, 1)
    remainder[count - 1] = 0
    for (const [index, coefficient] of generator.entries()) remainder[index] = (remainder[index] ?? 0) ^ multiply(coefficient, factor)
  }
  return remainder
}

// The product of (x - 2^i) for i from 0 to below `degree`, without its leading coefficient, which is 1.
function generatorOf(degree: number): Uint8Array {
  const coefficients = new Uint8Array(degree)
  coefficients[degree - 1] = 1
  for (let exponent = 0; exponent < degree; exponent++) {
    const root = POWERS[exponent] ?? 0
    for (let index = 0; index < degree; index++) {
      coefficients[index] = multiply(coefficients[index] ?? 0, root) ^ (coefficients[index + 1] ?? 0)
    }
  }
  return coefficients
}
