import { encodeCodewords } from './codewords.ts'
import { drawSymbol } from './symbol.ts'

const QUIET_MODULES = 4 // ISO/IEC 18004 §6.3.8

/** The longest text that a QR code of level M holds, in bytes (ISO/IEC 18004 table 7). */
export const MAX_TEXT_BYTES = 2331

/** Draws text as a QR code, an SVG element of square shape, with its quiet zone. Throws a `RangeError` above `MAX_TEXT_BYTES`. */
export function formatQrCode(text: string): string {
  const modules = drawSymbol(encodeCodewords(Buffer.from(text)))
  const size = modules.length + 2 * QUIET_MODULES
  const path = modules.flatMap((row, y) => {
    const runs = [...row.map((isDark) => (isDark ? '1' : '0')).join('').matchAll(/1+/g)]
    return runs.map(({ index, 0: { length } }) => `M${index + QUIET_MODULES} ${y + QUIET_MODULES}h${length}v1h-${length}z`)
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h${size}v${size}H0z"/><path d="${path.join('')}"/></svg>`
}
