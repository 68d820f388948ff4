import { Grants, type Grant } from '../access/grants.ts'
import { ConfigError } from '../config.ts'
import { Directories } from '../directories.ts'
import type { FileOwner } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { findStats } from '../identity.ts'
import { SETTINGS } from '../settings/settings.ts'
import type { Layout } from '../store/layout.ts'
import type { Output } from './output.ts'
import { formatCount } from './units.ts'

/**
 * Opens the auth tokens of a base directory for a command on its machine. What the command adds belongs to whom the
 * directory belongs, also where root runs the command: the server has to read it.
 * Throws a `ConfigError` where no server has been started with this base directory.
 */
export async function openGrants(layout: Layout): Promise<Grants> {
  return new Grants(layout.tokens, new Directories(), await findOwner(layout))
}

/** Gives the user whom what a command adds to a base directory is to belong to; throws as `openGrants` does. */
export async function findOwner(layout: Layout): Promise<FileOwner> {
  const found = await findStats(layout.tokens)
  if (found?.isDirectory() === true) return { uid: Number(found.uid), gid: Number(found.gid) }
  throw new ConfigError([
    `${layout.basedir} is not the base directory of a server: it has no directory tokens. Give it with --basedir or ${SETTINGS.basedir.variable}, or start the server once.`,
  ])
}

/** Writes what was issued. Where it cannot be written whole the tokens are taken back, and standard error says so. */
export async function handOver(grants: Grants, issued: readonly Grant[], { write, tell }: Pick<Output, 'write' | 'tell'>, text: string): Promise<void> {
  try {
    await write(Buffer.from(text))
  } catch (error) {
    await grants.revoke(issued)
    tell(`The output was not written whole, so ${formatCount(issued.length, 'token')} ${issued.length === 1 ? 'was' : 'were'} taken back: use nothing of it.`)
    throw error
  }
}

/** Does what may write to the tokens; where the system forbids it a sentence says who may. */
export async function withPermission<Value>(layout: Layout, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work()
  } catch (error) {
    if (systemCode(error) !== 'EACCES' && systemCode(error) !== 'EPERM') throw error
    throw new ConfigError([`${layout.tokens} is not for this user. Run the command as root, or as the user that runs the server.`])
  }
}
