import { hostname } from 'node:os'
import { readServerList } from '../access/server-lists.ts'
import { ConfigError, readConfig } from '../config.ts'
import { parseRecipientList } from '../crypt/recipient-list.ts'
import { countHoldings } from '../datasheet/holdings.ts'
import { findReaders } from '../datasheet/readers.ts'
import { readRights } from '../datasheet/rights.ts'
import { settingsToNote, type NotedSettings } from '../datasheet/server-note.ts'
import { findSettings } from '../datasheet/told-settings.ts'
import { findStats } from '../identity.ts'
import { isProject } from '../project.ts'
import type { Layout } from '../store/layout.ts'
import { findProjects, readArguments } from './arguments.ts'
import { formatSheet } from './datasheet-page.ts'
import { withPermission } from './local-grants.ts'
import type { Output } from './output.ts'

/**
 * Prints, for an ethics board, one page in Markdown: what of a project is stored where, for how long, who can read it, how it
 * is encrypted, what leaves the machine, and how to withdraw. It is made of the settings that the server noted when it began
 * and of the base directory as it is.
 */
export async function datasheet(args: readonly string[], { print, note, environment, program, version }: Output): Promise<number> {
  const { layout, positionals } = readArguments(args, environment, { flags: {}, names: ['project'] })
  const [project = ''] = positionals
  return withPermission(layout, async () => {
    const nowMs = Date.now()
    if (!isProject(project)) await findProjects(layout, project) // which says so
    const holdings = await countHoldings(layout, project, nowMs)
    const isPrepared = holdings.tokens.all > 0 || (await findStats(layout.keysOf(project).recipients)) !== undefined
    if (!isPrepared) await requireProject(layout, project)
    const { settings, trusted } = await findSettings(layout, () => assumeSettings(layout, environment))
    const { recipients } = settings
    const readers = await findReaders(layout, project, recipients.length === 0 ? undefined : parseRecipientList(recipients.join('\n')))
    const rights = await readRights(layout, project)
    for (const line of formatSheet({ project, nowMs, program, version, host: hostname(), layout, settings, trusted, holdings, rights, readers })) print(line)
    note({ submissions: holdings.submissions })
    return 0
  })
}

// An ethics board asks before anything has arrived.
async function requireProject(layout: Layout, project: string): Promise<void> {
  try {
    await findProjects(layout, project)
  } catch (error) {
    if (!(error instanceof ConfigError) || (await findStats(layout.tokens)) === undefined) throw error
    throw new ConfigError([...error.mistakes, `A project is known from its first auth token on: token --project ${project} --minutes 1.`])
  }
}

/** What a server would have that began with the environment of this command; its recipients an older server may have noted. */
async function assumeSettings(layout: Layout, environment: Output['environment']): Promise<NotedSettings> {
  const config = readConfig(['--basedir', layout.basedir], environment)
  const { tlsCert, host, port } = config
  const settings = settingsToNote(config, [`${tlsCert === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`])
  if (settings.recipients.length > 0) return settings
  const begun = await readServerList(layout.serverKeys.lists)
  return { ...settings, recipients: begun?.recipients.map(({ text }) => text) ?? [] }
}
