import type { IncomingHttpHeaders } from 'node:http'
import type { Fields } from './reply.ts'

const MAX_AGE_SECONDS = 86_400
const METHODS = 'GET, HEAD, POST, OPTIONS'
const EXPOSE: Fields = ['Access-Control-Expose-Headers', 'Retry-After, X-Request-Id']
const FOR_ANY: Fields = ['Access-Control-Allow-Origin', '*', ...EXPOSE]
const VARY: Fields = ['Vary', 'Origin']
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
  fieldsFor(origin: string | undefined): Fields {
    if (this.#origins === undefined) return FOR_ANY
    if (origin === undefined || !this.#origins.has(origin)) return VARY
    return ['Access-Control-Allow-Origin', origin, ...VARY, ...EXPOSE]
  }

  /** The header fields of an answer to a request that could not be read, so that its origin is not known. */
  fieldsForUnknown(): Fields {
    const [only, ...others] = this.#origins ?? []
    return this.fieldsFor(others.length === 0 ? only : undefined)
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
