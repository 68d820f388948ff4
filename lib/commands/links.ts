import { isUtf8 } from 'node:buffer'
import { randomInt } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { addParameters, findParameter, parseCallbackUrl } from '../access/callback.ts'
import type { Grant, Grants } from '../access/grants.ts'
import { isParticipant, parseMinutes } from '../access/wish.ts'
import { ConfigError } from '../config.ts'
import { formatCsvRow } from '../csv.ts'
import { HttpError, systemCode } from '../errors.ts'
import { isProject } from '../project.ts'
import { MAX_TEXT_BYTES } from '../qr/qr-code.ts'
import { readArguments, type Arguments } from './arguments.ts'
import { formatLinkPage, type ParticipantLink } from './link-page.ts'
import { handOver, openGrants, withPermission } from './local-grants.ts'
import { openKeys, RECIPIENT_FLAGS, requireProven } from './local-keys.ts'
import type { Output } from './output.ts'

const LINK_MINUTES = 43_200 // 30 days: a printed link is not opened at once
const MOST = 100_000
const AT_ONCE = 50
const CODE_CHARACTERS = '23456789abcdefghjkmnpqrstuvwxyz' // none that looks like another
const CODE_LENGTH = 8

interface Wish {
  readonly project: string
  readonly ui: string
  readonly minutes: number
  readonly participants: readonly string[]
}

/**
 * Issues one auth token for each participant and prints the links that they open: CSV (RFC 4180) with participant, link and
 * expiry, or a page to print with a QR code each. Every token is durable before the first line is printed.
 */
export async function links(args: readonly string[], { note, environment, ...output }: Output): Promise<number> {
  const { layout, positionals, text, isSet } = readArguments(args, environment, {
    flags: { ui: { type: 'string' }, participants: { type: 'string' }, count: { type: 'string' }, minutes: { type: 'string' }, html: { type: 'boolean' }, ...RECIPIENT_FLAGS },
    names: ['project'],
  })
  const wish = await readWish(positionals[0] ?? '', text)
  return withPermission(layout, async () => {
    const grants = await openGrants(layout)
    await requireProven(await openKeys(layout, text, environment), wish.project)
    const issued = await issueAll(grants, wish)
    note({ count: issued.length })
    const all = issued.map(({ shown }) => shown)
    await handOver(grants, issued.map(({ grant }) => grant), output, isSet('html') ? `${formatLinkPage(wish.project, all)}\n` : formatList(all))
    return 0
  })
}

function formatList(all: readonly ParticipantLink[]): string {
  const rows = all.map(({ participant, url, expires }) => [participant, url, expires])
  return [['participant', 'link', 'expires'], ...rows].map(formatCsvRow).join('')
}

interface Issued {
  readonly shown: ParticipantLink
  readonly grant: Grant
}

async function issueAll(grants: Grants, { project, ui, minutes, participants }: Wish): Promise<Issued[]> {
  const issueOne = async (participant: string): Promise<Issued> => {
    const { authToken, grant } = await grants.issue({ project, participant, minutes, nowMs: Date.now() })
    const expires = new Date(grant.expiresAtMs).toISOString().replace('.000', '')
    return { shown: { participant, url: formatLink(ui, { participant, authToken, expires }), expires }, grant }
  }
  const issued: Issued[] = []
  for (let at = 0; at < participants.length; at += AT_ONCE) {
    issued.push(...(await Promise.all(participants.slice(at, at + AT_ONCE).map(issueOne)))) // they share the sync of the directory
  }
  return issued
}

// What reproschema-ui reads from its address; `uid` is then in the names of what it uploads.
const PARAMETERS = ['auth_token', 'expiry_time', 'uid'] as const

function formatLink(ui: string, { participant, authToken, expires }: { participant: string; authToken: string; expires: string }): string {
  const values = { auth_token: authToken, expiry_time: expires.replace(/[:-]/g, ''), uid: participant }
  return addParameters(ui, PARAMETERS.map((name) => [name, values[name]] as const))
}

async function readWish(project: string, text: Arguments['text']): Promise<Wish> {
  const mistakes: string[] = []
  const attempt = async <Value>(read: () => Value | Promise<Value>, otherwise: Value): Promise<Value> => {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      mistakes.push(...error.mistakes)
      return otherwise
    }
  }
  if (!isProject(project)) {
    mistakes.push(`The project ${JSON.stringify(project)} is not allowed: use 1 to 100 characters of A-Z a-z 0-9 . _ - that begin with a letter, a digit or an underscore.`)
  }
  const ui = await attempt(() => readUi(text('ui')), '')
  const participants = await attempt(() => readParticipants(text), [])
  const minutes = parseMinutes(text('minutes') ?? String(LINK_MINUTES))
  if (minutes === undefined) mistakes.push(`--minutes=${JSON.stringify(text('minutes'))} is not allowed: use a whole number from 1 to 525600.`)
  const longest = participants.reduce((most, participant) => Math.max(most, Buffer.byteLength(encodeURIComponent(participant))), 0)
  if (Buffer.byteLength(ui) + longest + project.length + 100 > MAX_TEXT_BYTES) mistakes.push('The links would be longer than a QR code holds: use a shorter address with --ui.')
  if (minutes === undefined || mistakes.length > 0) throw new ConfigError(mistakes)
  return { project, ui, minutes, participants }
}

function readUi(given: string | undefined): string {
  if (given === undefined) throw new ConfigError(['--ui is missing: give the address of the web app, such as https://ui.example.org/#/?url=…'])
  const ui = readAddress(given)
  const own = findParameter(ui, PARAMETERS)
  if (own !== undefined) throw new ConfigError([`--ui has ${own} already, as a participant's link has: give the address of the app without ${PARAMETERS.join(', ')}.`])
  return ui
}

function readAddress(given: string): string {
  try {
    return parseCallbackUrl(given, true)
  } catch (error) {
    if (!(error instanceof HttpError)) throw error
    throw new ConfigError([`--ui=${JSON.stringify(given)} is not allowed: use an absolute http: or https: address of at most 2000 characters.`])
  }
}

async function readParticipants(text: Arguments['text']): Promise<string[]> {
  const [file, count] = [text('participants'), text('count')]
  if (file === undefined && count === undefined) {
    throw new ConfigError(['For whom? Give --participants FILE, one participant a line, or --count N for new names.'])
  }
  if (file !== undefined && count !== undefined) throw new ConfigError(['--participants and --count are both given: use one of them.'])
  return file === undefined ? makeNames(count ?? '') : readNames(file)
}

function makeNames(count: string): string[] {
  const wanted = /^\d{1,6}$/.test(count) ? Number(count) : 0
  if (wanted < 1 || wanted > MOST) throw new ConfigError([`--count=${JSON.stringify(count)} is not allowed: use a whole number from 1 to ${MOST}.`])
  const names = new Set<string>()
  while (names.size < wanted) {
    names.add(`p-${Array.from({ length: CODE_LENGTH }, () => CODE_CHARACTERS[randomInt(CODE_CHARACTERS.length)]).join('')}`)
  }
  return [...names]
}

async function readNames(path: string): Promise<string[]> {
  const content = await readFile(path).catch((error: unknown) => {
    if (systemCode(error) === undefined) throw error
    throw new ConfigError([`--participants=${JSON.stringify(path)} cannot be read: ${error instanceof Error ? error.message : String(error)}`])
  })
  if (!isUtf8(content)) throw new ConfigError([`${path} is not UTF-8: save it as that, so that every name is read as it was written.`])
  const names = content.toString().replace(/^\ufeff/, '').split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== '')
  const wrong = names.find((name) => !isParticipant(name))
  const seen = new Set<string>()
  const twice = names.find((name) => seen.size === seen.add(name.normalize()).size) // nobody could tell them apart
  if (names.length === 0) throw new ConfigError([`${path} names no participant: write one a line.`])
  if (wrong !== undefined) throw new ConfigError([`${path} has ${JSON.stringify(wrong)}: a participant has 1 to 200 characters without control characters.`])
  if (twice !== undefined) throw new ConfigError([`${path} names ${JSON.stringify(twice)} twice.`])
  return names
}
