import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { HttpError, systemCode, toHttpError } from '../errors.ts'
import { drain } from './body.ts'
import type { Cors } from './cors.ts'
import { Exchange } from './exchange.ts'
import { COMMON_HEADERS, formatRawReply, formatRefusal, type Reply } from './reply.ts'
import type { Router } from './router.ts'

const HEAD_SECONDS = 60
const KEEP_ALIVE_SECONDS = 75 // longer than browsers and proxies reuse: a reused connection that dies sends an upload twice
const LINGER_SECONDS = 5

/** What the server tells of each answer. */
export interface Answered {
  readonly requestId: string
  readonly request: IncomingMessage
  readonly path: string
  readonly status: number
  readonly bytes: number
  readonly milliseconds: number
  /** Why the request was refused or failed, or undefined where it was not. */
  readonly error: HttpError | undefined
}

/** What the server needs from outside. */
export interface HttpServerParts {
  readonly router: Router
  readonly cors: Cors
  readonly idleSeconds: number
  readonly maxConnections: number
  readonly onAnswered: (answered: Answered) => void
}

/** One connection: its exchanges are worked on one after another, and none after one that has closed it. */
interface Connection {
  turn: Promise<void>
  isClosing: boolean
  current: { readonly request: IncomingMessage; readonly abort: AbortController } | undefined
}

/** The HTTP server: connections in, answers out. */
export class HttpServer {
  readonly #parts: HttpServerParts
  readonly #server: Server
  readonly #connections = new Map<Duplex, Connection>()
  #isStopping = false

  constructor(parts: HttpServerParts) {
    this.#parts = parts
    this.#server = createServer({
      requireHostHeader: false, // Node's own refusal has no body and no CORS header; `Exchange` looks for it
      headersTimeout: HEAD_SECONDS * 1000,
      requestTimeout: 0, // it limits the whole request, and cuts honest slow phones; `readBody` limits silence
      keepAliveTimeout: KEEP_ALIVE_SECONDS * 1000,
      connectionsCheckingInterval: 5000,
    })
    // A client may close its own side once it has sent everything; without this Node then gives it no answer.
    Object.assign(this.#server, { httpAllowHalfOpen: true })
    this.#server.maxHeadersCount = 0 // the 16 KiB of a head are limit enough; lines over a count are dropped in silence
    this.#server.on('connection', (socket) => this.#connect(socket))
    this.#server.on('request', (request, response) => this.#take(request, response, false))
    this.#server.on('checkContinue', (request, response) => this.#take(request, response, true))
    this.#server.on('checkExpectation', (request, response) => this.#take(request, response, false))
    this.#server.on('connect', (_request, socket) => this.#refuseRaw(socket, new HttpError('method_not_allowed')))
    this.#server.on('clientError', (error, socket) => this.#onClientError(error, socket))
  }

  /** Begins to listen; gives the address, or throws what `listen` says, such as `EADDRINUSE`. */
  async listen(host: string, port: number): Promise<AddressInfo> {
    this.#server.listen({ host, port, backlog: 1024 })
    await once(this.#server, 'listening')
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('listening on no TCP port')
    return address
  }

  /**
   * Takes no new connections, lets what is under way finish, and fulfils when every connection is closed; after
   * `graceSeconds` those that are left are cut.
   */
  async stop(graceSeconds: number): Promise<void> {
    this.#isStopping = true
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const [socket, connection] of this.#connections) {
      if (connection.current === undefined) socket.destroy()
    }
    const cut = setTimeout(() => this.#cutAll(), graceSeconds * 1000)
    await closed
    clearTimeout(cut)
    await Promise.all([...this.#connections.values()].map((connection) => connection.turn))
  }

  #cutAll(): void {
    for (const [socket, connection] of this.#connections) {
      connection.current?.abort.abort(new HttpError('stopping'))
      setTimeout(() => socket.destroy(), 1000) // time for the answer
    }
  }

  #connect(socket: Socket): void {
    if (this.#connections.size >= this.#parts.maxConnections) {
      return this.#refuseRaw(socket, new HttpError('too_busy', { detail: 'connections' }))
    }
    const connection: Connection = { turn: Promise.resolve(), isClosing: false, current: undefined }
    this.#connections.set(socket, connection)
    socket.on('close', () => {
      connection.turn.finally(() => this.#connections.delete(socket))
    })
  }

  #take(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = this.#connections.get(request.socket)
    if (connection === undefined) return
    request.on('error', () => undefined) // whoever reads the body is told; nobody else needs to be
    response.on('error', () => undefined)
    connection.turn = connection.turn.then(() => this.#exchange(connection, request, response, expectsContinue))
  }

  /** Never throws: one failing request must not end the process. */
  async #exchange(
    connection: Connection,
    request: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean,
  ): Promise<void> {
    if (connection.isClosing || request.socket.destroyed) return
    const abort = new AbortController()
    connection.current = { request, abort }
    const id = randomBytes(4).toString('hex')
    const beganAtMs = Date.now()
    const began = performance.now()
    let path = '-'
    let reply: Reply
    let error: HttpError | undefined
    try {
      const exchange = new Exchange({
        id,
        request,
        response,
        idleSeconds: this.#parts.idleSeconds,
        signal: abort.signal,
        expectsContinue,
        beganAtMs,
      })
      path = exchange.target.path
      reply = await this.#answer(exchange)
    } catch (thrown) {
      error = toHttpError(thrown)
      reply = formatRefusal(error, id)
      if (error.code === 'method_not_allowed') reply = { ...reply, headers: { Allow: this.#parts.router.methodsOf(path) } }
    }
    const bytes = await this.#send(connection, request, response, { ...reply, headers: { ...reply.headers, 'X-Request-Id': id } })
    connection.current = undefined
    this.#parts.onAnswered({
      requestId: id,
      request,
      path,
      status: reply.status,
      bytes,
      milliseconds: performance.now() - began,
      error,
    })
  }

  async #answer(exchange: Exchange): Promise<Reply> {
    const { request, target } = exchange
    const method = request.method ?? ''
    const expectation = request.headers.expect
    if (expectation !== undefined && expectation.toLowerCase() !== '100-continue') throw new HttpError('expectation_failed')
    if (method === 'OPTIONS') {
      const headers = { ...this.#parts.cors.preflightHeaders(request.headers), Allow: this.#parts.router.methodsOf(target.path) }
      return { status: 204, headers }
    }
    return this.#parts.router.find(method, target.path)(exchange)
  }

  /**
   * Sends the answer and fulfils when it is sent, or nobody is there to take it. Where the client is still sending, it
   * is answered at once and what it sends is read for a while: RFC 9112 §9.6.
   */
  async #send(connection: Connection, request: IncomingMessage, response: ServerResponse, reply: Reply): Promise<number> {
    if (response.destroyed) return 0
    const hasBody = request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined
    const isUnread = !request.complete
    connection.isClosing = this.#isStopping || isUnread || (hasBody && reply.status >= 400)
    const body = reply.body === undefined ? undefined : Buffer.from(JSON.stringify(reply.body))
    const sent = new Promise((resolve) => response.once('close', resolve))
    response.writeHead(reply.status, {
      ...COMMON_HEADERS,
      ...this.#parts.cors.headersFor(request.headers.origin),
      ...reply.headers,
      ...(body === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': body.length }),
      ...(connection.isClosing ? { Connection: 'close' } : {}),
    })
    if (isUnread) {
      if (body === undefined) response.flushHeaders()
      else response.write(body)
      // One that waits for our 100 (Continue) has sent nothing and will not.
      const idleSeconds = request.headers.expect === undefined ? this.#parts.idleSeconds : LINGER_SECONDS
      await drain(request, idleSeconds, connection.current?.abort.signal ?? AbortSignal.abort())
      response.end()
    } else response.end(body)
    await sent
    return body?.length ?? 0
  }

  #onClientError(error: Error, socket: Duplex): void {
    const connection = this.#connections.get(socket)
    const refusal = toProtocolError(error)
    const current = connection?.current
    const isSilent = 'bytesRead' in socket && socket.bytesRead === 0 // a browser opens some connections ahead of need
    if (refusal === undefined || isSilent || connection === undefined || connection.isClosing || !socket.writable) {
      current?.abort.abort(new HttpError('incomplete_body'))
      socket.destroy()
    } else if (current !== undefined && !current.request.complete) {
      current.abort.abort(refusal) // the body is broken: the exchange under way gives the answer
    } else {
      connection.turn = connection.turn.then(() => {
        if (!connection.isClosing) this.#refuseRaw(socket, refusal)
      })
    }
  }

  #refuseRaw(socket: Duplex, error: HttpError): void {
    const connection = this.#connections.get(socket)
    if (connection !== undefined) connection.isClosing = true
    if (!socket.writable) return void socket.destroy()
    const headers = { ...COMMON_HEADERS, ...this.#parts.cors.headersFor(undefined) }
    const reply = formatRefusal(error, randomBytes(4).toString('hex'))
    socket.on('error', () => socket.destroy())
    socket.end(formatRawReply(reply, headers))
    socket.resume()
    setTimeout(() => socket.destroy(), LINGER_SECONDS * 1000).unref()
  }
}

// The codes of Node's HTTP parser; undefined where there is nobody left to answer.
function toProtocolError(error: Error): HttpError | undefined {
  const code = systemCode(error) ?? ''
  if (code === 'ECONNRESET' || code === 'EPIPE') return undefined
  if (code === 'HPE_HEADER_OVERFLOW') return new HttpError('header_too_large')
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new HttpError('request_timeout')
  return new HttpError('malformed_request', { cause: error })
}
