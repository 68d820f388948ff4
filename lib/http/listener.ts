import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import { Server as NetServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Server as TlsServer } from 'node:tls'
import type { Certificate } from './certificate.ts'

const HEAD_SECONDS = 60
const HANDSHAKE_SECONDS = 30
const KEEP_ALIVE_SECONDS = 75 // longer than browsers and proxies reuse: a reused connection that dies sends an upload twice
const BACKLOG = 4096 // connections that wait while a server is started again; the kernel takes less where it is set so

/** Where connections come in: an address of our own, or a socket that was opened before we began. */
export type Endpoint = { readonly host: string; readonly port: number } | { readonly fd: number }

/** What a listener works with. */
export interface ListenerParts {
  /** With it the listener speaks TLS, without it plain HTTP. */
  readonly certificate: Certificate | undefined
  /** How long the head of a request may take; 60 where it is not given. */
  readonly headSeconds: number | undefined
  /** How many connections may be in their TLS handshake. */
  readonly maxHandshakes: number
  /** Is told of each connection that can take requests. */
  readonly onConnection: (socket: Socket, isUnix: boolean) => void
  readonly onRequest: (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean) => void
  /** Is told of a request for a tunnel. */
  readonly onTunnel: (socket: Duplex) => void
  /** Is told of what is no HTTP. */
  readonly onClientError: (error: Error, socket: Duplex) => void
}

/** One listening socket and the HTTP parser behind it. */
export class Listener {
  readonly #server: Server
  readonly #secure: TlsServer | undefined // the same one, where it speaks TLS
  readonly #handshakes = new Map<string, Socket>()
  #isUnix = false

  constructor({ certificate, headSeconds, maxHandshakes, onConnection, ...parts }: ListenerParts) {
    const options = {
      requireHostHeader: false, // Node's own refusal has no body and no CORS header; `Exchange` looks for it
      headersTimeout: (headSeconds ?? HEAD_SECONDS) * 1000,
      requestTimeout: 0, // it limits the whole request, and cuts honest slow phones; `readBody` limits silence
      keepAliveTimeout: KEEP_ALIVE_SECONDS * 1000,
      connectionsCheckingInterval: 1000,
    }
    if (certificate === undefined) {
      this.#server = createServer(options)
      this.#server.on('connection', (socket) => onConnection(socket, this.#isUnix))
    } else {
      const secure = certificate.createServer({ ...options, handshakeTimeout: HANDSHAKE_SECONDS * 1000 })
      this.#server = secure
      this.#secure = secure
      this.#server.on('connection', (socket) => this.#shake(socket, maxHandshakes))
      this.#server.on('secureConnection', (socket: Socket) => {
        this.#handshakes.delete(peerOf(socket))
        onConnection(socket, this.#isUnix)
      })
    }
    this.#server.maxHeadersCount = 0 // the 16 KiB of a head are limit enough; lines over a count are dropped in silence
    Object.assign(this.#server, { httpAllowHalfOpen: true }) // or a client that ends its side gets no answer
    this.#server.on('request', (request, response) => parts.onRequest(request, response, false))
    this.#server.on('checkContinue', (request, response) => parts.onRequest(request, response, true))
    this.#server.on('checkExpectation', (request, response) => parts.onRequest(request, response, false))
    this.#server.on('connect', (_request, socket) => parts.onTunnel(socket))
    this.#server.on('clientError', (error, socket) => parts.onClientError(error, socket))
  }

  /** Begins to listen, or throws what `listen` says, such as `EADDRINUSE`. */
  async listen(endpoint: Endpoint): Promise<void> {
    this.#server.listen({ ...endpoint, backlog: BACKLOG })
    await once(this.#server, 'listening')
    this.#isUnix = typeof this.#server.address() !== 'object' || this.#server.address() === null
  }

  /** What it listens on, for people. */
  get place(): string {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') return 'a Unix socket'
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address
    return `${this.#secure === undefined ? 'http' : 'https'}://${host}:${address.port}`
  }

  /** Shows another certificate from the next connection on. */
  renew(certificate: Certificate): void {
    if (this.#secure !== undefined) certificate.showAt(this.#secure)
  }

  /**
   * Takes no new connections, and fulfils when every connection is closed. Not by `close` of the HTTP server, which
   * cuts those between two requests at once, even where the next one is already on its way.
   */
  close(): Promise<void> {
    return new Promise((resolve) => NetServer.prototype.close.call(this.#server, () => resolve()))
  }

  /** Cuts the connections that are no further than their TLS handshake. */
  cutHandshakes(): void {
    for (const socket of this.#handshakes.values()) socket.destroy()
  }

  #shake(socket: Socket, maxHandshakes: number): void {
    const peer = peerOf(socket)
    if (this.#isUnix || peer === '') return // programs of this machine, or gone; their handshakes have only the time limit
    if (this.#handshakes.size >= maxHandshakes) return void socket.destroy()
    this.#handshakes.set(peer, socket)
    socket.on('close', () => {
      if (this.#handshakes.get(peer) === socket) this.#handshakes.delete(peer)
    })
  }
}

// A TLS socket does not tell which socket it runs over; the address and port of the other end name both.
function peerOf({ remoteAddress = '', remotePort }: Socket): string {
  return remoteAddress && `${remoteAddress} ${String(remotePort)}`
}
