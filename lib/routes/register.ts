import { parseCallbackUrl } from '../access/callback.ts'
import type { Clients } from '../access/clients.ts'
import { HttpError } from '../errors.ts'
import type { Handler } from '../http/router.ts'
import type { Log } from '../log.ts'
import { requireAdminToken } from './admin.ts'
import { readProject } from './parameters.ts'

/** What `/register` works with. */
export interface RegisterParts {
  readonly adminToken: string
  readonly clients: Clients
  readonly isLocalAllowed: boolean
  readonly log: Log
}

/** `GET /register`: stores a web app's callback and gives the `client_id` that its links carry. */
export function register(parts: RegisterParts): Handler {
  return async ({ id, target: { query } }) => {
    requireAdminToken(query, parts.adminToken)
    const callbackUrl = query.one('callback_url')
    if (callbackUrl === undefined || callbackUrl === '') throw new HttpError('missing_callback_url')
    const client = { callbackUrl: parseCallbackUrl(callbackUrl, parts.isLocalAllowed), project: readProject(query) }
    const clientId = await parts.clients.register(client)
    parts.log.info('client registered', { request: id, project: client.project })
    return { status: 200, body: { client_id: clientId } }
  }
}
