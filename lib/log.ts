import { join } from 'node:path'
import { LogFile } from './log-file.ts'
import { RelayedFile, type LogName, type LogSink, type Relay } from './log-relay.ts'

/** What is said beside an event: never a token, never an answer, never a participant's words. */
export type LogFields = Readonly<Record<string, string | number | undefined>>

/** One answered request, for the access log. */
export interface AccessLine {
  readonly answeredAtMs: number
  readonly address: string
  readonly method: string
  readonly target: string
  readonly httpVersion: string
  readonly status: number
  readonly bytes: number
  readonly referer: string | undefined
  readonly userAgent: string | undefined
}

/** What a log works with. */
export interface LogParts {
  readonly directory: string
  /** Writes a line to standard output. */
  readonly print: (line: string) => void
  /** Whether standard output shows everything. */
  readonly isVerbose: boolean
  /** The size at which a log file is turned before its week is over. */
  readonly limitBytes: number
  /** What no line of a request may show, whatever it looks like. */
  readonly adminToken: string
  /** Takes every line, where another process writes the files; that one announces, and this one does not. */
  readonly relay?: Relay | undefined
}

/** The server's logs: `console.log` for events, `access.log` for requests, `error.log` for what we did wrong. */
export class Log {
  readonly #console: LogSink
  readonly #access: LogSink
  readonly #error: LogSink
  readonly #parts: LogParts

  constructor(parts: LogParts) {
    const { directory, relay, limitBytes } = parts
    const open = (name: LogName) => {
      return relay === undefined ? new LogFile({ path: join(directory, `${name}.log`), limitBytes }) : new RelayedFile(name, relay)
    }
    this.#console = open('console')
    this.#access = open('access')
    this.#error = open('error')
    this.#parts = parts
  }

  /** Opens what `announceNow` writes to. */
  open(): Promise<void> {
    return this.#console.open()
  }

  /** Says something to whoever starts the server, as it stands; it is in the file before it is printed. */
  announceNow(line: string): void {
    if (this.#parts.relay !== undefined) return
    this.#console.appendNow(line)
    this.#parts.print(line)
  }

  /** Says something as `announceNow` does, and again at the head of each `console.log` that is begun from now on. */
  announceForGood(line: string): void {
    this.announceNow(line)
    this.#console.keepAtHead(line)
  }

  /** Says something to whoever started the server, as it stands. */
  announce(line: string): void {
    if (this.#parts.relay !== undefined) return
    this.#console.append(line)
    this.#parts.print(line)
  }

  /** Notes an event. */
  info(event: string, fields: LogFields = {}): void {
    this.#say(`${new Date().toISOString()} INFO ${event}${formatFields(fields)}`)
  }

  /** Notes something that we did wrong, with its stack. */
  error(event: string, error: unknown, fields: LogFields = {}): void {
    const line = `${new Date().toISOString()} ERROR ${event}${formatFields({ ...fields, stack: describe(error) })}`
    this.#say(line)
    this.#error.append(line)
  }

  /** Notes a request in the combined log format, without the query: tokens travel there. */
  access(line: AccessLine): void {
    const path = line.target.split(/[?&;=%]/)[0] ?? '' // a query that was mistyped or encoded is none the less one
    const request = `${line.method} ${this.#hide(path)} HTTP/${line.httpVersion}`
    const bytes = line.bytes === 0 ? '-' : String(line.bytes)
    const text =
      `${line.address} - - [${formatDate(line.answeredAtMs)}] "${plain(request)}" ${line.status} ${bytes} ` +
      `"${plain(originOf(line.referer))}" "${plain(this.#hide(line.userAgent ?? '-'))}"`
    this.#access.append(text)
    if (this.#parts.isVerbose) this.#parts.print(text)
  }

  /** Opens the files by their names again, for a program that has moved them away. */
  async reopen(): Promise<void> {
    await Promise.all([this.#console.reopen(), this.#access.reopen(), this.#error.reopen()])
  }

  /** Appends a line that another process has written for this one's files. */
  append(name: LogName, line: string): void {
    const files = { console: this.#console, access: this.#access, error: this.#error }
    files[name].append(line)
  }

  /** Writes what is waiting. */
  async close(): Promise<void> {
    await Promise.all([this.#console.close(), this.#access.close(), this.#error.close()])
  }

  #say(line: string): void {
    this.#console.append(line)
    if (this.#parts.isVerbose) this.#parts.print(line)
  }

  #hide(text: string): string {
    return text.replaceAll(this.#parts.adminToken, '(hidden)').replace(/[0-9a-f]{32,}/gi, '(hidden)')
  }
}

function formatFields(fields: LogFields): string {
  let text = ''
  for (const name in fields) {
    const value = fields[name]
    if (value !== undefined) text += ` ${name}=${quote(String(value))}`
  }
  return text
}

// Nothing from outside can begin a line of its own, or pass for another field.
function quote(text: string): string {
  return /^[\w.:/@+-]+$/.test(text) ? text : JSON.stringify(text).replace(/[\u007f-\u009f\u2028\u2029]/g, '?')
}

function plain(text: string): string {
  return text.replace(/[^\x20-\x7e]|["\\]/g, '?').slice(0, 500)
}

function originOf(referer: string | undefined): string {
  return referer !== undefined && URL.canParse(referer) ? new URL(referer).origin : '-'
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : `\ncaused by ${describe(error.cause)}`
  return `${error.stack ?? error.message}${cause}`
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

let formatted = { second: 0, text: '' }

// 01/Nov/2024:02:36:15 +0000
function formatDate(ms: number): string {
  const second = Math.floor(ms / 1000)
  if (second === formatted.second) return formatted.text // a thousand lines come in one second
  const date = new Date(ms).toISOString()
  const [year = '', month = '', day = ''] = date.slice(0, 10).split('-')
  formatted = { second, text: `${day}/${MONTHS[Number(month) - 1]}/${year}:${date.slice(11, 19)} +0000` }
  return formatted.text
}
