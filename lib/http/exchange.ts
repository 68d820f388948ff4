import type { IncomingMessage, ServerResponse } from 'node:http'
import { HttpError } from '../errors.ts'
import { readBody, type Take } from './body.ts'
import type { Cutoff } from './cutoff.ts'
import type { Client } from './proxies.ts'
import { parseTarget, type Target } from './target.ts'

/** One request and what is known of it: what a route works with. */
export class Exchange {
  /** 8 hex digits, in the answer and in every line of the log. */
  readonly id: string
  readonly request: IncomingMessage
  /** Who sent the request, as far as a trusted proxy or the connection tells. */
  readonly client: Client
  readonly beganAtMs: number
  readonly target: Target
  readonly #response: ServerResponse
  readonly #idleSeconds: number
  readonly #cutoff: Cutoff
  readonly #expectsContinue: boolean

  /** Throws where the request is not valid HTTP, or its target cannot be decoded. */
  constructor(parts: {
    id: string
    request: IncomingMessage
    response: ServerResponse
    client: Client
    basePath: string
    idleSeconds: number
    cutoff: Cutoff
    expectsContinue: boolean
    beganAtMs: number
  }) {
    refuseAmbiguous(parts.request)
    this.id = parts.id
    this.request = parts.request
    this.client = parts.client
    this.beganAtMs = parts.beganAtMs
    this.target = parseTarget(parts.request.url ?? '', parts.basePath)
    this.#response = parts.response
    this.#idleSeconds = parts.idleSeconds
    this.#cutoff = parts.cutoff
    this.#expectsContinue = parts.expectsContinue
  }

  /** The length that the client has announced, in bytes, or undefined where it sends chunks. */
  get declaredBytes(): number | undefined {
    const length = this.request.headers['content-length']
    return length === undefined ? undefined : Number(length)
  }

  /** Throws `request_too_large` where the client has announced more than `limitBytes`: before a byte is read. */
  refuseLongerThan(limitBytes: number): void {
    if ((this.declaredBytes ?? 0) > limitBytes) throw new HttpError('request_too_large')
  }

  /** Hands the body to `take`; see `readBody`. */
  async read(take: Take, limitBytes: number): Promise<void> {
    if (this.#expectsContinue) this.#response.writeContinue() // RFC 9110 §10.1.1
    await readBody(this.request, take, { bytes: limitBytes, idleSeconds: this.#idleSeconds }, this.#cutoff)
  }
}

const SINGLE = new Set(['host', 'authorization', 'content-type', 'content-encoding', 'transfer-encoding'])

// What Node's parser lets through: fields given twice, of which one would be dropped in silence; a missing Host
// (RFC 9112 §3.2); a transfer coding other than chunked, and any in HTTP/1.0 (RFC 9112 §6.1).
function refuseAmbiguous(request: IncomingMessage): void {
  const seen = new Set<string>()
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index]?.toLowerCase() ?? ''
    if (!SINGLE.has(name)) continue
    if (seen.has(name)) throw new HttpError('malformed_request', { detail: `two fields ${name}` })
    seen.add(name)
  }
  const isOld = request.httpVersion === '1.0'
  if (!isOld && !seen.has('host')) throw new HttpError('malformed_request', { detail: 'no field host' })
  const coding = request.headers['transfer-encoding']
  if (coding === undefined) return
  if (isOld || coding.trim().toLowerCase() !== 'chunked') {
    throw new HttpError('malformed_request', { detail: 'transfer coding' })
  }
}
