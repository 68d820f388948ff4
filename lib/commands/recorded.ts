import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { hostname, userInfo } from 'node:os'
import { dirname } from 'node:path'
import { Grants } from '../access/grants.ts'
import { makeEntry, type EntryFields } from '../audit/entry.ts'
import { MonthFile } from '../audit/month-file.ts'
import { ConfigError, readOne } from '../config.ts'
import { Directories } from '../directories.ts'
import type { FileOwner } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { findStats } from '../identity.ts'
import { SETTINGS } from '../settings/settings.ts'
import { sha256Of } from '../sha256.ts'
import { Layout } from '../store/layout.ts'
import { describeCall, type Call } from './call.ts'
import type { Command } from './commands.ts'
import { isBasedir } from './local-basedir.ts'
import type { Output } from './output.ts'

const EXIT_FAILURE = 1
const EXIT_USAGE = 2
const NO_LOGIN = '4294967295' // proc(5): nobody has logged in, as for a service
const OF_NEW_PROJECTS = new Set(['token', 'links', 'keys']) // a project begins with one of these
const BASEDIR = /^--basedir(?:=(.*))?$/s

/**
 * Does a command and records that it was done: an entry that is durable before the command begins, and one when it has
 * ended. A base directory that cannot be written, or is full, is no reason not to look at what it holds, nor to take a
 * token back: the command then goes on, and standard error says that no entry was written.
 * @returns the exit code of the command
 */
export async function runRecorded(name: string, { run }: Command, args: readonly string[], output: Output): Promise<number> {
  const layout = findLayout(args, output.environment)
  if (layout === undefined || !(await mayBeRecorded(layout))) return run(args, output) // nothing that somebody could have had access to
  const call = await describe(name, args, layout)
  const record = await openRecord(layout, call, output)
  const noted: Record<string, EntryFields[string]> = {}
  const end = (exitCode: number) => record(`${name}_ended`, { ...noted, exit_code: exitCode })
  await record(`${name}_begun`, { called: call.words })
  try {
    const exitCode = await run(args, { ...output, note: (fields) => void Object.assign(noted, fields) })
    await end(exitCode)
    return exitCode
  } catch (error) {
    await end(error instanceof ConfigError ? EXIT_USAGE : EXIT_FAILURE)
    throw error
  }
}

type Recorder = (event: string, fields: EntryFields) => Promise<void>

async function openRecord(layout: Layout, { project }: Call, { environment, tell, userId }: Output): Promise<Recorder> {
  const machine = sha256Of(`${hostname()}\n${readLine('/etc/machine-id')}`).slice(0, 8)
  const self = randomBytes(4).toString('hex')
  const owner = userId === 0 ? await findOwner(layout) : undefined
  const file = new MonthFile({ directory: layout.audit, directories: new Directories(), keeper: `u${userId ?? ''}-${machine}`, self, owner })
  const who = { ...describeUser(userId, environment), host: hostname(), run: self, project }
  let hasWarned = false
  return async (event, fields) => {
    try {
      await file.append(makeEntry(event, { ...who, ...fields }))
    } catch (error) {
      const what = event.endsWith('_ended') ? 'the end of this call' : 'this call'
      if (!hasWarned) tell(`WARNING: ${what} is not in the record of access, since ${layout.audit} cannot be written: ${reasonOf(error)}`)
      hasWarned = true
    }
  }
}

function findLayout(args: readonly string[], environment: Output['environment']): Layout | undefined {
  const index = args.findLastIndex((arg) => BASEDIR.test(arg))
  const given = index < 0 ? undefined : (BASEDIR.exec(args[index] ?? '')?.[1] ?? args[index + 1])
  try {
    return new Layout(readOne(SETTINGS.basedir, given, environment))
  } catch (error) {
    if (error instanceof ConfigError) return undefined // the command says so itself
    throw error
  }
}

// Any directory can be given: nothing is begun in one where no server has ever been.
async function mayBeRecorded(layout: Layout): Promise<boolean> {
  try {
    return await isBasedir(layout)
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return false // not for this user: the command says so itself
  }
}

// An entry cannot be taken back: whoever confuses the project with the participant must not have named that one in it.
async function describe(name: string, args: readonly string[], layout: Layout): Promise<Call> {
  const call = describeCall(name, args)
  if (call.project === undefined || OF_NEW_PROJECTS.has(name) || (await isKnown(layout, call.project))) return call
  return describeCall(name, args, false)
}

async function isKnown(layout: Layout, project: string): Promise<boolean> {
  try {
    const places = [layout.receiptsOf(project), layout.responsesOf(project), dirname(layout.keysOf(project).recipients)]
    if ((await Promise.all(places.map(findStats))).some((each) => each !== undefined)) return true
    if ((await findStats(layout.tokens)) === undefined) return false
    return (await new Grants(layout.tokens, new Directories()).list()).some((grant) => grant.project === project)
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return false // not for this user, who writes no entry then
  }
}

// What root writes, the user of the server is to go on with: whose the tokens are.
async function findOwner(layout: Layout): Promise<FileOwner> {
  const { uid, gid } = (await findStats(layout.tokens)) ?? (await stat(layout.basedir))
  return { uid: Number(uid), gid: Number(gid) }
}

// sudo(8) says who became root; the kernel keeps who logged in, through su and sudo.
function describeUser(userId: number | undefined, environment: Output['environment']): EntryFields {
  const login = readLine('/proc/self/loginuid')
  return {
    user: nameOf(userId),
    uid: userId,
    login_uid: login === '' || login === NO_LOGIN || login === String(userId) ? undefined : Number(login),
    sudo_user: /^[\w.@-]{1,64}$/.test(environment['SUDO_USER'] ?? '') ? environment['SUDO_USER'] : undefined,
  }
}

function nameOf(userId: number | undefined): string | undefined {
  try {
    return userInfo().username
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return userId === undefined ? undefined : String(userId) // of no account, as in a container
  }
}

function readLine(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return ''
  }
}

function reasonOf(error: unknown): string {
  return systemCode(error) ?? (error instanceof Error ? error.message : String(error))
}
