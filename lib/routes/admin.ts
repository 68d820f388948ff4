import type { IncomingMessage } from 'node:http'
import { isSameSecret } from '../access/secret.ts'
import { HttpError } from '../errors.ts'
import type { Exchange } from '../http/exchange.ts'
import { Slowing } from './slowing.ts'

/** What the admin's door works with. */
export interface AdminParts {
  readonly adminToken: string
  /** Is told of each wrong token. */
  readonly onRefused: (address: string) => void
}

/** Who may do what only the lab may: it knows the admin token, and slows those who guess it. */
export class Admin {
  readonly #parts: AdminParts
  readonly #slowing = new Slowing()

  constructor(parts: AdminParts) {
    this.#parts = parts
  }

  /**
   * Lets nobody pass without the admin token; throws `not_authorized` or `not_authorized_token`.
   * A token given twice passes only where both are right, and is then refused as a repeated parameter.
   */
  async require({ target: { query }, client }: Exchange): Promise<void> {
    const given = query.all('token')
    if (given.every((token) => token === '')) throw new HttpError('not_authorized')
    if (!given.every((token) => this.#isRight(token))) await this.#refuse(client.address)
    query.one('token')
  }

  /**
   * Lets pass whoever has the admin token, as `Authorization: Bearer` (RFC 6750 §2.1) or in the query, and programs on this
   * machine that ask without it and without a proxy between; throws as `require` does.
   * @returns whether a token was shown
   */
  async requireOrLocal(exchange: Exchange): Promise<boolean> {
    const { request, target, client } = exchange
    const bearer = /^bearer +(.*)$/i.exec(request.headers.authorization ?? '')?.[1]?.trim()
    if (bearer !== undefined && !this.#isRight(bearer)) await this.#refuse(client.address)
    if (bearer !== undefined) return true
    if (target.query.all('token').length === 0 && isLocal(request)) return false
    await this.require(exchange)
    return true
  }

  #isRight(token: string): boolean {
    return isSameSecret(token, this.#parts.adminToken)
  }

  async #refuse(address: string): Promise<never> {
    this.#parts.onRefused(address)
    await this.#slowing.wait(address, this.#slowing.count(address, performance.now()))
    throw new HttpError('not_authorized_token')
  }
}

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|::ffff:127\.\d+\.\d+\.\d+)$/
const LOCAL_HOST = /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:\d+)?$/i
// What a proxy adds (RFC 7239, RFC 9110 §7.6.3) and what a browser does: a page must not read what is for this machine alone.
const NOT_LOCAL = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'via', 'origin', 'referer', 'sec-fetch-site']

// A proxy that adds nothing at all shows itself by HTTP/1.0 at most, and not always: it must not pass these routes on.
function isLocal({ socket, headers, httpVersion }: IncomingMessage): boolean {
  if (!LOOPBACK.test(socket.remoteAddress ?? '') || !LOCAL_HOST.test(headers.host ?? '')) return false
  return httpVersion !== '1.0' && NOT_LOCAL.every((name) => headers[name] === undefined)
}
