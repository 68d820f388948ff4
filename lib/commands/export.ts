import { readdir, readFile, realpath } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { ConfigError } from '../config.ts'
import type { Snapshot } from '../dataset/arrivals.ts'
import { ExportError } from '../dataset/export-tree.ts'
import { exportProject, type ExportCount, type Selection } from '../dataset/export.ts'
import { makeDirectories, syncNames } from '../dataset/new-directory.ts'
import { createWhole, remove } from '../durable.ts'
import { systemCode } from '../errors.ts'
import type { Layout } from '../store/layout.ts'
import { findProjects, readArguments } from './arguments.ts'
import type { Output } from './output.ts'
import { Progress } from './progress.ts'
import { warnOfReceipts } from './receipt-warning.ts'
import { parseSince } from './since.ts'
import { formatCount } from './units.ts'

const STATE = '.export.json'

/**
 * Writes a project's data as a dataset into a directory of its own.
 * @returns the exit code: 0 if everything was written
 */
export async function exportDataset(args: readonly string[], { print, note, showProgress, environment }: Output): Promise<number> {
  const { layout, positionals, text, isSet } = readArguments(args, environment, {
    flags: { since: { type: 'string' }, participant: { type: 'string' }, resume: { type: 'boolean' } },
    names: ['project', 'out'],
  })
  const [project = '', out = ''] = positionals
  const selection = { project, since: parseSince(text('since')), participant: text('participant')?.trim() }
  if (out === '') throw new ConfigError(['<out> is empty. Name the directory that the dataset goes to.'])
  await findProjects(layout, project)
  const root = resolve(out)
  const snapshot = await prepare(layout, root, selection, isSet('resume'))
  const keepSnapshot = async (taken: Snapshot) => {
    if (snapshot !== undefined) return
    await createWhole(join(root, STATE), `${JSON.stringify({ ...selection, snapshot: taken })}\n`)
    await syncNames(root)
  }
  const count: ExportCount = { files: 0, bytes: 0, ofFiles: 0, ofBytes: 0 }
  const progress = new Progress(showProgress, () => count)
  try {
    const { sessions, incomplete, unassigned, files, unreadableReceipts } = await exportProject({ layout, selection, root, snapshot, keepSnapshot, count })
    progress.end()
    note({ sessions, files })
    warnOfReceipts(project, unreadableReceipts, print)
    print(`${project}: ${formatCount(sessions, 'session')} (${incomplete} incomplete, ${unassigned} unassigned), ${formatCount(files, 'file')} in ${root}`)
    return 0
  } catch (error) {
    progress.end()
    if (!(error instanceof ExportError)) throw error
    print(`FAILED: ${error.message}`)
    return 1
  }
}

/** Makes the directory; gives what an interrupted export into it had taken. */
async function prepare(layout: Layout, root: string, selection: Selection, isResumed: boolean): Promise<Snapshot | undefined> {
  if (await isWithin(root, layout.basedir)) throw new ConfigError([`${root} is in the base directory, where nothing may be changed. Choose another one.`])
  await makeRoot(root)
  const entries = await readdir(root)
  if (entries.length === 0) return undefined
  const state = entries.includes(STATE) ? parseState(await readFile(join(root, STATE), 'utf8')) : undefined
  if (state === undefined && entries.every((name) => name === STATE)) {
    await remove(join(root, STATE)) // all that is left of an export that was cut as it began
    return undefined
  }
  if (state === undefined) throw new ConfigError([`${root} is not empty, and no export has begun in it. Choose another one.`])
  if (!isResumed) throw new ConfigError([`${root} has an export already. Add --resume to complete it, or choose another one for what has arrived since.`])
  const { project, since, participant, snapshot } = state
  if (project !== selection.project || since !== selection.since || participant !== selection.participant) {
    throw new ConfigError([`${root} has an export of another project or selection. Choose another one.`])
  }
  return snapshot
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
function parseState(text: string): (Selection & { snapshot: Snapshot }) | undefined {
  try {
    return JSON.parse(text) as Selection & { snapshot: Snapshot }
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
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
