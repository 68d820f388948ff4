import type { EntryFields } from '../audit/entry.ts'

/** What a command works with besides its arguments. */
export interface Output {
  /** Writes a line to standard output. */
  readonly print: (line: string) => void
  /** Writes bytes as they are to standard output; fulfils when more may come. */
  readonly write: (bytes: Buffer) => Promise<void>
  /** Writes a line for a person to standard error. */
  readonly tell: (line: string) => void
  /** Gives what comes on standard input. */
  readonly input: () => AsyncIterable<Buffer>
  /** Says what the record of access is to hold of this call beside how it began: counts, a project, first digits of tokens. */
  readonly note: (fields: EntryFields) => void
  /** Shows a line in the place of the one before it; undefined where nobody watches a terminal. */
  readonly showProgress: ((line: string) => void) | undefined
  /** Says what standard error tells where a signal ends the command: Ctrl-C, or one that asks it to end. */
  readonly ifInterrupted: (line: string) => void
  /** What a person calls to run this program: `reproschema-backend` where it is installed. */
  readonly program: string
  readonly version: string
  /** As Node writes it, `v20.11.0`. */
  readonly nodeVersion: string
  /** The user who runs the command; undefined where the system has none. */
  readonly userId: number | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
}
