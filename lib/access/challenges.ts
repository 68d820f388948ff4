import { randomInt } from 'node:crypto'
import type { RecipientList } from '../crypt/recipient-list.ts'
import type { Directories } from '../directories.ts'
import type { FileOwner } from '../durable.ts'
import { isObject } from '../json.ts'
import { sha256Of } from '../sha256.ts'
import { Records } from './records.ts'

const CHARACTERS = '23456789abcdefghjkmnpqrstuvwxyz' // none that looks like another
const GROUPS = 3
const GROUP_LENGTH = 4 // 12 of 31 characters: 59 bits, which nobody guesses in a week
const CODE = new RegExp(`^[${CHARACTERS}]{${GROUPS * GROUP_LENGTH}}$`)
const DAY_MS = 24 * 3600 * 1000
const KEEP_EXPIRED_MS = 30 * DAY_MS // so that who comes late is told "too old", not "unknown"

/** For how many days a code is good. */
export const CHALLENGE_DAYS = 7

/** What a code came to. */
export type Outcome = 'right' | 'unknown' | 'expired' | 'for other recipients'

/** Codes that were encrypted to recipients and may come back, on disk under their SHA-256 only. Several may be open. */
export class Challenges {
  readonly #records: Records

  /** @param owner whose files they are to be; this process's where it is not given */
  constructor(directory: string, directories: Directories, owner?: FileOwner) {
    this.#records = new Records(directory, directories, owner)
  }

  /** Makes a code for exactly these recipients, such as `k7mq-2xhd-9fwr`; it is known for good when the promise is fulfilled. */
  async open({ digest }: RecipientList, nowMs: number): Promise<string> {
    await this.#records.sweep((record) => {
      const challenge = parseChallenge(record)
      return challenge !== undefined && nowMs - challenge.expiresAtMs > KEEP_EXPIRED_MS
    })
    const code = newCode()
    await this.#records.add(sha256Of(code), { recipients_sha256: digest, expires_at: new Date(nowMs + CHALLENGE_DAYS * DAY_MS).toISOString() })
    return code
  }

  /** Says what a code that came back is worth for these recipients; case, blanks and hyphens do not matter. */
  async check(text: string, { digest }: RecipientList, nowMs: number): Promise<Outcome> {
    const code = parseCode(text)
    const challenge = code === undefined ? undefined : parseChallenge(await this.#records.find(sha256Of(code)))
    if (challenge === undefined) return 'unknown'
    if (challenge.digest !== digest) return 'for other recipients'
    return nowMs >= challenge.expiresAtMs ? 'expired' : 'right'
  }
}

function newCode(): string {
  const group = () => Array.from({ length: GROUP_LENGTH }, () => CHARACTERS[randomInt(CHARACTERS.length)]).join('')
  return Array.from({ length: GROUPS }, group).join('-')
}

/** Gives a code as it was made, undefined where the text is none. */
function parseCode(text: string): string | undefined {
  const characters = text.toLowerCase().replace(/[\s-]/g, '')
  return CODE.test(characters) ? characters.match(new RegExp(`.{${GROUP_LENGTH}}`, 'g'))?.join('-') : undefined
}

function parseChallenge(record: unknown): { readonly digest: string; readonly expiresAtMs: number } | undefined {
  if (!isObject(record)) return undefined
  const { recipients_sha256: digest, expires_at: expiresAt } = record
  if (typeof digest !== 'string' || typeof expiresAt !== 'string' || Number.isNaN(Date.parse(expiresAt))) return undefined
  return { digest, expiresAtMs: Date.parse(expiresAt) }
}
