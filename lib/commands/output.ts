/** What a command works with besides its arguments. */
export interface Output {
  /** Writes a line to standard output. */
  readonly print: (line: string) => void
  /** Shows a line in the place of the one before it; undefined where nobody watches a terminal. */
  readonly showProgress: ((line: string) => void) | undefined
  /** As Node writes it, `v20.11.0`. */
  readonly nodeVersion: string
  readonly environment: Readonly<Record<string, string | undefined>>
}
