import { Challenges, CHALLENGE_DAYS, type Outcome } from '../access/challenges.ts'
import type { ConfiguredList } from '../access/project-keys.ts'
import { addProof } from '../access/proofs.ts'
import { RecipientsError } from '../access/recipients-error.ts'
import { readServerList } from '../access/server-lists.ts'
import { ConfigError } from '../config.ts'
import { formatArmor } from '../crypt/armor.ts'
import { Encryption } from '../crypt/encryption.ts'
import { Directories } from '../directories.ts'
import type { FileOwner } from '../durable.ts'
import { isProject } from '../project.ts'
import type { KeyPlace } from '../store/layout.ts'
import type { Arguments } from './arguments.ts'
import { findOwner, withPermission } from './local-grants.ts'
import { openKeys } from './local-keys.ts'
import type { Output } from './output.ts'
import { formatCount } from './units.ts'

const REFUSED: Readonly<Record<Exclude<Outcome, 'right'>, string>> = {
  unknown: 'This code is not known here, or is not for these recipients: look for a mistyped character, or make a new one with',
  expired: `This code is older than ${CHALLENGE_DAYS} days: make a new one with`,
  'for other recipients': 'This code was made for other recipients than those that are configured now: make a new one with',
}

/** What a challenge is about. */
interface Subject extends ConfiguredList {
  readonly place: KeyPlace
  readonly owner: FileOwner
  readonly directories: Directories
  /** Who has these recipients, in words. */
  readonly whose: string
  /** The project as an argument, with a blank behind it; empty where the recipients are the server's. */
  readonly argument: string
}

/** Prints a new code that only the recipients of a project, or of the server, can read. */
export async function challenge(given: Arguments, { print, tell, environment }: Output): Promise<number> {
  return withPermission(given.layout, async () => {
    const { list, place, owner, directories, whose, argument } = await readSubject(given, environment, given.positionals[1])
    const code = await new Challenges(place.challenges, directories, owner).open(list, Date.now())
    const encryption = new Encryption(list.recipients)
    const file = Buffer.concat([...encryption.update(Buffer.from(`${code}\n`)), ...encryption.final()])
    print(formatArmor(file).trimEnd())
    tell(
      `This code is encrypted to ${whose} (${formatCount(list.recipients.length, 'recipient')}): on a machine that has the key, "keys open KEYFILE" reads this text and shows the code, which "keys prove ${argument}CODE" takes here within ${CHALLENGE_DAYS} days.`,
    )
    return 0
  })
}

/** Records that somebody could read the code: from now on tokens are issued. */
export async function prove(given: Arguments, { print, tell, environment }: Output): Promise<number> {
  const [, first = '', second] = given.positionals
  const [project, code] = second === undefined ? [undefined, first] : [first, second]
  return withPermission(given.layout, async () => {
    const { list, place, owner, directories, whose, argument, isOwn } = await readSubject(given, environment, project)
    const outcome = await new Challenges(place.challenges, directories, owner).check(code, list, Date.now())
    if (outcome !== 'right') {
      tell(`${REFUSED[outcome]} "keys challenge${argument === '' ? '' : ` ${argument.trim()}`}".`)
      return 1
    }
    await addProof(place.proofs, { list, provenAtMs: Date.now() }, directories, owner)
    print(`Proven: ${whose}. A running server issues tokens within a second.`)
    const begun = await readServerList(given.layout.serverKeys.lists)
    if (!isOwn && begun?.digest !== list.digest) tell('The server did not begin with these recipients: start it with them.')
    return 0
  })
}

async function readSubject({ layout, text }: Arguments, environment: Output['environment'], project: string | undefined): Promise<Subject> {
  if (project !== undefined && !isProject(project)) {
    throw new ConfigError([`The project ${JSON.stringify(project)} is not allowed: use 1 to 100 characters of A-Z a-z 0-9 . _ - that begin with a letter, a digit or an underscore.`])
  }
  const owner = await findOwner(layout)
  const keys = await openKeys(layout, text, environment)
  const configured = await keys.configuredFor(project).catch((error: unknown) => {
    throw error instanceof RecipientsError ? new ConfigError([error.message]) : error
  })
  const directories = new Directories(owner)
  if (project === undefined || !configured.isOwn) return { ...configured, place: layout.serverKeys, owner, directories, whose: 'the server\'s recipients', argument: '' }
  return { ...configured, place: layout.keysOf(project), owner, directories, whose: `the recipients of ${project}`, argument: `${project} ` }
}
