/** Writes a text as Markdown code, which shows it as it is, whatever it holds (CommonMark §6.1); characters that no page shows become `?`. */
export function code(text: string): string {
  const shown = text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?')
  const longest = Math.max(0, ...[...shown.matchAll(/`+/g)].map(([run]) => run.length))
  const fence = '`'.repeat(longest + 1)
  const pad = /^`|`$|^ .*[^ ].* $/.test(shown) ? ' ' : '' // a reader takes one blank off both ends, unless there are only blanks
  return shown === '' ? '(empty)' : `${fence}${pad}${shown}${pad}${fence}`
}

/** Writes a text of ours, in which others' words are code, with what Markdown would read as something else escaped. */
export function escape(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?').replace(/[\\`*_{}[\]<>#|~&]/g, '\\$&')
}

/** Writes a table (GitHub Flavored Markdown §4.10). A bar in a cell is escaped, also within code. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)]
}
