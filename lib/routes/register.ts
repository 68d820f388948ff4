import { parseCallbackUrl } from '../access/callback.ts'
import type { Clients } from '../access/clients.ts'
import { sha256Of } from '../access/secret.ts'
import type { Audit } from '../audit/audit.ts'
import { HttpError } from '../errors.ts'
import type { Handler } from '../http/router.ts'
import type { Log } from '../log.ts'
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
    const callbackUrl = query.one('callback_url')
    if (callbackUrl === undefined || callbackUrl === '') throw new HttpError('missing_callback_url')
    const client = { callbackUrl: parseCallbackUrl(callbackUrl, parts.isLocalAllowed), project: readProject(query) }
    const clientId = await parts.clients.register(client)
    parts.audit.note('client_registered', { address, request: id, project: client.project, client: sha256Of(clientId).slice(0, 8) })
    parts.log.info('client registered', { request: id, project: client.project })
    return { status: 200, body: { client_id: clientId } }
  }
}
