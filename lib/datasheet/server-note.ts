import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../config.ts'
import { entriesOf, type Directories } from '../directories.ts'
import { createWhole, remove, syncDirectory } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { isObject, parseObject } from '../json.ts'
import type { AlertTarget } from '../settings/observation.ts'
import type { Layout } from '../store/layout.ts'
import { describeSelf, isRunning, toOwner, type Owner } from '../store/owner.ts'

const NAME = /^\d{8}T\d{9}Z-[0-9a-f]{8}\.json$/
const MOST_KEPT = 50 // of servers of which nobody here knows whether they run: in containers, say

/** Settings of a server that say what becomes of data, as they are noted. */
export interface NotedSettings {
  readonly basedir: string
  readonly listening: readonly string[]
  readonly tls: boolean
  readonly trusted_proxies: readonly string[]
  readonly cors_origins: readonly string[] | '*'
  /** As they are written, `age1…`. */
  readonly recipients: readonly string[]
  /** Whether the server made the admin token itself, and wrote it to `console.log`. */
  readonly token_in_log: boolean
  /** Where alerts go: the program without its arguments, or the origin of the address; the rest may be secret. */
  readonly alerts: string | null
  readonly log_printed: boolean
  readonly log_bytes: number
  readonly development: boolean
}

/** What a server notes when it has begun, for whoever asks later how it is set. */
export interface ServerNote {
  /** RFC 3339 in UTC. */
  readonly began_at: string
  readonly version: string
  readonly owner: Owner
  readonly settings: NotedSettings
}

/** A note that was found, and whether its server still runs; undefined where this process cannot know. */
export interface FoundNote {
  readonly note: ServerNote
  readonly isRunning: boolean | undefined
}

/** Gives of a configuration what is noted: nothing secret. */
export function settingsToNote(config: Config, listening: readonly string[]): NotedSettings {
  const { basedir, trustedProxies, corsOrigins, alert, logBytes, isDevelopment } = config
  return {
    basedir,
    listening,
    tls: config.tlsCert !== undefined,
    trusted_proxies: trustedProxies,
    cors_origins: corsOrigins,
    recipients: ((config.recipients ?? config.recipientsFile)?.recipients ?? []).map(({ text }) => text),
    token_in_log: (config.token ?? config.tokenFile) === undefined,
    alerts: alert === undefined ? null : nameTarget(alert),
    log_printed: config.isLogPrinted || isDevelopment,
    log_bytes: logBytes,
    development: isDevelopment,
  }
}

/** Notes the settings of the server that this process is, and removes the notes of servers that have ended. */
export async function noteServer(layout: Layout, { version, settings }: Pick<ServerNote, 'version' | 'settings'>, directories: Directories): Promise<void> {
  const beganAt = new Date().toISOString()
  const note = { began_at: beganAt, version, owner: describeSelf(), settings } satisfies ServerNote
  const name = `${beganAt.replace(/[:.-]/g, '')}-${randomBytes(4).toString('hex')}.json`
  await directories.ensure(layout.servers)
  await createWhole(join(layout.servers, name), `${JSON.stringify(note)}\n`)
  const others = (await namesIn(layout.servers)).filter((each) => each !== name)
  let unknown = 0
  for (const other of others) {
    const isRunning = (await readNote(join(layout.servers, other)))?.isRunning
    if (isRunning === undefined) unknown++
    if (isRunning === false || (isRunning === undefined && unknown > MOST_KEPT)) await remove(join(layout.servers, other))
  }
  await syncDirectory(layout.servers)
}

/** Reads the notes of servers on a base directory, the last first; what is none is passed over. */
export async function readServerNotes(layout: Layout): Promise<FoundNote[]> {
  const notes: FoundNote[] = []
  for (const name of await namesIn(layout.servers)) {
    const found = await readNote(join(layout.servers, name))
    if (found !== undefined) notes.push(found)
  }
  return notes
}

function nameTarget(target: AlertTarget): string {
  return target.type === 'post' ? new URL(target.url).origin : (target.command[0] ?? '')
}

async function namesIn(directory: string): Promise<string[]> {
  return (await entriesOf(directory)).filter((name) => NAME.test(name)).toSorted().toReversed()
}

async function readNote(path: string): Promise<FoundNote | undefined> {
  try {
    const note = parseNote(await readFile(path, 'utf8'))
    return note === undefined ? undefined : { note, isRunning: isRunning(note.owner, describeSelf()) }
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    return undefined // removed by a server that has just begun
  }
}

function parseNote(text: string): ServerNote | undefined {
  const { began_at: beganAt, version, owner: given, settings } = parseObject(text) ?? {}
  const owner = toOwner(given)
  if (typeof beganAt !== 'string' || Number.isNaN(Date.parse(beganAt)) || typeof version !== 'string') return undefined
  return owner === undefined || !isSettings(settings) ? undefined : { began_at: beganAt, version, owner, settings }
}

function isSettings(value: unknown): value is NotedSettings {
  if (!isObject(value)) return false
  const { basedir, cors_origins: corsOrigins, alerts, log_bytes: logBytes } = value
  if (typeof basedir !== 'string' || typeof logBytes !== 'number') return false
  if (![value['listening'], value['trusted_proxies'], value['recipients']].every(isTexts)) return false
  if (![value['tls'], value['token_in_log'], value['log_printed'], value['development']].every((each) => typeof each === 'boolean')) return false
  return (corsOrigins === '*' || isTexts(corsOrigins)) && (alerts === null || typeof alerts === 'string')
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string')
}
