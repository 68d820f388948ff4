import type { Grant } from '../access/grants.ts'
import { ConfigError } from '../config.ts'
import { readArguments } from './arguments.ts'
import { openGrants, withPermission } from './local-grants.ts'
import type { Output } from './output.ts'
import { formatTable, plain } from './terminal.ts'
import { formatCount } from './units.ts'

const SHOWN_DIGITS = 8 // as in the logs
const MORE_DIGITS = 16 // to choose by where 8 are not enough
const MOST_NOTED = 100 // of tokens that are revoked at once, in the record of access
const HEAD = ['token', 'project', 'participant', 'issued', 'expires', 'state']

/** Which tokens are meant; what is not given holds for all. */
interface Choice {
  /** The first digits of the SHA-256, 8 at least. */
  readonly digits: string | undefined
  readonly project: string | undefined
  readonly participant: string | undefined
}

/**
 * Lists the auth tokens that were issued, or takes some of them back.
 * @returns the exit code: 1 where nothing was to be revoked, or it is not clear what
 */
export async function tokens(args: readonly string[], { print, note, environment }: Output): Promise<number> {
  const { layout, positionals, text, isSet } = readArguments(args, environment, {
    flags: { project: { type: 'string' }, participant: { type: 'string' }, json: { type: 'boolean' } },
    names: ['list or revoke', '[digits]'],
  })
  const [action = '', digits] = positionals
  const choice = { digits: readDigits(digits), project: text('project'), participant: text('participant')?.trim() }
  if (action !== 'list' && action !== 'revoke') throw new ConfigError([`tokens ${JSON.stringify(action)} is not understood: use tokens list or tokens revoke.`])
  const isAll = Object.values(choice).every((each) => each === undefined)
  if (action === 'revoke' && isAll) throw new ConfigError(['tokens revoke needs --project, --participant or the 8 digits of a token.'])
  return withPermission(layout, async () => {
    const grants = await openGrants(layout)
    const chosen = (await grants.list()).filter((grant) => isChosen(grant, choice))
    if (action === 'list') note({ count: chosen.length })
    if (action === 'list') list(chosen, isSet('json'), print)
    else if (chosen.length === 0) print('No token is meant by this: nothing was revoked.')
    else if (choice.digits !== undefined && chosen.length > 1) refuse(choice.digits, chosen, print)
    else {
      note({ count: chosen.length, tokens: chosen.slice(0, MOST_NOTED).map(({ tokenSha256 }) => tokenSha256.slice(0, SHOWN_DIGITS)) })
      await grants.revoke(chosen)
      tell(chosen, isSet('json'), print)
      return 0
    }
    return action === 'list' ? 0 : 1
  })
}

function readDigits(text: string | undefined): string | undefined {
  if (text === undefined || /^[0-9a-f]{8,64}$/i.test(text)) return text?.toLowerCase()
  throw new ConfigError([`${JSON.stringify(text)} is not allowed: use the 8 hex digits that tokens list and the logs show.`])
}

function isChosen(grant: Grant, { digits, project, participant }: Choice): boolean {
  if (digits !== undefined && !grant.tokenSha256.startsWith(digits)) return false
  return (project === undefined || grant.project === project) && (participant === undefined || grant.participant?.trim() === participant)
}

function list(grants: readonly Grant[], isJson: boolean, print: (line: string) => void): void {
  if (isJson) print(JSON.stringify({ tokens: grants.map(toJson) }))
  else if (grants.length === 0) print('There is no such token.')
  else for (const line of formatTable([HEAD, ...grants.map((grant) => toRow(grant, SHOWN_DIGITS))])) print(line)
}

function refuse(digits: string, grants: readonly Grant[], print: (line: string) => void): void {
  print(`${digits} stands for ${formatCount(grants.length, 'token')}: nothing was revoked. Give more digits:`)
  for (const line of formatTable([HEAD, ...grants.map((grant) => toRow(grant, MORE_DIGITS))])) print(line)
}

function tell(grants: readonly Grant[], isJson: boolean, print: (line: string) => void): void {
  if (isJson) return print(JSON.stringify({ revoked: grants.map(toJson) }))
  for (const line of formatTable([HEAD, ...grants.map((grant) => toRow(grant, SHOWN_DIGITS))])) print(line)
  print(`${formatCount(grants.length, 'token')} revoked. A running server refuses ${grants.length === 1 ? 'it' : 'them'} within a second.`)
}

function toRow({ tokenSha256, project, participant, issuedAtMs, expiresAtMs }: Grant, digits: number): string[] {
  return [tokenSha256.slice(0, digits), project, plain(participant ?? '-'), formatSecond(issuedAtMs), formatSecond(expiresAtMs), isOver(expiresAtMs) ? 'expired' : 'good']
}

function toJson({ tokenSha256, project, participant, issuedAtMs, expiresAtMs }: Grant): object {
  return {
    token: tokenSha256.slice(0, SHOWN_DIGITS),
    token_sha256: tokenSha256,
    project,
    participant: participant ?? null,
    issued_at: formatSecond(issuedAtMs),
    expires_at: formatSecond(expiresAtMs),
    expired: isOver(expiresAtMs),
  }
}

function isOver(expiresAtMs: number): boolean {
  return Date.now() >= expiresAtMs
}

// A record that somebody wrote by hand may say nothing that is a time.
function formatSecond(ms: number): string {
  return Number.isNaN(ms) ? '-' : `${new Date(ms).toISOString().slice(0, 19)}Z`
}
