const PROJECT = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/

/**
 * Says whether `text` may name a project: 1 to 100 characters of `A–Z a–z 0–9 . _ -`, beginning with a letter, a digit
 * or an underscore. Such a name is also a safe path segment: it is never `.` or `..` and holds no separator.
 */
export function isProject(text: string): boolean {
  return PROJECT.test(text)
}
