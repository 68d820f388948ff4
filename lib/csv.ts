/**
 * Writes one row of a CSV file (RFC 4180), with the CRLF that ends it. Text that a spreadsheet would run as a formula
 * gets an apostrophe in front, and so does text that begins with one: taking one off gives every text back. Undefined is
 * an empty cell.
 */
export function formatCsvRow(cells: readonly (string | number | undefined)[]): string {
  return `${cells.map(formatCell).join(',')}\r\n`
}

// Excel and LibreOffice run a cell that begins with one of these, but for the apostrophe; some languages of Excel also the
// wide forms. -3.5 is only a number.
const MARKED = /^['=+\-@\t\r\n＝＋－＠]/
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/

function formatCell(cell: string | number | undefined, _index: number, row: readonly unknown[]): string {
  const given = cell === undefined ? '' : String(cell)
  const text = MARKED.test(given) && !NUMBER.test(given) ? `'${given}` : given
  // A row of one empty cell would be an empty line, which readers pass over.
  if (/[",\r\n]/.test(text) || (text === '' && row.length === 1)) return `"${text.replaceAll('"', '""')}"`
  return text
}
