import type { Holdings, LogFiles, Stretch } from '../datasheet/holdings.ts'
import { code, formatTable } from '../datasheet/markdown.ts'
import type { NotedSettings } from '../datasheet/server-note.ts'
import { formatBytes, formatCount } from './units.ts'

const HEAD = ['What', 'Where', 'Found now', 'Personal data in it', 'Kept until']

/** What the table of a data sheet is made of. */
export interface TableParts {
  readonly project: string
  readonly settings: NotedSettings
  readonly holdings: Holdings
}

/** Writes what is stored where, for how long, and what of it is personal: one row for each kind. */
export function formatStorage({ project, settings, holdings }: TableParts): string[] {
  const { plain, sealed, submissions, participants, withdrawals, tokens, apps, staged, logs, audit } = holdings
  const keptLogs = `eleven weeks in which something is written to it, or sooner: turned every Monday and at ${formatBytes(settings.log_bytes)}, ten turned ones kept`
  const adminToken = settings.token_in_log ? '; **the admin token**' : ''
  return formatTable(HEAD, [
    [
      'What participants sent',
      code(`uploads/responses/${project}/`),
      `${formatCount(plain.files + sealed.files, 'file')}, ${formatBytes(plain.bytes + sealed.bytes)}, of ${formatCount(submissions, 'submission')}${formatSpan(plain, sealed)}`,
      'recordings and answers; names of files, which may name the participant',
      'the participant withdraws, or the lab removes it',
    ],
    ['What is on its way', code('uploads/staging/'), `${formatCount(staged, 'file')} of all projects`, 'the same', 'it is complete; what was cut off is removed by the server'],
    [
      'Receipts',
      code(`receipts/${project}/`),
      `they name ${formatCount(participants, 'participant')}; ${formatCount(withdrawals, 'record')} of a withdrawal`,
      'participant, times, names of files; of what is stored as it was sent, short text fields too; of withdrawals hashes alone',
      'the participant withdraws; records of withdrawals stay',
    ],
    [
      'Auth tokens',
      code('tokens/'),
      `${formatCount(tokens.all, 'token')} of this project: ${tokens.good} good, ${tokens.named} issued for a participant`,
      'the participant; of the token its SHA-256 alone',
      'they are revoked, the participant withdraws, or a week after they expired, when a server has run for three days',
    ],
    ['Web apps', code('clients/'), `${apps} of all projects`, 'none: the address of the app', 'the lab removes them'],
    ['Log of requests', code('logs/access.log*'), formatLog(logs.access), 'IP addresses, names of browsers, times; no tokens', keptLogs],
    ['Log of events', code('logs/console.log*'), formatLog(logs.console), `ids, 8 digits of the hashes of tokens, now and then an IP address${adminToken}`, 'the same'],
    ['Log of faults', code('logs/error.log*'), formatLog(logs.error), 'where a disk failed, names of files', 'the same'],
    [
      'Record of access',
      code('audit/'),
      `${formatCount(audit.files, 'file')}${audit.since === undefined ? '' : `, since ${audit.since}`}`,
      'IP addresses of who was given a token, participants too, or gave a wrong admin token; user names of the lab; no name of a participant',
      'the lab removes its files',
    ],
    ['Settings', `${code('servers/')} ${code('keys/')} ${code('projects/')}`, '', 'none: settings without secrets, public keys', 'the lab removes them'],
  ])
}

function formatSpan(...stretches: readonly Stretch[]): string {
  const days = stretches.flatMap(({ firstAt, lastAt }) => [firstAt ?? [], lastAt ?? []].flat()).map((moment) => moment.slice(0, 10)).toSorted()
  return days.length === 0 ? '' : `, ${days[0]} to ${days.at(-1)}`
}

function formatLog({ files, bytes, oldestWeek }: LogFiles): string {
  return `${formatCount(files, 'file')}, ${formatBytes(bytes)}${oldestWeek === undefined ? '' : `, the oldest of the week of ${oldestWeek}`}`
}
