/** Formats rows in columns, the first row being the head. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd())
}

/** Writes a text as a shell reads it. */
export function quote(text: string): string {
  return /^[\w.@/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

/** Writes a text as a shell such as bash reads it in ASCII, where what it is cannot be seen. */
export function quoteBytes(text: string): string {
  return `$'${text.replace(/[^ \w.,@/-]/gu, (character) => Buffer.from(character).toString('hex').replace(/../g, '\\x$&'))}'`
}

/** Makes a text from outside safe to show: names come from participants, and none may move the cursor or colour the terminal. */
export function plain(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?')
}
