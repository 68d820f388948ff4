import type { Relay } from './log-relay.ts'
import type { Family } from './metrics/family.ts'

/** What only the process knows. */
export interface Runtime {
  /** Writes a line to standard output. */
  readonly print: (line: string) => void
  readonly version: string
  readonly nodeVersion: string
  readonly residentBytes: () => number
  readonly cpuSeconds: () => number
  /** Descriptors of listening sockets that were passed to this process; they stand in for host and port. */
  readonly sockets: readonly number[]
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Ends the processes of a group at once. */
  readonly killGroup: (pid: number) => void
  /** What another process does for all, where this is one of several. */
  readonly primary?: Primary
}

/** What the first of several processes does for the others. */
export interface Primary {
  /** Writes the lines of the logs. */
  readonly writeLine: Relay
  /** Is told of a submission that failed through our fault, and sends the alerts. */
  readonly noteFailure: (code: string, requestId: string) => void
  /** Gives what all of them have counted and measured. Throws `too_busy` where that takes too long. */
  readonly readMetrics: () => Promise<readonly Family[]>
}
