import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { HttpError, toHttpError } from '../errors.ts'
import type { Answered } from './answered.ts'
import { drain } from './body.ts'
import { Connection } from './connection.ts'
import type { Cors } from './cors.ts'
import { Exchange } from './exchange.ts'
import { toProtocolError } from './protocol-error.ts'
import { COMMON_HEADERS, encodeBody, formatRawReply, formatRefusal, type Reply } from './reply.ts'
import type { Router } from './router.ts'

const HEAD_SECONDS = 60
const KEEP_ALIVE_SECONDS = 75 // longer than browsers and proxies reuse: a reused connection that dies sends an upload twice
const LINGER_SECONDS = 5
const ANSWER_SECONDS = 1 // for the last answers of a stop

/** What the server needs from outside. */
export interface HttpServerParts {
  readonly router: Router
  readonly cors: Cors
  /** How long a client may stand still: with its body, or with taking its answer. */
  readonly idleSeconds: number
  readonly maxConnections: number
  /** How long the head of a request may take; 60 where it is not given. */
  readonly headSeconds?: number
  readonly onAnswered: (answered: Answered) => void
  /** Is told of each refusal on a connection that has no request to answer. */
  readonly onRefused: (error: HttpError) => void
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
      headersTimeout: (parts.headSeconds ?? HEAD_SECONDS) * 1000,
      requestTimeout: 0, // it limits the whole request, and cuts honest slow phones; `readBody` limits silence
      keepAliveTimeout: KEEP_ALIVE_SECONDS * 1000,
      connectionsCheckingInterval: 1000,
    })
    this.#server.maxHeadersCount = 0 // the 16 KiB of a head are limit enough; lines over a count are dropped in silence
    Object.assign(this.#server, { httpAllowHalfOpen: true }) // or a client that ends its side gets no answer
    this.#server.on('connection', (socket) => this.#connect(socket))
    this.#server.on('request', (request, response) => this.#take(request, response, false))
    this.#server.on('checkContinue', (request, response) => this.#take(request, response, true))
    this.#server.on('checkExpectation', (request, response) => this.#take(request, response, false))
    this.#server.on('connect', (_request, socket) => this.#onConnect(socket))
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
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const [socket, connection] of this.#connections) {
      if (connection.isIdle) socket.destroy()
    }
    const cut = setTimeout(() => this.#cutAll(), graceSeconds * 1000)
    await closed
    clearTimeout(cut)
    await Promise.all([...this.#connections.values()].map((connection) => connection.settled))
  }

  #cutAll(): void {
    for (const [socket, connection] of this.#connections) {
      connection.abort(new HttpError('stopping'))
      setTimeout(() => socket.destroy(), ANSWER_SECONDS * 1000)
    }
  }

  #connect(socket: Socket): void {
    const connection = new Connection(socket.remoteAddress ?? '-')
    const isTooMany = this.#connections.size >= this.#parts.maxConnections
    this.#connections.set(socket, connection)
    socket.on('close', () => {
      void connection.settled.then(() => this.#connections.delete(socket))
    })
    if (isTooMany) this.#refuseRaw(connection, socket, new HttpError('too_busy', { detail: 'connections' }))
  }

  #take(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = this.#connections.get(request.socket)
    if (connection === undefined || connection.isFull) return void request.socket.destroy()
    request.on('error', () => undefined) // whoever reads the body is told; nobody else needs to be
    response.on('error', () => undefined)
    connection.enqueue(() => this.#exchange(connection, request, response, expectsContinue))
  }

  /** Never throws: one failing request must not end the process. */
  async #exchange(
    connection: Connection,
    request: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean,
  ): Promise<void> {
    if (request.socket.destroyed) return
    const { idleSeconds, router, onAnswered } = this.#parts
    const { address } = connection
    const signal = connection.begin(request)
    const [id, beganAtMs, began] = [randomBytes(4).toString('hex'), Date.now(), performance.now()]
    let path = '-'
    let reply: Reply
    let error: HttpError | undefined
    try {
      const exchange = new Exchange({ id, request, response, address, idleSeconds, signal, expectsContinue, beganAtMs })
      path = exchange.target.path
      reply = await this.#answer(exchange)
    } catch (thrown) {
      error = toHttpError(thrown)
      reply = formatRefusal(error, id)
      if (error.code === 'method_not_allowed') reply = { ...reply, headers: { Allow: router.methodsOf(path) } }
    }
    let bytes = 0
    try {
      reply = { ...reply, headers: { ...reply.headers, 'X-Request-Id': id } }
      bytes = await this.#send({ connection, request, response, reply, error })
    } catch (thrown) {
      error = toHttpError(thrown) // a header field with a character that no field may have
      request.socket.destroy()
    }
    connection.end()
    if (this.#isStopping && connection.isIdle) request.socket.destroySoon() // the answer may have left just before
    const milliseconds = performance.now() - began
    onAnswered({ requestId: id, request, address, path, status: reply.status, bytes, milliseconds, error })
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

  /** Sends the answer and fulfils when it is sent, or nobody is there to take it; gives the bytes of its body. */
  async #send({ connection, request, response, reply, error }: Sending): Promise<number> {
    if (response.destroyed) return 0
    const isUnread = !request.complete
    connection.isClosing = this.#isStopping || isUnread || (reply.status >= 400 && isSuspect(request, error))
    const { bytes: body, mediaType } = encodeBody(reply) ?? {}
    const sent = new Promise((resolve) => response.once('close', resolve))
    response.writeHead(reply.status, {
      ...COMMON_HEADERS,
      ...this.#parts.cors.headersFor(request.headers.origin),
      ...reply.headers,
      ...(body === undefined ? {} : { 'Content-Type': mediaType, 'Content-Length': body.length }),
      ...(connection.isClosing ? { Connection: 'close' } : {}),
    })
    if (isUnread) {
      if (body === undefined) response.flushHeaders()
      else response.write(body)
      await this.#linger(connection, request, error)
    } else {
      response.end(body)
      const late = setTimeout(() => request.socket.destroy(), this.#parts.idleSeconds * 1000)
      await sent
      clearTimeout(late)
    }
    return body?.length ?? 0
  }

  /**
   * Ends our side, reads what the client still sends for a while, and closes (RFC 9112 §9.6): closed at once, the
   * connection would be reset, and the answer lost with it.
   */
  async #linger(connection: Connection, request: IncomingMessage, error: HttpError | undefined): Promise<void> {
    request.socket.end()
    const isSending = !isStalled(request, error) && !connection.isBroken && !this.#isStopping
    await drain(request, isSending ? this.#parts.idleSeconds : LINGER_SECONDS)
    request.socket.destroy()
  }

  #onClientError(error: Error, socket: Duplex): void {
    const connection = this.#connections.get(socket)
    const refusal = toProtocolError(error)
    const isSilent = 'bytesRead' in socket && socket.bytesRead === 0 // a browser opens some connections ahead of need
    if (refusal === undefined || isSilent || connection === undefined) return void socket.destroy()
    if (connection.isBroken || connection.isClosing) return // told before; Node's parser says it again of all that follows
    connection.break(refusal) // where it broke a body, the exchange of that body gives the answer
    connection.enqueue(() => this.#refuseRaw(connection, socket, refusal))
  }

  // Node has let go of the socket: from here it is ours alone.
  #onConnect(socket: Duplex): void {
    socket.on('error', () => socket.destroy())
    const connection = this.#connections.get(socket)
    connection?.enqueue(() => this.#refuseRaw(connection, socket, new HttpError('method_not_allowed')))
  }

  #refuseRaw(connection: Connection, socket: Duplex, error: HttpError): void {
    connection.isClosing = true
    this.#parts.onRefused(error)
    const allow = error.code === 'method_not_allowed' ? { Allow: this.#parts.router.methodsOf('') } : {}
    const headers = { ...COMMON_HEADERS, ...this.#parts.cors.headersForUnknown(), ...allow }
    socket.end(formatRawReply(formatRefusal(error, randomBytes(4).toString('hex')), headers))
    socket.resume() // and discard, as in `#linger`
    const late = setTimeout(() => socket.destroy(), LINGER_SECONDS * 1000)
    socket.on('close', () => clearTimeout(late))
  }
}

interface Sending {
  readonly connection: Connection
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly reply: Reply
  readonly error: HttpError | undefined
}

// What stands behind a refused body, or a head that two readers may read in two ways, may be no request at all.
function isSuspect(request: IncomingMessage, error: HttpError | undefined): boolean {
  const hasBody = request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined
  return hasBody || error?.code === 'malformed_request'
}

// One that stood still, or that waits for our 100 (Continue), sends nothing more.
function isStalled(request: IncomingMessage, error: HttpError | undefined): boolean {
  return error?.code === 'request_timeout' || request.headers.expect !== undefined
}
