import { access, constants } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { TRUST_MS, type Grant } from '../access/grants.ts'
import { ConfigError } from '../config.ts'
import { findBelongings, isNothing, type Belongings, type Staying } from '../dataset/belongings.ts'
import { erase, eraseUnfinished, findUnerased, finishErasures } from '../dataset/erasure.ts'
import type { Keyring } from '../dataset/keyring.ts'
import { isAlike } from '../dataset/mentions.ts'
import { systemCode } from '../errors.ts'
import { findStats } from '../identity.ts'
import { isProject } from '../project.ts'
import type { Layout } from '../store/layout.ts'
import { findProjects, readArguments } from './arguments.ts'
import { IDENTITY_FLAG, readKeyring } from './identity-file.ts'
import { openGrants } from './local-grants.ts'
import type { Output } from './output.ts'
import { describeAlike, toJson, toLines, type Told } from './withdraw-report.ts'

const SETTLE_MS = TRUST_MS + 500 // what was let in just before may still be stored
const PUBLISH_MS = 60_000 // for what a server is storing on a slow disk
const PUBLISHING_LOOK_MS = 200
const MOST_LOOKS = 20 // a page that sends again and again with a token of nobody's must not keep us here

const KEEPS_ARRIVING = { what: 'what has just come', reason: 'More keeps arriving, with a token that was issued for nobody. Revoke that token (tokens list), and run this again.' }

const SLOW_DISK = { what: 'what is being stored', reason: 'It has taken more than a minute, and may be of this participant. Look at the disk of the server, and run this again.' }

interface Wish {
  readonly layout: Layout
  readonly project: string
  readonly participant: string
  /** What opens encrypted files: their answers may tell whose they are. */
  readonly keyring: Keyring | undefined
  /** The arguments of the call. */
  readonly args: readonly string[]
}

/**
 * Shows what of a participant who withdraws would go; with `--yes` it goes.
 * @returns the exit code: 1 where something that names the participant was to go, and stays
 */
export async function withdraw(args: readonly string[], { print, tell, note, input, ifInterrupted, environment }: Output): Promise<number> {
  const { layout, positionals, text, texts, isSet } = readArguments(args, environment, {
    flags: { participant: { type: 'string' }, yes: { type: 'boolean' }, json: { type: 'boolean' }, ...IDENTITY_FLAG },
    names: ['project'],
  })
  const [project = ''] = positionals
  const participant = text('participant')?.trim() ?? ''
  if (participant === '') throw new ConfigError(['--participant is missing: withdraw PROJECT --participant X.'])
  const keyring = await readKeyring(texts('identity'), { input, tell })
  const wish = { layout, project, participant, keyring, args }
  if (isSet('yes')) ifInterrupted('Interrupted. Some of it may be erased, and the rest not: run the same command again.')
  const tokens = isProject(project) ? await findTokens(wish) : []
  if (tokens.length === 0) await findProjects(layout, project)
  const told = isSet('yes') ? await withRight(wish, () => eraseAll(wish)) : await look(wish, tokens)
  note({ receipts: told.receipts.length, files: told.files.length, tokens: told.tokens.length })
  for (const line of isSet('json') ? [JSON.stringify(toJson(told))] : toLines(told)) print(line)
  return told.isDone && told.staying.length + told.unerased.strange.length > 0 ? 1 : 0
}

async function look(wish: Wish, tokens: readonly Grant[]): Promise<Told> {
  const unerased = await findUnerased(wish.layout, wish.project)
  const found = await findBelongings(wish.layout, wish.project, wish.participant, wish.keyring)
  return { ...wish, ...found, staying: [...found.staying, ...(await findAlike(wish, found))], isDone: false, tokens, unerased }
}

// The tokens first: what comes after that is refused. Then until a look finds nothing any more.
async function eraseAll(wish: Wish): Promise<Told> {
  const { layout, project, participant } = wish
  const tokens = await revoke(wish)
  await wait(SETTLE_MS)
  const endMs = performance.now() + PUBLISH_MS
  const unerased = await finishErasures(layout, project)
  const gone: Belongings[] = []
  for (;;) {
    const found = await findBelongings(layout, project, participant, wish.keyring)
    if (isNothing(found) && found.publishing > 0 && performance.now() < endMs) {
      await wait(PUBLISHING_LOOK_MS)
      continue
    }
    const isOver = isNothing(found)
    if (isOver || gone.length === MOST_LOOKS) {
      const staying = [...found.staying, ...(await findAlike(wish, found)), ...(isOver ? [] : [KEEPS_ARRIVING]), ...(found.publishing > 0 ? [SLOW_DISK] : [])]
      return { ...wish, ...found, ...join(gone), staying, isDone: true, tokens, unerased }
    }
    await eraseUnfinished(layout, found.unfinished)
    if (found.receipts.length + found.files.length > 0) await erase(layout, project, found)
    tokens.push(...(await revoke(wish)))
    gone.push(found)
  }
}

function join(all: readonly Belongings[]): Pick<Belongings, 'receipts' | 'files' | 'unfinished' | 'conflicts'> {
  return {
    receipts: all.flatMap(({ receipts }) => receipts),
    files: all.flatMap(({ files }) => files),
    unfinished: all.flatMap(({ unfinished }) => unfinished),
    conflicts: all.flatMap(({ conflicts }) => conflicts),
  }
}

// A name is taken as it was typed, and by nobody's mistake is anybody else to go.
async function findAlike({ layout, project, participant }: Wish, { names }: Belongings): Promise<Staying[]> {
  const invited = (await listTokens(layout, project)).flatMap((grant) => grant.participant?.trim() ?? [])
  const alike = new Set([...names, ...invited].filter((name) => isAlike(name, participant)))
  return [...alike].map((what) => ({ what, reason: describeAlike(what, participant) }))
}

async function revoke(wish: Wish): Promise<Grant[]> {
  const tokens = await findTokens(wish)
  if (tokens.length > 0) await (await openGrants(wish.layout)).revoke(tokens)
  return tokens
}

async function findTokens({ layout, project, participant }: Wish): Promise<Grant[]> {
  return (await listTokens(layout, project)).filter((grant) => grant.participant?.trim() === participant)
}

async function listTokens(layout: Layout, project: string): Promise<Grant[]> {
  if ((await findStats(layout.tokens)) === undefined) return [] // a copy may be without them
  const grants = await openGrants(layout)
  return (await grants.list()).filter((grant) => grant.project === project)
}

/** Does what writes to the base directory; where the system forbids that a sentence says who may, before anything is touched. */
async function withRight<Value>({ layout, project }: Wish, work: () => Promise<Value>): Promise<Value> {
  try {
    for (const path of [layout.basedir, layout.tokens, layout.staging, layout.receiptsOf(project), layout.responsesOf(project)]) {
      if ((await findStats(path)) !== undefined) await access(path, constants.R_OK | constants.W_OK | constants.X_OK)
    }
    return await work()
  } catch (error) {
    const code = systemCode(error)
    if (code === 'EROFS') throw new ConfigError([`${layout.basedir} is on a file system that cannot be written to.`])
    if (code !== 'EACCES' && code !== 'EPERM') throw error
    throw new ConfigError([`${layout.basedir} is not for this user to change. Run the command as root, or as the user that runs the server.`])
  }
}
