import { readdir } from 'node:fs/promises'
import { ConfigError } from '../config.ts'
import { systemCode } from '../errors.ts'
import { findStats } from '../identity.ts'
import { SETTINGS } from '../settings/settings.ts'
import type { Layout } from '../store/layout.ts'

const GIVE_IT = `Give it with --basedir or ${SETTINGS.basedir.variable}.`

/** Says whether a directory has anything that a server keeps in its base directory; throws what the system says. */
export async function isBasedir(layout: Layout): Promise<boolean> {
  const found = await Promise.all([layout.tokens, layout.receipts, layout.responses, layout.audit].map(findStats))
  return found.some((each) => each?.isDirectory() === true)
}

/** Throws a `ConfigError` where there is no base directory, nor a copy of one: nothing that it lacks is to pass for whole. */
export async function requireBasedir(layout: Layout): Promise<void> {
  const { basedir } = layout
  try {
    await readdir(basedir)
    if (await isBasedir(layout)) return
  } catch (error) {
    const code = systemCode(error)
    if (code === 'EACCES' || code === 'EPERM') {
      throw new ConfigError([`${basedir} is not for this user. Run the command as root, or as the user that runs the server.`])
    }
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error
    throw new ConfigError([`There is no base directory ${basedir}. ${GIVE_IT}`])
  }
  throw new ConfigError([`${basedir} is not the base directory of a server: it has no uploads/responses, receipts, tokens or audit. ${GIVE_IT}`])
}
