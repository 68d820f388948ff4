/** Writes a text as a shell reads it. */
export function quote(text: string): string {
  return /^[\w.@/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

/** Writes a text as a shell such as bash reads it in ASCII, where what it is cannot be seen. */
export function quoteBytes(text: string): string {
  return `$'${text.replace(/[^ \w.,@/-]/gu, (character) => Buffer.from(character).toString('hex').replace(/../g, '\\x$&'))}'`
}
