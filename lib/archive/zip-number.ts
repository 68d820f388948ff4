/** What stands in a field of 16 bits whose value stands elsewhere in 64 (APPNOTE 4.4.1.4). */
export const ONES_16 = 0xffff

/** The same in a field of 32 bits. */
export const ONES_32 = 0xffffffff

/** Reads a number of 64 bits; undefined where it is above 2^53 - 1, which no size of a file is. */
export function readSafe64(bytes: Buffer, at: number): number | undefined {
  const value = bytes.readBigUInt64LE(at)
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined
}
