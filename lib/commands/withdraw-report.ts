import type { Grant } from '../access/grants.ts'
import type { Belongings } from '../dataset/belongings.ts'
import type { Unerased } from '../dataset/erasure.ts'
import { looksSame } from '../dataset/mentions.ts'
import { quote, quoteBytes } from '../shell.ts'
import { formatTable, plain } from './terminal.ts'
import { formatBytes, formatCount } from './units.ts'

/** What `withdraw` tells: what would go, or has gone, and what stays. */
export interface Told extends Belongings {
  readonly project: string
  readonly participant: string
  /** The arguments of the call. */
  readonly args: readonly string[]
  /** Whether it has gone. */
  readonly isDone: boolean
  readonly tokens: readonly Grant[]
  readonly unerased: Unerased
}

/** Formats it for a program. */
export function toJson({ project, participant, isDone, tokens, receipts, files, unfinished, unerased, staying, conflicts, staged, unknown }: Told): object {
  return {
    project,
    participant,
    erased: isDone,
    tokens: tokens.map(({ tokenSha256 }) => tokenSha256),
    receipts: receipts.map(({ receipt, file, number }) => ({ id: receipt.id, received_at: receipt.received_at, file: `receipts/${project}/${file}`, line: number })),
    files: files.map(({ storedAs, bytes, isAnswers }) => ({ stored_as: storedAs, bytes, answers: isAnswers })),
    unfinished_submissions: unfinished.length,
    left_by_an_interruption: { receipts: unerased.receipts.length, files: unerased.files.length },
    not_what_was_withdrawn: unerased.strange,
    staying,
    conflicts,
    staged_files: staged,
    files_of_nobody_known: unknown.ofNobody,
    encrypted_files_not_opened: unknown.locked,
  }
}

/** Formats it for a person; the last line says what to do. */
export function toLines(told: Told): string[] {
  const { isDone, unerased, staying, conflicts, staged, unknown } = told
  const rows = rowsOf(told)
  return [
    ...formatTable(rows),
    ...conflicts.map((each) => `conflict: ${plain(each)}`),
    ...staying.map(({ what, reason }) => `stays: ${plain(what)}: ${plain(reason)}`),
    ...unerased.strange.map((each) => `stays: ${plain(each)}: It is not what was withdrawn from there (run verify).`),
    ...leftOf(unerased, isDone),
    ...(staged === 0 ? [] : [`${formatCount(staged, 'file')} in uploads/staging, of whom is not known: if they are still arriving, run this again when they have arrived.`]),
    ...(unknown.ofNobody === 0 ? [] : [`${formatCount(unknown.ofNobody, 'file')} of nobody known: neither a token nor a name nor an answer that can be read says whose.`]),
    ...(unknown.locked === 0 ? [] : [`${formatCount(unknown.locked, 'encrypted file')} not looked into: whom the answers name is not known without the key that opens them (--identity FILE).`]),
    rows.length === 0 ? nothingLine(told) : lastLine(told),
  ]
}

/** Says what is to be done about a name that is nearly that of the participant. */
export function describeAlike(name: string, participant: string): string {
  if (!looksSame(name, participant)) return `This name is nearly the same as ${participant}. If it is the same participant, withdraw it too.`
  return `Its characters are not those of ${participant}, though they look the same. If it is the same participant, withdraw it too: --participant ${quoteBytes(name)}`
}

function rowsOf({ project, receipts, files, unfinished, tokens }: Told): string[][] {
  return [
    ...receipts.map(({ receipt, file, number, bytes }) => ['receipt', `receipts/${project}/${file}, line ${number}`, `${bytes} bytes`, `received ${receipt.received_at.slice(0, 19)}Z`]),
    ...files.map(({ storedAs, bytes, isAnswers }) => [isAnswers ? 'answers' : 'file', plain(storedAs), `${bytes} bytes`, '']),
    ...unfinished.map(({ intent }) => ['unfinished', `submission of ${formatCount(intent.receipt.files.length, 'file')}, never answered`, '', '']),
    ...tokens.map(({ tokenSha256, expiresAtMs }) => ['token', tokenSha256.slice(0, 8), '', Date.now() < expiresAtMs ? 'good' : 'expired']),
  ]
}

function leftOf({ files, receipts }: Unerased, isDone: boolean): string[] {
  if (files.length + receipts.length === 0) return []
  const what = `${formatCount(receipts.length, 'receipt')} and ${formatCount(files.length, 'file')} of an earlier withdrawal`
  return [`${what} were left${isDone ? ', and are erased now.' : ' by an interruption, or this is a copy of before.'}`]
}

function nothingLine({ participant, project, args, isDone, unerased, staying, unknown }: Told): string {
  if (!isDone && unerased.files.length + unerased.receipts.length > 0) return `Nothing was changed. To erase what was left: ${commandOf(args)}`
  if (staying.length > 0) return `Nothing that is known to be of ${plain(participant)} alone is left in ${project}. What stays, and why, is above.`
  return `Nothing ${unknown.locked > 0 ? 'that is known to be ' : ''}of ${plain(participant)} is left in ${project}.`
}

function lastLine({ participant, args, isDone, receipts, files, tokens }: Told): string {
  const bytes = formatBytes(files.reduce((sum, file) => sum + file.bytes, 0))
  const what = `${formatCount(receipts.length, 'receipt')}, ${formatCount(files.length, 'file')} (${bytes}) and ${formatCount(tokens.length, 'token')} of ${plain(participant)}`
  if (isDone) return `Erased: ${what}. Copies, backups and exports are not: see the README.`
  return `Nothing was changed. To erase ${what} for ever: ${commandOf(args)}`
}

// With all that was given: another base directory or no key would be another withdrawal.
function commandOf(args: readonly string[]): string {
  return ['withdraw', ...args, '--yes'].map((arg) => quote(plain(arg))).join(' ')
}
