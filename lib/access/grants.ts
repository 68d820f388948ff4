import type { Directories } from '../directories.ts'
import type { FileOwner } from '../durable.ts'
import { HttpError } from '../errors.ts'
import { isObject } from '../json.ts'
import { isProject } from '../project.ts'
import { sha256Of } from '../sha256.ts'
import { Expiries } from './expiries.ts'
import { Records } from './records.ts'
import { newSecret } from './secret.ts'

const AUTH_TOKEN = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}-[0-9a-f]{32}$/
/** How long a process trusts a token that it has read, in milliseconds: a slice of an upload seldom comes alone. One that another process has revoked is good for no longer than that. */
export const TRUST_MS = 1000

const MOST_TRUSTED = 10_000
const KEEP_EXPIRED_MS = 7 * 24 * 3600 * 1000 // so that a late participant is told "expired", not "unknown"
const STEADY_MS = 3 * 24 * 3600 * 1000

/** What an auth token allows: to add to one project until it expires. */
export interface Grant {
  readonly project: string
  readonly participant: string | undefined
  /** Milliseconds since the epoch. */
  readonly issuedAtMs: number
  readonly expiresAtMs: number
  /** SHA-256 of the auth token; its first 8 digits are what logs show. */
  readonly tokenSha256: string
}

/** The auth tokens that were issued, on disk under their SHA-256 only. */
export class Grants {
  readonly #records: Records
  readonly #trusted = new Map<string, { readonly grant: Grant; readonly readAtMs: number }>() // the oldest first
  #expiries: readonly Expiries[] = [new Expiries()] // one more while a sweep counts anew

  /** @param owner whose files new tokens are to be; this process's where it is not given */
  constructor(directory: string, directories: Directories, owner?: FileOwner) {
    this.#records = new Records(directory, directories, owner)
  }

  /** Issues an auth token, `<project>-<32 hex digits>`; it is durable when the promise is fulfilled. */
  async issue(wish: {
    project: string
    participant: string | undefined
    minutes: number
    nowMs: number
  }): Promise<{ authToken: string; grant: Grant }> {
    const { project, participant, nowMs } = wish
    const authToken = `${project}-${newSecret()}`
    const expiresAtMs = Math.floor(nowMs / 1000) * 1000 + wish.minutes * 60_000 // the answer names whole seconds
    const grant = { project, participant, issuedAtMs: nowMs, expiresAtMs, tokenSha256: sha256Of(authToken) }
    await this.#records.add(grant.tokenSha256, {
      project,
      ...(participant === undefined ? {} : { participant }),
      issued_at: new Date(nowMs).toISOString(),
      expires_at: new Date(expiresAtMs).toISOString(),
    })
    for (const each of this.#expiries) each.add(expiresAtMs)
    return { authToken, grant }
  }

  /** Gives the grant of an auth token; throws `unauthorized_token` or `token_expired`. */
  async check(authToken: string, nowMs: number): Promise<Grant> {
    if (!AUTH_TOKEN.test(authToken)) throw new HttpError('unauthorized_token')
    return this.checkAgain(sha256Of(authToken), nowMs)
  }

  /** Gives the grant of an auth token that was checked before, by the token's SHA-256; throws as `check` does. */
  async checkAgain(tokenSha256: string, nowMs: number): Promise<Grant> {
    const grant = await this.#find(tokenSha256)
    if (grant === undefined) throw new HttpError('unauthorized_token')
    if (nowMs >= grant.expiresAtMs) {
      throw new HttpError('token_expired', { detail: `token ${grant.tokenSha256.slice(0, 8)}` })
    }
    return grant
  }

  // What was read less than a second ago is not read again; what is not there is looked for each time.
  async #find(tokenSha256: string): Promise<Grant | undefined> {
    const readAtMs = performance.now()
    const trusted = this.#trusted.get(tokenSha256)
    if (trusted !== undefined && readAtMs - trusted.readAtMs < TRUST_MS) return trusted.grant
    const grant = parseGrant(await this.#records.find(tokenSha256), tokenSha256)
    this.#trusted.delete(tokenSha256)
    if (grant === undefined) return undefined
    this.#trusted.set(tokenSha256, { grant, readAtMs })
    const [oldest] = this.#trusted.keys()
    if (this.#trusted.size > MOST_TRUSTED && oldest !== undefined) this.#trusted.delete(oldest)
    return grant
  }

  /** Lists every grant there is, the first to have been issued first; those that expired lately too. */
  async list(): Promise<Grant[]> {
    const grants: Grant[] = []
    for await (const { sha256, value } of this.#records.all()) {
      const grant = parseGrant(value, sha256)
      if (grant !== undefined) grants.push(grant)
    }
    return grants.toSorted((a, b) => a.issuedAtMs - b.issuedAtMs)
  }

  /** Takes grants back, for good when the promise is fulfilled; another process may trust one for a second more. */
  async revoke(grants: readonly Grant[]): Promise<void> {
    for (const { tokenSha256 } of grants) this.#trusted.delete(tokenSha256)
    await this.#records.removeAll(grants.map((grant) => grant.tokenSha256))
  }

  /**
   * Counts anew how many are alive, and removes what expired a week ago or earlier; returns how many it removed.
   * @param steadyMs for how long the clock has been steady: one that has just been read may be wrong by weeks, and what was
   * removed by it does not come back
   */
  async sweep(nowMs: number, steadyMs: number): Promise<number> {
    const anew = new Expiries()
    this.#expiries = [...this.#expiries.slice(0, 1), anew]
    const removed = await this.#records.sweep((record) => {
      const grant = parseGrant(record, '')
      if (grant !== undefined && grant.issuedAtMs < nowMs) anew.add(grant.expiresAtMs) // a later one counts as it is issued
      return steadyMs >= STEADY_MS && grant !== undefined && nowMs - grant.expiresAtMs > KEEP_EXPIRED_MS
    })
    this.#expiries = [anew]
    return removed
  }

  /** Counts the tokens that are alive; what other processes issued or revoked is known since the last sweep. */
  countAlive(nowMs: number): number {
    return this.#expiries[0]?.countAlive(nowMs) ?? 0
  }
}

function parseGrant(record: unknown, tokenSha256: string): Grant | undefined {
  if (!isObject(record)) return undefined
  const { project, participant, issued_at: issuedAt, expires_at: expiresAt } = record
  if (typeof project !== 'string' || !isProject(project)) return undefined
  if (typeof issuedAt !== 'string' || typeof expiresAt !== 'string') return undefined
  if (participant !== undefined && typeof participant !== 'string') return undefined
  const expiresAtMs = Date.parse(expiresAt)
  if (Number.isNaN(expiresAtMs)) return undefined
  return { project, participant, issuedAtMs: Date.parse(issuedAt), expiresAtMs, tokenSha256 }
}
