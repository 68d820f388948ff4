import { addParameters, ISSUED_PARAMETERS } from '../access/callback.ts'
import type { Client, Clients } from '../access/clients.ts'
import type { Grants } from '../access/grants.ts'
import type { ProjectKeys } from '../access/project-keys.ts'
import type { Audit } from '../audit/audit.ts'
import { HttpError } from '../errors.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Reply } from '../http/reply.ts'
import type { Handler } from '../http/router.ts'
import type { Query } from '../http/target.ts'
import type { Log } from '../log.ts'
import { sha256Of } from '../sha256.ts'
import type { Admin } from './admin.ts'
import { readExpiryMinutes, readParticipant, readProject } from './parameters.ts'

const DEFAULT_PROJECT = 'unknown'
// Not passed on to the callback: what is for us, and what a link must not slip in beside the token that we issue.
const OWN_PARAMETERS: ReadonlySet<string> = new Set(['client_id', 'token', 'project', 'expiry_minutes', ...ISSUED_PARAMETERS])

/** What `/token` works with. */
export interface TokenParts {
  readonly admin: Admin
  readonly audit: Audit
  readonly grants: Grants
  readonly clients: Clients
  readonly keys: ProjectKeys
  readonly log: Log
}

/**
 * `GET /token`: issues an auth token, to whoever has the admin token as JSON, to a registered web app by sending the
 * participant's browser back to it.
 */
export function token(parts: TokenParts): Handler {
  return async (exchange) => {
    const { query } = exchange.target
    const isFromClient = query.all('client_id').length > 0 && query.all('token').length === 0
    return isFromClient ? redirectToClient(parts, exchange) : answerAdmin(parts, exchange)
  }
}

async function answerAdmin(parts: TokenParts, exchange: Exchange): Promise<Reply> {
  await parts.admin.require(exchange)
  return { status: 200, body: await issue(parts, exchange, readProject(exchange.target.query) ?? DEFAULT_PROJECT) }
}

async function redirectToClient(parts: TokenParts, exchange: Exchange): Promise<Reply> {
  const { query } = exchange.target
  const clientId = query.one('client_id') ?? ''
  const client = await parts.clients.find(clientId)
  if (client === undefined) throw new HttpError('unknown_client')
  const issued = await issue(parts, exchange, projectFor(client, query), clientId)
  const parameters = [...Object.entries(issued), ...query.except(OWN_PARAMETERS)]
  return { status: 302, headers: { Location: addParameters(client.callbackUrl, parameters) }, body: { status: 'found' } }
}

// A web app registered for one project gets tokens for no other, whatever stands in a participant's link.
function projectFor(client: Client, query: Query): string {
  const asked = readProject(query)
  if (client.project !== undefined && asked !== undefined && asked !== client.project) {
    throw new HttpError('not_authorized_project')
  }
  return client.project ?? asked ?? DEFAULT_PROJECT
}

async function issue(parts: TokenParts, exchange: Exchange, project: string, clientId?: string): Promise<Record<string, string>> {
  const { query } = exchange.target
  const wish = { project, participant: readParticipant(query), minutes: readExpiryMinutes(query), nowMs: exchange.beganAtMs }
  await parts.keys.requireProven(project) // before anybody sends what nobody could open
  const { authToken, grant } = await parts.grants.issue(wish)
  const issued = { request: exchange.id, project, token: grant.tokenSha256.slice(0, 8) }
  parts.log.info('token issued', issued)
  const client = clientId === undefined ? undefined : sha256Of(clientId).slice(0, 8)
  parts.audit.note('token_issued', { address: exchange.client.address, ...issued, client })
  const expires = formatExpiry(grant.expiresAtMs)
  // One moment under two names: the seed's README calls it `expires`, its code and the web app `expiry_time`.
  return { auth_token: authToken, expires, expiry_time: expires }
}

// 20241101T023615Z
function formatExpiry(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace(/[:-]/g, '')}Z`
}
