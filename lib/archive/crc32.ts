import * as zlib from 'node:zlib'

/**
 * Computes the CRC-32 of zip and PNG (APPNOTE 4.4.7) of data in pieces.
 * @param before the result for the pieces before this one, 0 at the start
 */
export const crc32: (data: Uint8Array, before: number) => number =
  typeof zlib.crc32 === 'function' ? zlib.crc32 : tableCrc32 // node:zlib has it since 20.15

/** Computes the same without the help of node:zlib, at a few hundred megabytes a second. */
export function tableCrc32(data: Uint8Array, before: number): number {
  let crc = ~before
  for (let at = 0; at < data.length; at++) crc = (TABLE[(crc ^ (data[at] ?? 0)) & 0xff] ?? 0) ^ (crc >>> 8)
  return ~crc >>> 0
}

const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  return crc
})
