import type { IncomingHttpHeaders } from 'node:http'

const MAX_AGE_SECONDS = 86_400
const METHODS = 'GET, HEAD, POST, OPTIONS'
const FIELD_NAMES = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+(\s*,\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*$/ // RFC 9110 §5.1

/**
 * Says which web pages may read our answers (Fetch standard, §3.2). Every answer carries it, refusals too: a page that
 * cannot read a refusal can only tell its user of a "network error".
 */
export class Cors {
  readonly #origins: ReadonlySet<string> | undefined

  /** @param origins the origins that may, or `*` for any */
  constructor(origins: readonly string[] | '*') {
    this.#origins = origins === '*' ? undefined : new Set(origins)
  }

  /** The header fields of an answer to a page of this origin. Never with credentials: we use no cookies. */
  headersFor(origin: string | undefined): Record<string, string> {
    const expose = { 'Access-Control-Expose-Headers': 'Retry-After, X-Request-Id' }
    if (this.#origins === undefined) return { 'Access-Control-Allow-Origin': '*', ...expose }
    if (origin === undefined || !this.#origins.has(origin)) return { Vary: 'Origin' }
    return { 'Access-Control-Allow-Origin': origin, Vary: 'Origin', ...expose }
  }

  /** The header fields of an answer to a request that could not be read, so that its origin is not known. */
  headersForUnknown(): Record<string, string> {
    const [only, ...others] = this.#origins ?? []
    return this.headersFor(others.length === 0 ? only : undefined)
  }

  /** The further header fields of the answer to a preflight. */
  preflightHeaders(headers: IncomingHttpHeaders): Record<string, string> {
    const asked = headers['access-control-request-headers']
    const isList = typeof asked === 'string' && asked.length <= 1000 && FIELD_NAMES.test(asked)
    return {
      'Access-Control-Allow-Methods': METHODS,
      'Access-Control-Allow-Headers': isList ? asked : 'Authorization, Content-Type',
      'Access-Control-Max-Age': String(MAX_AGE_SECONDS),
    }
  }
}
