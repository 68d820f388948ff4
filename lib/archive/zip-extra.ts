import { ONES_32, readSafe64 } from './zip-number.ts'

const ZIP64 = 0x0001

/**
 * Finds the data of an extra field by its number (APPNOTE 4.5); undefined where there is none.
 * What stands after a field that claims more bytes than there are is passed over, as other readers do.
 */
export function findExtra(extra: Buffer, id: number): Buffer | undefined {
  for (let at = 0; at + 4 <= extra.length; ) {
    const end = at + 4 + extra.readUInt16LE(at + 2)
    if (end > extra.length) return undefined
    if (extra.readUInt16LE(at) === id) return extra.subarray(at + 4, end)
    at = end
  }
  return undefined
}

/**
 * Gives the numbers of a header in full: those that are all ones stand in the zip64 extra field instead, in the same
 * order (APPNOTE 4.5.3). Undefined where one is missing there, or is larger than any file.
 * @param values uncompressed bytes, compressed bytes and, in the directory only, the offset
 */
export function widen(values: readonly number[], extra: Buffer): number[] | undefined {
  if (!values.includes(ONES_32)) return [...values]
  const field = findExtra(extra, ZIP64)
  if (field === undefined) return undefined
  const wide: number[] = []
  let at = 0
  for (const value of values) {
    const full = value !== ONES_32 ? value : at + 8 <= field.length ? readSafe64(field, at) : undefined
    if (full === undefined) return undefined
    if (value === ONES_32) at += 8
    wide.push(full)
  }
  return wide
}
