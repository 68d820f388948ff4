import { ConfigError } from '../config.ts'
import { collect, type Collection } from '../dataset/collection.ts'
import { describeUnknown, summarise, summariseSession, type SessionSummary, type Summary } from '../dataset/summary.ts'
import { findTrace, isEmpty } from '../dataset/trace.ts'
import type { Arrival } from '../dataset/upload.ts'
import { findProjects, readArguments } from './arguments.ts'
import { IDENTITY_FLAG, readKeyring } from './identity-file.ts'
import type { Output } from './output.ts'
import { readParticipant } from './participant-flag.ts'
import { formatTable, plain } from './terminal.ts'
import { warnOfReceipts } from './receipt-warning.ts'
import { formatBytes, formatCount } from './units.ts'

const BAR_CELLS = 40
const MOST_DAYS = 31

/**
 * Tells what has arrived: sessions, participants, what is missing, submissions per day.
 * @returns the exit code: 1 where a participant was asked for whom nothing names
 */
export async function status(args: readonly string[], { print, note, tell, input, showProgress, environment }: Output): Promise<number> {
  const { layout, positionals, text, texts, isSet } = readArguments(args, environment, {
    flags: { participant: { type: 'string' }, json: { type: 'boolean' }, ...IDENTITY_FLAG },
    names: ['[project]'],
  })
  const participant = readParticipant(text)
  if (participant !== undefined && positionals.length === 0) throw new ConfigError(['--participant needs a project: status PROJECT --participant X.'])
  const keyring = await readKeyring(texts('identity'), { input, tell })
  const summaries: Summary[] = []
  for (const project of await findProjects(layout, positionals[0])) {
    const count = showProgress && ((done: number, of: number) => (done % 100 === 0 ? showProgress(`${project}: ${done} of ${of} uploads`) : undefined))
    const collection = await collect(layout, project, { keyring, count })
    showProgress?.('')
    if (!isSet('json')) warnOfReceipts(project, collection.arrivals.unreadable.length, print)
    if (participant !== undefined) return tellParticipant(collection, participant, isSet('json'), print)
    summaries.push(summarise(collection))
  }
  note({ projects: summaries.length })
  if (isSet('json')) print(JSON.stringify({ basedir: layout.basedir, projects: summaries }))
  else if (summaries.length === 0) print(`${layout.basedir} has no project yet.`)
  else printSummaries(summaries, print)
  return 0
}

async function tellParticipant(collection: Collection, participant: string, isJson: boolean, print: (line: string) => void): Promise<number> {
  const trace = await findTrace(collection, participant)
  const hasArrived = !isEmpty(trace)
  const sessions = trace.sessions.map(summariseSession)
  const unknown = describeUnknown(collection)
  if (isJson) {
    const messages = trace.messages.map(({ arrival, sender }) => ({ ...describe(arrival), participant: sender.participant, conflict: sender.conflict ?? null }))
    const found = { arrived: hasArrived, sessions, messages, files: trace.files.map(describe), mentions: trace.mentions.map(describe), lost: trace.lost.map(({ storedAs }) => storedAs) }
    print(JSON.stringify({ project: collection.project, participant, ...found, without_key: unknown, unreadable_receipts: collection.arrivals.unreadable.length }))
    return hasArrived ? 0 : 1
  }
  if (!hasArrived) print(`Nothing of ${plain(participant)} has arrived in ${collection.project}${unknown === null ? '' : ', as far as is known without a key'}.`)
  for (const session of sessions) printSession(session, print)
  for (const { arrival, sender } of trace.messages) {
    print(`  ${plain(sender.participant ?? '(unassigned)')}  messages ${plain(arrival.file.storedAs)}, ${formatArrival(arrival)}`)
    if (sender.conflict !== undefined) print(`      conflict: ${plain(sender.conflict)}`)
  }
  for (const arrival of trace.files) print(`  ${plain(participant)}  other file ${plain(arrival.file.storedAs)}, ${formatArrival(arrival)}`)
  for (const arrival of trace.mentions) {
    print(`  ${plain(arrival.submission.participant ?? '(unassigned)')}  file ${plain(arrival.file.storedAs)}, ${formatArrival(arrival)}`)
    print(`      names ${plain(participant)}, which does not prove whose it is`)
  }
  for (const { storedAs } of trace.lost) print(`  ${plain(participant)}  ${plain(storedAs)} arrived, and is gone from the disk (run verify)`)
  if (unknown !== null) print(unknown)
  return hasArrived ? 0 : 1
}

function describe({ file, submission }: Arrival): { stored_as: string; bytes: number; received_at: string } {
  return { stored_as: file.storedAs, bytes: file.bytes, received_at: submission.receivedAt }
}

function formatArrival({ file, submission }: Arrival): string {
  return `${formatBytes(file.bytes)}, arrived ${toMinute(submission.receivedAt)}`
}

function printSummaries(summaries: readonly Summary[], print: (line: string) => void): void {
  const isUnknown = summaries.some(({ unknown }) => unknown > 0)
  const head = ['project', 'sessions', 'complete', 'incomplete', ...(isUnknown ? ['unknown'] : []), 'participants', 'submissions', 'size', 'first arrival', 'last arrival']
  const rows = summaries.map((each) => [
    each.project,
    ...[each.sessions, each.complete, each.incomplete, ...(isUnknown ? [each.unknown] : []), each.participants, each.submissions].map(String),
    formatBytes(each.bytes),
    toMinute(each.first_arrival),
    toMinute(each.last_arrival),
  ])
  for (const line of formatTable([head, ...rows])) print(line)
  for (const summary of summaries) printDetails(summary, print)
}

function printDetails(summary: Summary, print: (line: string) => void): void {
  print('')
  const rest = [
    ...(summary.messages > 0 ? [formatCount(summary.messages, 'JSON submission')] : []),
    ...(summary.unassigned > 0 ? [`${formatCount(summary.unassigned, 'session')} of nobody known`] : []),
    ...(summary.other_files > 0 ? [formatCount(summary.other_files, 'other file')] : []),
    ...(summary.encrypted_files > 0 ? [formatCount(summary.encrypted_files, 'encrypted file')] : []),
    ...(summary.lost_files > 0 ? [`${formatCount(summary.lost_files, 'file')} gone from the disk (run verify)`] : []),
  ]
  print(`${summary.project}${rest.length === 0 ? '' : `: ${rest.join(', ')}`}`)
  if (summary.without_key !== null) print(`  ${summary.without_key}`)
  const days = Object.entries(summary.per_day)
  const most = Math.max(...days.map(([, count]) => count))
  if (days.length > MOST_DAYS) print(`  the last ${MOST_DAYS} of ${days.length} days`)
  for (const [day, count] of days.slice(-MOST_DAYS)) print(`  ${day} ${'#'.repeat(Math.ceil((count / most) * BAR_CELLS))} ${count}`)
  for (const session of summary.attention) printSession(session, print)
}

function printSession(session: SessionSummary, print: (line: string) => void): void {
  const state = session.complete === null ? describeSealed(session) : session.complete ? 'complete' : 'incomplete'
  print(`  ${plain(session.participant ?? '(unassigned)')}  session ${plain(session.session)}  ${state}, ${formatBytes(session.bytes)}, last arrival ${toMinute(session.last_arrival)}`)
  for (const each of session.missing) print(`      missing: ${plain(each)}`)
  for (const each of session.unknown) print(`      not known without a key: ${plain(each)}`)
  for (const each of session.conflicts) print(`      conflict: ${plain(each)}`)
}

function describeSealed({ encrypted, unknown }: SessionSummary): string {
  const entries = encrypted === null || encrypted.entries === null ? '' : `, ${formatCount(encrypted.entries, 'entry', 'entries')} in its zip`
  return unknown.length === 0 ? `all slices are there, encrypted${entries}` : 'not known to be complete'
}

function toMinute(moment: string | null): string {
  return moment === null ? '-' : `${moment.slice(0, 16).replace('T', ' ')}Z`
}
