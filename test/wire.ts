import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import { after } from 'node:test'
import { sleep } from './harness.ts'

/** An answer as it came over a connection. */
export interface WireAnswer {
  readonly status: number
  /** By name in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  readonly json: Record<string, unknown>
}

// What a test that fails leaves open would keep its process alive, and the run with it.
const opened = new Set<Socket>()
after(() => {
  for (const socket of opened) socket.destroy()
})

/** A connection on which a test writes what it likes and reads what comes. */
export class Wire {
  readonly socket: Socket
  /** Fulfils when the connection is closed, by whom and however. */
  readonly closed: Promise<void>
  #received = Buffer.alloc(0)
  #isClosed = false
  #isEnded = false

  private constructor(socket: Socket) {
    this.socket = socket
    this.closed = new Promise((done) => {
      socket.on('data', (chunk) => (this.#received = Buffer.concat([this.#received, chunk])))
      socket.on('error', () => undefined)
      socket.on('end', () => (this.#isEnded = true))
      socket.on('close', () => {
        this.#isClosed = true
        done()
      })
    })
  }

  /** Opens a connection; `reads: false` leaves what comes in the kernel until `socket.resume()`. */
  static async open(port: number, options: { reads?: boolean; allowHalfOpen?: boolean } = {}): Promise<Wire> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: options.allowHalfOpen ?? false })
    const wire = new Wire(socket)
    opened.add(socket)
    socket.on('close', () => opened.delete(socket))
    if (options.reads === false) socket.pause()
    await once(socket, 'connect')
    return wire
  }

  /** Whether the server has said that it sends no more. */
  get isEnded(): boolean {
    return this.#isEnded || this.#isClosed
  }

  /** Everything that came so far. */
  get received(): string {
    return this.#received.toString('latin1')
  }

  /** Writes bytes, and fulfils when the kernel has them; a connection that breaks is no error here. */
  write(bytes: string | Buffer): Promise<void> {
    const data = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
    return new Promise((done) => this.socket.write(data, () => done()))
  }

  /** Waits for the next `count` answers that are whole; `isHead` where they have no bodies. */
  async answers(count: number, seconds = 60, isHead = false): Promise<WireAnswer[]> {
    const end = performance.now() + seconds * 1000
    for (;;) {
      const answers = parseAnswers(this.#received, isHead)
      if (answers.length >= count) return answers
      if (this.#isClosed) throw new Error(`closed after ${answers.length} of ${count} answers: ${this.received}`)
      if (performance.now() > end) throw new Error(`${answers.length} of ${count} answers after ${seconds} s: ${this.received}`)
      await sleep(2)
    }
  }
}

/** Reads whole answers one after another; what is left over is not given. A 100 (Continue) is an answer of its own. */
export function parseAnswers(received: Buffer, isHead = false): WireAnswer[] {
  const answers: WireAnswer[] = []
  let at = 0
  for (;;) {
    const headEnd = received.indexOf('\r\n\r\n', at)
    if (headEnd < 0) return answers
    const [first = '', ...lines] = received.toString('latin1', at, headEnd).split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1])
    if (Number.isNaN(status)) throw new Error(`no answer begins here: ${JSON.stringify(received.toString('latin1', at, at + 200))}`)
    const headers = Object.fromEntries(lines.map((line) => [line.split(':')[0]?.toLowerCase() ?? '', line.slice(line.indexOf(':') + 1).trim()]))
    const bytes = isHead ? 0 : Number(headers['content-length'] ?? 0)
    if (received.length < headEnd + 4 + bytes) return answers
    const text = received.toString('utf8', headEnd + 4, headEnd + 4 + bytes)
    answers.push({ status, headers, text, json: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) })
    at = headEnd + 4 + bytes
  }
}

const BOUNDARY = 'the-boundary'

/** Writes a form: the auth token and one file, in the order in which the browser client sends them. */
export function formBody(authToken: string, content: Buffer | string, filename = 'voice.wav'): Buffer {
  return Buffer.concat([fileStart(filename), Buffer.from(content), formEnd(authToken)])
}

/** What stands before the content of the file in `formBody`. */
export function fileStart(filename = 'voice.wav'): Buffer {
  return Buffer.from(`--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="${filename}"\r\n\r\n`)
}

/** What stands after the content of the file in `formBody`. */
export function formEnd(authToken: string): Buffer {
  return Buffer.from(
    `\r\n--${BOUNDARY}\r\nContent-Disposition: form-data; name="auth_token"\r\n\r\n${authToken}\r\n--${BOUNDARY}--\r\n`,
  )
}

/** Writes the head of a submission; further fields stand in `fields`, each a line without its end. */
export function submitHead(...fields: readonly string[]): string {
  const lines = ['POST /submit HTTP/1.1', 'Host: localhost', `Content-Type: multipart/form-data; boundary=${BOUNDARY}`, ...fields]
  return lines.map((line) => `${line}\r\n`).join('') + '\r\n'
}

/** Writes a whole submission with its Content-Length. */
export function submission(authToken: string, content: Buffer | string, ...fields: readonly string[]): Buffer {
  const body = formBody(authToken, content)
  return Buffer.concat([Buffer.from(submitHead(`Content-Length: ${body.length}`, ...fields)), body])
}

/** Writes a body in chunks of `size` bytes, without the last chunk. */
export function chunks(body: Buffer, size = body.length): Buffer {
  const list: Buffer[] = []
  for (let at = 0; at < body.length; at += size) {
    const piece = body.subarray(at, at + size)
    list.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'))
  }
  return Buffer.concat(list)
}

/** The last chunk, and the end of the message. */
export const LAST_CHUNK = '0\r\n\r\n'
