import type { Slice } from './upload.ts'

const MOST_GAPS = 20 // of missing slices that are spelled out

/** Finds the numbers of slices that are missing between others, or before them: `3`, `7-8`. */
export function findGaps(slices: readonly Slice[]): string[] {
  const gaps: string[] = []
  let expected = 0
  for (const { number } of slices) {
    if (number - expected === 1) gaps.push(String(expected))
    else if (number > expected) gaps.push(`${expected}-${number - 1}`)
    expected = number + 1
  }
  return gaps.length > MOST_GAPS ? [...gaps.slice(0, MOST_GAPS), '…'] : gaps
}

/** Names the slices behind those that have arrived. */
export function whatFollows(slices: readonly Slice[]): string {
  return `${(slices.at(-1)?.number ?? -1) + 1} and what follows`
}

/** Puts gaps into words: `slices 3, 7-8`. */
export function describeMissing(gaps: readonly string[]): string {
  const isOne = gaps.length === 1 && /^\d+$/.test(gaps[0] ?? '')
  return `slice${isOne ? '' : 's'} ${gaps.join(', ')}`
}
