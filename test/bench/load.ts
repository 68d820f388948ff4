import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** A request as it goes over the wire, in pieces. */
export type Request = readonly Buffer[]

/** What a load came to. */
export interface Load {
  readonly requests: number
  readonly seconds: number
  /** How long each request took, in ascending order. */
  readonly durationsMs: readonly number[]
}

/** How a server is loaded: each connection sends the next request when the last one has been answered. */
export interface LoadOptions {
  readonly port: number
  readonly connections: number
  /** For how long requests are begun, one on each connection at least; those under way are waited for, and counted. */
  readonly seconds: number
  /** The most requests that are begun. */
  readonly maxRequests: number
  /** Makes the n-th request. */
  readonly makeRequest: (n: number) => Request
  /** Sends at this rate, for each connection; as fast as it can where left out. */
  readonly bytesPerSecond?: number
}

/** Loads a server; throws at the first answer that is not 200, for a figure that counts refusals is none. */
export async function load(options: LoadOptions): Promise<Load> {
  const { connections: count, maxRequests, makeRequest } = options
  const connections = await Promise.all(Array.from({ length: Math.min(count, maxRequests) }, () => Connection.open(options)))
  const durationsMs: number[] = []
  const startMs = performance.now()
  let begun = 0
  const drive = async (connection: Connection): Promise<void> => {
    do {
      const request = makeRequest(begun++)
      const sentMs = performance.now()
      await connection.exchange(request)
      durationsMs.push(performance.now() - sentMs)
    } while (begun < maxRequests && performance.now() - startMs < options.seconds * 1000)
  }
  try {
    await Promise.all(connections.map(drive))
  } finally {
    for (const connection of connections) connection.close()
  }
  const seconds = (performance.now() - startMs) / 1000
  return { requests: durationsMs.length, seconds, durationsMs: durationsMs.toSorted((a, b) => a - b) }
}

const TICK_MS = 25

/** A connection that carries one request after another. Not node:http: the client has to cost less than the server. */
class Connection {
  readonly #socket: Socket
  readonly #bytesPerSecond: number | undefined
  #received = ''
  #resolve: () => void = () => undefined
  #reject: (error: Error) => void = () => undefined

  static async open({ port, bytesPerSecond }: LoadOptions): Promise<Connection> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new Connection(socket, bytesPerSecond)
  }

  private constructor(socket: Socket, bytesPerSecond: number | undefined) {
    this.#socket = socket
    this.#bytesPerSecond = bytesPerSecond
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => this.#receive(text))
    socket.on('error', (error) => this.#reject(error))
    socket.on('close', () => this.#reject(new Error('the server closed the connection')))
  }

  /** Sends a request, and waits until it has been answered with 200. */
  exchange(request: Request): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      const sending = this.#bytesPerSecond === undefined ? this.#send(request) : this.#sendSlowly(request, this.#bytesPerSecond)
      sending.catch(reject)
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  async #send(request: Request): Promise<void> {
    for (const piece of request) if (!this.#socket.write(piece)) await once(this.#socket, 'drain')
  }

  async #sendSlowly(request: Request, bytesPerSecond: number): Promise<void> {
    const share = Math.ceil((bytesPerSecond * TICK_MS) / 1000)
    for (const piece of request) {
      for (let at = 0; at < piece.length; at += share) {
        await Promise.all([this.#send([piece.subarray(at, at + share)]), sleep(TICK_MS)])
      }
    }
  }

  #receive(text: string): void {
    this.#received += text
    const headEnd = this.#received.indexOf('\r\n\r\n')
    if (headEnd === -1) return
    const length = Number(/\r\nContent-Length: *(\d+)/i.exec(this.#received)?.[1])
    if (this.#received.length < headEnd + 4 + length) return
    if (this.#received.startsWith('HTTP/1.1 200 ')) this.#resolve()
    else this.#reject(new Error(`the server answered ${this.#received}`))
    this.#received = ''
  }
}
