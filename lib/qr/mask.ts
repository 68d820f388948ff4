/** ISO/IEC 18004 table 10: where each mask turns a module over. */
export const MASKS: readonly ((row: number, column: number) => boolean)[] = [
  (row, column) => (row + column) % 2 === 0,
  (row) => row % 2 === 0,
  (_, column) => column % 3 === 0,
  (row, column) => (row + column) % 3 === 0,
  (row, column) => (Math.floor(row / 2) + Math.floor(column / 3)) % 2 === 0,
  (row, column) => ((row * column) % 2) + ((row * column) % 3) === 0,
  (row, column) => (((row * column) % 2) + ((row * column) % 3)) % 2 === 0,
  (row, column) => (((row + column) % 2) + ((row * column) % 3)) % 2 === 0,
]

type Rows = readonly (readonly boolean[])[]

/** Says how badly a symbol reads: less is better (ISO/IEC 18004 §7.8.3.1). */
export function penaltyOf(rows: Rows): number {
  const columns = rows.map((_, column) => rows.map((row) => row[column] ?? false))
  const lines = [...rows, ...columns].map((line) => line.map((isDark) => (isDark ? '1' : '0')).join(''))
  return lines.reduce((sum, line) => sum + runs(line) + finderLikes(line), 0) + squares(rows) + imbalance(lines.slice(0, rows.length).join(''))
}

function runs(line: string): number {
  return [...line.matchAll(/0{5,}|1{5,}/g)].reduce((sum, [run]) => sum + run.length - 2, 0)
}

function finderLikes(line: string): number {
  return 40 * [...line.matchAll(/(?=00001011101|10111010000)/g)].length
}

function squares(rows: Rows): number {
  let count = 0
  for (const [index, row] of rows.entries()) {
    const next = rows[index + 1]
    if (next === undefined) break
    for (let column = 1; column < row.length; column++) {
      const isDark = row[column]
      if (row[column - 1] === isDark && next[column] === isDark && next[column - 1] === isDark) count++
    }
  }
  return 3 * count
}

function imbalance(modules: string): number {
  const dark = modules.replaceAll('0', '').length / modules.length
  return 10 * Math.floor(Math.abs(dark - 0.5) * 20)
}
