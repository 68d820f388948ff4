import { ProjectKeys } from '../access/project-keys.ts'
import { readServerList } from '../access/server-lists.ts'
import { ConfigError, readOne } from '../config.ts'
import { SETTINGS } from '../settings/settings.ts'
import type { Layout } from '../store/layout.ts'
import type { Arguments, Flags } from './arguments.ts'

/** The flags by which a command is told the server's recipients. */
export const RECIPIENT_FLAGS: Flags = { recipients: { type: 'string' }, 'recipients-file': { type: 'string' } }

/**
 * Opens the recipients of a base directory for a command on its machine: the server's are those of the arguments or the
 * environment, else those that the server has begun with last. Throws a `ConfigError`.
 */
export async function openKeys(layout: Layout, text: Arguments['text'], environment: Readonly<Record<string, string | undefined>>): Promise<ProjectKeys> {
  const given = readOne(SETTINGS.recipients, text('recipients'), environment)
  const inFile = readOne(SETTINGS.recipientsFile, text('recipients-file'), environment)
  if (given !== undefined && inFile !== undefined) {
    throw new ConfigError([`${SETTINGS.recipients.variable} and ${SETTINGS.recipientsFile.variable} are both set: use one of them.`])
  }
  return new ProjectKeys({ places: layout, serverList: given ?? inFile ?? (await readServerList(layout.serverKeys.lists)) })
}

/** Lets no token be issued for a project whose recipients are not proven; throws a `ConfigError`. */
export async function requireProven(keys: ProjectKeys, project: string): Promise<void> {
  const reason = await keys.findTrouble(project)
  if (reason !== undefined) throw new ConfigError([`No token is issued: ${reason}.`])
}
