import { findParameter, ISSUED_PARAMETERS, parseCallbackUrl } from '../access/callback.ts'
import type { Clients } from '../access/clients.ts'
import type { Audit } from '../audit/audit.ts'
import { HttpError } from '../errors.ts'
import type { Handler } from '../http/router.ts'
import type { Query } from '../http/target.ts'
import type { Log } from '../log.ts'
import { sha256Of } from '../sha256.ts'
import type { Admin } from './admin.ts'
import { readProject } from './parameters.ts'

/** What `/register` works with. */
export interface RegisterParts {
  readonly admin: Admin
  readonly audit: Audit
  readonly clients: Clients
  readonly isLocalAllowed: boolean
  readonly log: Log
}

/** `GET /register`: stores a web app's callback and gives the `client_id` that its links carry. */
export function register(parts: RegisterParts): Handler {
  return async (exchange) => {
    const { id, client: { address }, target: { query } } = exchange
    await parts.admin.require(exchange)
    const client = { callbackUrl: readCallbackUrl(query, parts.isLocalAllowed), project: readProject(query) }
    const clientId = await parts.clients.register(client)
    parts.audit.note('client_registered', { address, request: id, project: client.project, client: sha256Of(clientId).slice(0, 8) })
    parts.log.info('client registered', { request: id, project: client.project })
    return { status: 200, body: { client_id: clientId } }
  }
}

function readCallbackUrl(query: Query, isLocalAllowed: boolean): string {
  const given = query.one('callback_url')
  if (given === undefined || given === '') throw new HttpError('missing_callback_url')
  const callbackUrl = parseCallbackUrl(given, isLocalAllowed)
  const own = findParameter(callbackUrl, ISSUED_PARAMETERS)
  if (own !== undefined) throw new HttpError('invalid_callback_url', { detail: `it has ${own} already` })
  return callbackUrl
}
