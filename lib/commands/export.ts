import { readdir, readFile, realpath } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { ConfigError } from '../config.ts'
import { readArrivals, type Arrivals, type Snapshot } from '../dataset/arrivals.ts'
import { ExportError } from '../dataset/export-tree.ts'
import { exportProject, type ExportCount, type Selection } from '../dataset/export.ts'
import { Keyring } from '../dataset/keyring.ts'
import { makeDirectories, syncNames } from '../dataset/new-directory.ts'
import { listDirectory } from '../dataset/projects.ts'
import { Vault } from '../dataset/vault.ts'
import { isWithdrawal } from '../dataset/withdrawals.ts'
import { createWhole, remove } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { parseJson } from '../json.ts'
import { quote } from '../shell.ts'
import type { Layout } from '../store/layout.ts'
import { findProjects, readArguments } from './arguments.ts'
import { IDENTITY_FLAG, readKeyring } from './identity-file.ts'
import type { Output } from './output.ts'
import { readParticipant } from './participant-flag.ts'
import { Progress } from './progress.ts'
import { warnOfReceipts } from './receipt-warning.ts'
import { parseSince } from './since.ts'
import { plain } from './terminal.ts'
import { formatCount } from './units.ts'

const STATE = '.export.json'
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']) // of what is written to: nothing is written to the base directory

/** A selection with what tells its identities from others. */
type Selected = Selection & { readonly identities: string | undefined }

/**
 * Writes a project's data as a dataset into a directory of its own.
 * @returns the exit code: 0 if everything was written
 */
export async function exportDataset(args: readonly string[], { print, note, tell, input, showProgress, ifInterrupted, environment }: Output): Promise<number> {
  const { layout, positionals, text, texts, isSet } = readArguments(args, environment, {
    flags: { since: { type: 'string' }, participant: { type: 'string' }, resume: { type: 'boolean' }, ...IDENTITY_FLAG },
    names: ['project', 'out'],
  })
  const [project = '', out = ''] = positionals
  const wish = { project, since: parseSince(text('since')), participant: readParticipant(text) }
  if (out === '') throw new ConfigError(['<out> is empty. Name the directory that the dataset goes to.'])
  await findProjects(layout, project)
  const root = resolve(out)
  const keyring = await readKeyring(texts('identity'), { input, tell })
  const selection = { ...wish, identities: keyring?.digest }
  const snapshot = await findSnapshot(layout, root, selection, isSet('resume'))
  const arrivals = await readArrivals(layout, project, snapshot)
  await requireKey(arrivals, project, new Vault(layout.responsesOf(project), keyring))
  await prepare(root)
  const keepSnapshot = async (taken: Snapshot) => {
    if (snapshot !== undefined) return
    await createWhole(join(root, STATE), `${JSON.stringify({ ...selection, snapshot: taken })}\n`)
    await syncNames(root)
  }
  const count: ExportCount = { files: 0, bytes: 0, ofFiles: 0, ofBytes: 0 }
  ifInterrupted(`Interrupted. What is in ${root} is kept: complete it with --resume.`)
  const progress = new Progress(showProgress, () => count)
  try {
    const exported = await exportProject({ layout, selection, root, arrivals, keyring: keyring ?? new Keyring([]), keepSnapshot, count })
    const { sessions, incomplete, unassigned, others, files, unassignedFiles, unreadableReceipts, locked, changed } = exported
    progress.end()
    note({ sessions, files })
    warnOfReceipts(project, unreadableReceipts, print)
    if (locked > 0) print(`WARNING: ${formatCount(locked, 'encrypted file')} of ${project} could be opened with none of the identities. incomplete/reasons.csv names what is set aside for it; an export with the right identity has it.`)
    if (changed > 0) print(`WARNING: ${formatCount(changed, 'file')} of ${project} ${changed === 1 ? 'differs from its receipt' : 'differ from their receipts'}, and ${changed === 1 ? 'is' : 'are'} set aside: incomplete/reasons.csv says which, and how. Look for ${changed === 1 ? 'it' : 'them'} in a backup.`)
    if (wish.participant !== undefined && sessions + others === 0) print(formatNothing(wish.participant, project))
    print(`${project}: ${formatCount(sessions, 'session')} (${incomplete} incomplete, ${unassigned} unassigned), ${formatCount(files, 'file')} in ${root}${unassignedFiles > 0 ? `, ${unassignedFiles} of them in unassigned/` : ''}`)
    return 0
  } catch (error) {
    progress.end()
    print(`FAILED: ${explain(error, root)}`)
    return 1
  }
}

function explain(error: unknown, root: string): string {
  if (error instanceof ExportError) return error.message
  if (!(error instanceof Error) || !FULL.has(systemCode(error) ?? '')) throw error
  return `${root} cannot take more (${error.message}). What is there is kept: make room, and complete it with --resume.`
}

// An export takes what is known to be a participant's; `status` also tells of what names one besides.
function formatNothing(participant: string, project: string): string {
  const who = plain(participant)
  return `WARNING: nothing of ${who} is in this export. Whether anything has arrived that names ${who} tells: status ${project} --participant ${quote(who)}`
}

/** An encrypted project takes a key, and one that opens something: else all of it would be set aside. */
async function requireKey({ submissions }: Arrivals, project: string, vault: Vault): Promise<void> {
  const sealed = submissions.flatMap(({ files }) => files).filter((file) => file.sealed !== undefined && file.field !== undefined)
  if (sealed.length === 0) return
  const [first] = sealed
  if (first !== undefined && !vault.mayRead(first)) {
    throw new ConfigError([`${formatCount(sealed.length, 'file')} of ${project} ${sealed.length === 1 ? 'is' : 'are'} encrypted: give the key that opens them with --identity FILE, on the machine where that key is kept, or with --identity - on standard input.`])
  }
  for (const file of sealed) if (await vault.opens(file)) return
  throw new ConfigError([`No identity that was given opens an encrypted file of ${project}: all ${sealed.length} were encrypted to other keys. Nothing was written.`])
}

/** Gives what an interrupted export into a directory had taken. */
async function findSnapshot(layout: Layout, root: string, selection: Selected, isResumed: boolean): Promise<Snapshot | undefined> {
  if (await isWithin(root, layout.basedir)) throw new ConfigError([`${root} is in the base directory, where nothing may be changed. Choose another one.`])
  const entries = await listNames(root)
  const state = entries.includes(STATE) ? parseState(await readFile(join(root, STATE), 'utf8')) : undefined
  if (state === undefined && entries.every((name) => name === STATE)) return undefined
  if (state === undefined) throw new ConfigError([`${root} is not empty, and no export has begun in it. Choose another one.`])
  if (!isResumed) throw new ConfigError([`${root} has an export already. Add --resume to complete it, or choose another one for what has arrived since.`])
  const { project, since, participant, identities, snapshot } = state
  if (project !== selection.project || since !== selection.since || participant !== selection.participant) {
    throw new ConfigError([`${root} has an export of another project or selection. Choose another one.`])
  }
  if (identities !== selection.identities) throw new ConfigError([`${root} has an export that was made with other identities. Give the same ones, or choose another directory.`])
  await refuseWithdrawn(layout, root, project, snapshot)
  return snapshot
}

// What had been written of who withdrew since would stay, among what is exported.
async function refuseWithdrawn(layout: Layout, root: string, project: string, snapshot: Snapshot): Promise<void> {
  const { files } = await listDirectory(layout.receiptsOf(project))
  if (files.filter(isWithdrawal).every((name) => name in snapshot.receipts)) return
  throw new ConfigError([`A participant has withdrawn since the export into ${root} began, and it may hold what was erased. Remove that directory, and export to a new one.`])
}

/** Makes the directory, empty but for an export that is completed. */
async function prepare(root: string): Promise<void> {
  await makeRoot(root)
  const entries = await readdir(root)
  if (entries.includes(STATE) && entries.length === 1 && parseState(await readFile(join(root, STATE), 'utf8')) === undefined) {
    await remove(join(root, STATE)) // all that is left of an export that was cut as it began
  }
}

async function listNames(root: string): Promise<string[]> {
  try {
    return await readdir(root)
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [] // it is made later, or cannot be
    throw error
  }
}

async function makeRoot(root: string): Promise<void> {
  try {
    await makeDirectories(root)
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    const reason = code === 'EEXIST' || code === 'ENOTDIR' ? 'a file stands there, or in its way' : code
    throw new ConfigError([`The directory ${root} cannot be made: ${reason}. Choose another one.`])
  }
}

// Written by this same command and synced whole before anything else: what parses is complete.
function parseState(text: string): (Selected & { snapshot: Snapshot }) | undefined {
  return parseJson(text) as (Selected & { snapshot: Snapshot }) | undefined
}

async function isWithin(path: string, directory: string): Promise<boolean> {
  return `${await resolveLinks(path)}${sep}`.startsWith(`${await realpath(directory)}${sep}`)
}

// Of what does not exist yet, the part that does.
async function resolveLinks(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '') || dirname(path) === path) throw error
    return join(await resolveLinks(dirname(path)), path.slice(dirname(path).length))
  }
}
