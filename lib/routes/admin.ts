import { isSameSecret } from '../access/secret.ts'
import { HttpError } from '../errors.ts'
import type { Query } from '../http/target.ts'

/**
 * Lets nobody pass without the admin token; throws `not_authorized` or `not_authorized_token`.
 * A token given twice passes only where both are right, and is then refused as a repeated parameter.
 */
export function requireAdminToken(query: Query, adminToken: string): void {
  const given = query.all('token')
  if (given.every((token) => token === '')) throw new HttpError('not_authorized')
  if (!given.every((token) => isSameSecret(token, adminToken))) throw new HttpError('not_authorized_token')
  query.one('token')
}
