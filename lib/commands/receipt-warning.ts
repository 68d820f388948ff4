import { formatCount } from './units.ts'

/** Warns of receipts that cannot be read, where there are any: what they say of files and participants is not known. */
export function warnOfReceipts(project: string, unreadable: number, print: (line: string) => void): void {
  if (unreadable === 0) return
  print(`WARNING: ${formatCount(unreadable, 'receipt')} of ${project} cannot be read (run verify). The files that they named count as files without a receipt.`)
}
