/** The name of a log, without its extension. */
export type LogName = 'console' | 'access' | 'error'

/** Where the lines of a log go. */
export interface LogSink {
  open(): Promise<void>
  append(line: string): void
  appendNow(line: string): void
  keepAtHead(line: string): void
  reopen(): Promise<void>
  close(): Promise<void>
}

/** Takes a line to the process that writes the files. */
export type Relay = (name: LogName, line: string) => void

/** A log that another process writes: a file with one writer is turned once, and loses no line when it is. */
export class RelayedFile implements LogSink {
  readonly #name: LogName
  readonly #relay: Relay

  constructor(name: LogName, relay: Relay) {
    this.#name = name
    this.#relay = relay
  }

  /** Has nothing to open. */
  async open(): Promise<void> {}

  /** Takes the line on its way. */
  append(line: string): void {
    this.#relay(this.#name, line)
  }

  /** Takes the line on its way. */
  appendNow(line: string): void {
    this.#relay(this.#name, line)
  }

  /** Is for the process that writes the files. */
  keepAtHead(): void {}

  /** Is for the process that writes the files. */
  async reopen(): Promise<void> {}

  /** Has nothing to close. */
  async close(): Promise<void> {}
}
