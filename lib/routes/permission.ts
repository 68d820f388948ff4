import type { Grant, Grants } from '../access/grants.ts'
import { HttpError } from '../errors.ts'
import type { Exchange } from '../http/exchange.ts'

/**
 * Whether one request may add to a project. Its auth token may come as `Authorization: Bearer` (RFC 6750 §2.1), in the
 * query, or as a field of the form; several must be the same. An upload that began before its token expired is in time.
 */
export class Permission {
  readonly #grants: Grants
  readonly #beganAtMs: number
  #authToken: string | undefined
  #grant: Grant | undefined

  constructor(grants: Grants, beganAtMs: number) {
    this.#grants = grants
    this.#beganAtMs = beganAtMs
  }

  /** Checks the tokens that come before the body, so that a bad one is refused before the body is read. */
  async presentHead({ request, target }: Exchange): Promise<void> {
    const bearer = /^bearer +(.*)$/i.exec(request.headers.authorization ?? '')?.[1]?.trim()
    const inQuery = target.query.one('auth_token')
    for (const authToken of [bearer, inQuery]) {
      if (authToken !== undefined) await this.present(authToken)
    }
  }

  /** Checks an auth token; throws `conflicting_credentials`, `unauthorized_token` or `token_expired`. */
  async present(authToken: string): Promise<void> {
    if (this.#authToken !== undefined && this.#authToken !== authToken) throw new HttpError('conflicting_credentials')
    this.#authToken = authToken
    this.#grant ??= await this.#grants.check(authToken, this.#beganAtMs)
  }

  /** Says whether a good token came. */
  get isGranted(): boolean {
    return this.#grant !== undefined
  }

  /** Gives what was granted; throws `unauthorized` where no token came. */
  require(): Grant {
    if (this.#grant === undefined) throw new HttpError('unauthorized')
    return this.#grant
  }

  /** Checks once more, when all has come: what was revoked meanwhile adds nothing. Throws `unauthorized_token`. */
  async confirm(): Promise<void> {
    if (this.#grant !== undefined) await this.#grants.checkAgain(this.#grant.tokenSha256, this.#beganAtMs)
  }
}
