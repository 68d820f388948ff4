import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { HttpError, toHttpError } from '../errors.ts'
import { drain } from './body.ts'
import type { Certificate } from './certificate.ts'
import { Connection } from './connection.ts'
import { Connections } from './connections.ts'
import { Exchange } from './exchange.ts'
import { Listener, type Endpoint } from './listener.ts'
import { toProtocolError } from './protocol-error.ts'
import { isStalled, isSuspect } from './remainder.ts'
import { COMMON_FIELDS, encodeBody, formatRawReply, formatRefusal, newRequestId, toFields, type Reply } from './reply.ts'
import { isPassedOn, type Client } from './proxies.ts'
import type { HttpServerParts } from './server-parts.ts'

const LINGER_SECONDS = 5
const ANSWER_SECONDS = 1 // for the last answers of a stop
// For a request that was on its way when a stop began: the next one of a connection, or the first one.
const NEXT_MS = 500
const FIRST_MS = 2000

/** The HTTP server: connections in, answers out. */
export class HttpServer {
  readonly #parts: HttpServerParts
  readonly #listeners: Listener[] = []
  readonly #connections: Connections
  #certificate: Certificate | undefined
  #isStopping = false

  constructor(parts: HttpServerParts) {
    this.#parts = parts
    this.#connections = new Connections(parts.maxConnections)
    this.#certificate = parts.certificate
  }

  /** Begins to listen, and says where, for people; throws what `listen` says, such as `EADDRINUSE`. */
  async listen(endpoint: Endpoint): Promise<string> {
    const listener = new Listener({
      certificate: this.#certificate,
      headSeconds: this.#parts.headSeconds,
      maxHandshakes: this.#parts.maxConnections,
      onConnection: (socket, isUnix) => this.#connect(socket, isUnix ? 'unix' : (socket.remoteAddress ?? '-')),
      onRequest: (request, response, expectsContinue) => this.#take(request, response, expectsContinue),
      onTunnel: (socket) => this.#onTunnel(socket),
      onClientError: (error, socket) => this.#onClientError(error, socket),
    })
    await listener.listen(endpoint)
    this.#listeners.push(listener)
    return listener.place
  }

  /** Shows another certificate from the next connection on. */
  renew(certificate: Certificate): void {
    this.#certificate = certificate
    for (const listener of this.#listeners) listener.renew(certificate)
  }

  /**
   * Takes no new connections, lets what is under way finish, and fulfils when every connection is closed; after
   * `graceSeconds` those that are left are cut.
   */
  async stop(graceSeconds: number): Promise<void> {
    this.#isStopping = true
    const closed = Promise.all(this.#listeners.map((listener) => listener.close()))
    const graceMs = graceSeconds * 1000
    const timers = [
      setTimeout(() => this.#cutIdle((connection) => connection.wasUsed), Math.min(NEXT_MS, graceMs)),
      setTimeout(() => this.#cutIdle(() => true), Math.min(FIRST_MS, graceMs)),
      ...this.#listeners.map((listener) => setTimeout(() => listener.cutHandshakes(), Math.min(FIRST_MS, graceMs))),
      setTimeout(() => this.#cutAll(), graceMs),
    ]
    await closed
    for (const timer of timers) clearTimeout(timer)
    await Promise.all([...this.#connections.all()].map(([, connection]) => connection.settled))
  }

  #cutIdle(chosen: (connection: Connection) => boolean): void {
    for (const [socket, connection] of this.#connections.all()) {
      if (connection.isIdle && chosen(connection)) socket.destroy()
    }
  }

  #cutAll(): void {
    for (const [socket, connection] of this.#connections.all()) {
      connection.abort(new HttpError('stopping'))
      setTimeout(() => socket.destroy(), ANSWER_SECONDS * 1000)
    }
  }

  #connect(socket: Socket, address: string): void {
    const connection = new Connection(address)
    const isAdmitted = this.#connections.add(socket, connection)
    if (!isAdmitted) this.#refuseRaw(connection, socket, new HttpError('too_busy', { detail: 'connections' }))
  }

  #take(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = this.#connections.of(request.socket)
    if (connection === undefined || connection.isFull) return void request.socket.destroy()
    request.on('error', () => undefined) // whoever reads the body is told; nobody else needs to be
    response.on('error', () => undefined)
    const work = () => this.#exchange(connection, request, response, expectsContinue)
    connection.enqueue(work, connection.isIdle ? 0 : headBytes(request))
  }

  /** Never throws: one failing request must not end the process. */
  async #exchange(
    connection: Connection,
    request: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean,
  ): Promise<void> {
    if (request.socket.destroyed) return
    const { idleSeconds, basePath, router, onAnswered } = this.#parts
    const client = this.#clientOf(connection, request)
    const cutoff = connection.begin(request)
    const [id, beganAtMs, began] = [newRequestId(), Date.now(), performance.now()]
    let path = '-'
    let reply: Reply
    let error: HttpError | undefined
    try {
      const exchange = new Exchange({ id, request, response, client, basePath, idleSeconds, cutoff, expectsContinue, beganAtMs })
      path = exchange.target.path
      reply = await this.#answer(exchange)
    } catch (thrown) {
      error = toHttpError(thrown)
      reply = formatRefusal(error, id)
      if (error.code === 'method_not_allowed') reply = { ...reply, headers: { Allow: router.methodsOf(path) } }
    }
    let bytes = 0
    try {
      bytes = await this.#send({ connection, request, response, reply, error, id })
    } catch (thrown) {
      error = toHttpError(thrown) // a header field with a character that no field may have
      request.socket.destroy()
    }
    connection.end()
    if (this.#isStopping && connection.isIdle) request.socket.destroySoon() // the answer may have left just before
    const [answeredAtMs, milliseconds] = [Date.now(), performance.now() - began]
    onAnswered({ requestId: id, request, client, path, status: reply.status, bytes, answeredAtMs, milliseconds, error })
  }

  #clientOf(connection: Connection, { headers }: IncomingMessage): Client {
    const peer = { address: connection.address, isSecure: this.#certificate !== undefined }
    if (isPassedOn(headers)) return this.#parts.proxies.clientOf(peer, headers)
    return (connection.client ??= this.#parts.proxies.clientOf(peer, headers))
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
  async #send({ connection, request, response, reply, error, id }: Sending): Promise<number> {
    if (response.destroyed) return 0
    const isUnread = !request.complete
    connection.isClosing = this.#isStopping || isUnread || (reply.status >= 400 && isSuspect(request, error))
    const { bytes: body, mediaType = '' } = encodeBody(reply) ?? {}
    const sent = new Promise((resolve) => response.once('close', resolve))
    const fields = [...COMMON_FIELDS, ...this.#parts.cors.fieldsFor(request.headers.origin), ...toFields(reply.headers)]
    fields.push('X-Request-Id', id)
    if (body !== undefined) fields.push('Content-Type', mediaType, 'Content-Length', String(body.length))
    if (connection.isClosing) fields.push('Connection', 'close')
    response.writeHead(reply.status, fields)
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
    const connection = this.#connections.of(socket)
    const refusal = toProtocolError(error)
    const isSilent = 'bytesRead' in socket && socket.bytesRead === 0 // a browser opens some connections ahead of need
    if (refusal === undefined || isSilent || connection === undefined) return void socket.destroy()
    if (connection.isBroken || connection.isClosing) return // told before; Node's parser says it again of all that follows
    connection.break(refusal) // where it broke a body, the exchange of that body gives the answer
    connection.enqueue(() => this.#refuseRaw(connection, socket, refusal))
  }

  // Node has let go of the socket: from here it is ours alone.
  #onTunnel(socket: Duplex): void {
    socket.on('error', () => socket.destroy())
    const connection = this.#connections.of(socket)
    connection?.enqueue(() => this.#refuseRaw(connection, socket, new HttpError('method_not_allowed')))
  }

  #refuseRaw(connection: Connection, socket: Duplex, error: HttpError): void {
    connection.isClosing = true
    this.#parts.onRefused(error)
    const allow = error.code === 'method_not_allowed' ? ['Allow', this.#parts.router.methodsOf('')] : []
    const fields = [...COMMON_FIELDS, ...this.#parts.cors.fieldsForUnknown(), ...allow]
    socket.end(formatRawReply(formatRefusal(error, newRequestId()), fields))
    socket.resume() // and discard, as in `#linger`
    const late = setTimeout(() => socket.destroy(), LINGER_SECONDS * 1000)
    socket.on('close', () => clearTimeout(late))
  }
}

function headBytes({ url = '', rawHeaders }: IncomingMessage): number {
  return rawHeaders.reduce((sum, text) => sum + text.length, url.length)
}

interface Sending {
  readonly connection: Connection
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly reply: Reply
  readonly error: HttpError | undefined
  readonly id: string
}
