import type { Holdings, Stretch } from '../datasheet/holdings.ts'
import { code, escape } from '../datasheet/markdown.ts'
import type { Readers } from '../datasheet/readers.ts'
import type { Rights } from '../datasheet/rights.ts'
import type { ToldSettings } from '../datasheet/told-settings.ts'
import { quote } from '../shell.ts'
import type { Layout } from '../store/layout.ts'
import { formatStorage } from './datasheet-table.ts'
import { formatTransport } from './datasheet-transport.ts'
import { plain } from './terminal.ts'
import { formatBytes, formatCount } from './units.ts'

const BLANK = '…………………………………………'

/** What a data sheet is made of. */
export interface SheetParts extends ToldSettings {
  readonly project: string
  readonly nowMs: number
  /** What a person calls to run this program. */
  readonly program: string
  readonly version: string
  readonly host: string
  readonly layout: Layout
  readonly holdings: Holdings
  readonly rights: Rights
  readonly readers: Readers
}

/** Writes the page. */
export function formatSheet(parts: SheetParts): string[] {
  return [
    `# Data sheet of the project ${code(parts.project)}`,
    '',
    ...formatSource(parts),
    '',
    '## What is stored, where, and for how long',
    '',
    ...formatStorage(parts),
    '',
    ...formatKeeping(parts),
    ...section('Who can read it', formatReading(parts)),
    ...section('How it is encrypted', formatEncryption(parts)),
    ...section('What leaves this machine', formatLeaving(parts)),
    ...formatCommands(parts),
    ...section('What the program cannot know: for the lab to fill in', listBlanks(parts).map((blank) => `${blank}: ${BLANK}`)),
  ]
}

function section(title: string, points: readonly string[]): string[] {
  return ['', `## ${title}`, '', ...points.map((point) => `- ${point}`)]
}

function formatSource({ nowMs, version, layout, host, settings, trusted }: SheetParts): string[] {
  const made = `Made on ${formatMoment(new Date(nowMs).toISOString())} by reproschema-backend ${version}, of the base directory ${code(layout.basedir)} on ${code(host)} as it was then.`
  if (trusted === undefined) {
    return [made, '**No server has noted its settings here.** What this page says of settings is what a server would have that begins with the environment of this command.']
  }
  const { note, isRunning, isHere, others } = trusted
  const server = `The settings are those that the server (${note.version}) noted when it began, on ${formatMoment(note.began_at)}.`
  return [
    made,
    server,
    isRunning === true ? 'It is running now.' : isRunning === false ? '**It is not running now:** the next one may have others.' : '**Whether it is running now cannot be seen from here.**',
    ...(isHere ? [] : [`**It keeps ${code(settings.basedir)} on ${code(note.owner.host)}:** what this page says of files and rights holds for the directory above, which may be a copy.`]),
    ...(others.running === 0 ? [] : [`**${formatCount(others.running, 'other server')} on the same base directory ${others.running === 1 ? 'has' : 'have'} other settings**, which this page does not tell.`]),
    ...(others.unknown === 0 ? [] : [`${formatCount(others.unknown, 'other server')} on other machines or in other containers noted other settings; whether they run cannot be seen from here.`]),
  ]
}

function formatKeeping({ holdings: { trouble }, rights: { fileSystem } }: SheetParts): string[] {
  const place = fileSystem.isRemote === true ? `The base directory is on a network file system (${fileSystem.name}): **what is in it lies on other machines.**` : `The base directory is on a file system ${fileSystem.name}.`
  return [
    `${place} The server deletes nothing else than the table says; it does not know when the study is over.`,
    ...(trouble === 0 ? [] : [`**${formatCount(trouble, 'file or receipt', 'files and receipts')} ${trouble === 1 ? 'is' : 'are'} gone or not as written:** the command \`verify\` names them.`]),
  ]
}

function formatReading({ project, layout, settings, rights }: SheetParts): string[] {
  const { uid, gid, mode, open, foreign } = rights
  const users = uid === 0 ? 'root' : `root, and user ${uid}`
  const owner = `On this machine: ${users} (group ${gid}), to whom the base directory belongs, mode ${mode.toString(8).padStart(4, '0')}.`
  const others = (mode & 0o077) === 0 ? 'Others may not enter it.' : 'Others may enter it, but none of the directories in the table.'
  const madeToken = settings.token_in_log ? ` **The server made it itself: it stands in ${code('logs/console.log')}.**` : ''
  const origins = settings.cors_origins === '*' ? 'any web site' : settings.cors_origins.map(code).join(', ')
  return [
    `${owner} ${open.length > 0 ? `**Others may look into ${open.map(code).join(', ')}:** ${code(`chmod -R go= ${quote(layout.basedir)}`)} ends that.` : others}`,
    ...(foreign.length === 0 ? [] : [`**${foreign.map(code).join(', ')} ${foreign.length === 1 ? 'belongs' : 'belong'} to another user**, who can read it.`]),
    'Over the network: nobody. No address of the server gives out what was sent.',
    `Whoever has the admin token can issue auth tokens, register web apps and see counts by project, as programs on this machine can without it (${code('/metrics')}); nobody reads with it what was sent.${madeToken}`,
    `Whoever has an auth token, as a participant's page does, can add to ${code(project)} until it expires, and read nothing. In a browser pages of ${origins} may do so.`,
    ...(settings.development ? ['**The server runs in development mode:** web apps on private addresses may be registered.'] : []),
  ]
}

function formatEncryption(parts: SheetParts): string[] {
  const { project, holdings, readers } = parts
  const { recipients, provenAt, trouble } = readers
  const stored = `Of the files that are there, ${formatStretch(holdings.sealed)} encrypted and ${formatStretch(holdings.plain)} stored as they were sent.`
  const untrusted = trouble === undefined ? [] : [`**No auth token is issued for ${code(project)}:** ${escape(trouble)}.`]
  const transport = `On its way: ${formatTransport(parts.settings)}`
  if (recipients?.length === 0) return [transport, `On the disk: **not by this program.** What arrives for ${code(project)} is stored as it was sent.`, stored, ...untrusted]
  const proof = provenAt === undefined ? '**Nobody has shown that they hold such a key.**' : `On ${formatMoment(provenAt)} somebody showed that they hold such a key.`
  const fallback = readers.isFallback ? ' **These are not the recipients that are configured, but those that were proven last.**' : ''
  const readable =
    recipients === undefined
      ? '**Whom to, the server alone knows:** it cannot use the recipients of this project.'
      : `It is encrypted to ${recipients.length === 1 ? '' : 'each of '}${recipients.map(code).join(', ')}. Whoever has the key of one can open it, nobody else. ${proof}${fallback}`
  return [
    transport,
    `On the disk: what arrives for ${code(project)} is in memory alone until it is encrypted (age v1: X25519, ChaCha20-Poly1305). ${readable}`,
    ...untrusted,
    `${stored} Whom an encrypted file was encrypted to cannot be read from it.`,
    'Not encrypted: names and types of files, project, participant, times, lengths, the SHA-256 of tokens and of the names in a zip.',
    'The server has no key and needs none. Whether somebody keeps one on this machine all the same, it cannot know.',
  ]
}

function formatLeaving({ settings }: SheetParts): string[] {
  const { alerts } = settings
  const holds = 'An alert has its kind, a sentence, counts, times, the name of the machine, names of projects, and ids of uploads and requests; no name and no data of a participant.'
  const target = alerts === null ? undefined : /^https?:/.test(alerts) ? `to ${code(alerts)}, over the network` : `to the program ${code(alerts)}, which may send them on`
  const printed = settings.log_printed
    ? '**All log lines, with IP addresses, also go to standard output:** to the journal, as a rule.'
    : `Log lines go to the files in the table alone. Standard output, for the journal as a rule, has where the server listens and when it stops${settings.token_in_log ? ', **and the admin token**' : ''}.`
  return [
    'Answers to whoever sends: names, lengths and SHA-256 of what they sent.',
    target === undefined ? 'No alerts: none are set.' : `Alerts ${target}. ${holds}`,
    printed,
    'The server sends nothing else. An export that is made here stands in the record of access; a copy of the base directory, and an export of that copy, does not.',
  ]
}

function formatCommands({ project, program, layout, rights, readers, holdings }: SheetParts): string[] {
  const call = (words: string) => `${program} ${words} --basedir ${quote(plain(layout.basedir))}`
  const withdraw = call(`withdraw ${project} --participant NAME`)
  const hasSealed = holdings.sealed.files > 0 || readers.recipients?.length !== 0
  const user = rights.uid === 0 ? 'root' : `root or user ${rights.uid}`
  const ofSealed = hasSealed ? ` Encrypted files are known by their tokens and names alone, unless ${code('--identity FILE')} gives a key.` : ''
  return [
    '',
    '## How a participant withdraws, and how to check this page',
    '',
    `On this machine, as ${user}. The first shows what of the participant NAME would go, the second erases it: tokens, receipts and files. It reaches no copy, no export and no IP address in a log.${ofSealed}`,
    '',
    '```sh',
    withdraw,
    `${withdraw} --yes`,
    '```',
    '',
    '`verify` holds every receipt against the disk, `audit` prints who did what, `doctor` examines the machine:',
    '',
    '```sh',
    ...['verify', 'audit', 'doctor'].map(call),
    '```',
  ]
}

function listBlanks({ host, rights, settings, readers, holdings }: SheetParts): string[] {
  const isEncrypted = readers.recipients?.length !== 0 || holdings.sealed.files > 0
  return [
    `Who has root on ${code(host)}${rights.uid === 0 ? '' : `, or can act as user ${rights.uid}`}`,
    'Whether its disk and its swap are encrypted, and who can unlock them',
    ...(isEncrypted ? ['Who holds the keys, and where their copies are'] : []),
    'Backups and other copies: where, who reads them, how long they are kept',
    'Exports: where they go, who works with them',
    ...(settings.tls && settings.trusted_proxies.length === 0 ? [] : ['The proxy: who runs it, whether it speaks TLS, what it logs and for how long']),
    ...(settings.log_printed ? ['The journal: who reads it, how long it is kept'] : []),
    'When the data and the record of access are deleted at the end of the study',
    'Whom a participant asks who wants to withdraw',
  ]
}

function formatStretch({ files, bytes, firstAt, lastAt }: Stretch): string {
  const when = firstAt === undefined || lastAt === undefined ? '' : ` (${formatBytes(bytes)}, ${firstAt.slice(0, 10)} to ${lastAt.slice(0, 10)})`
  return `${files}${when} ${files === 1 ? 'is' : 'are'}`
}

function formatMoment(moment: string): string {
  return `${moment.slice(0, 10)} at ${moment.slice(11, 19)} UTC`
}
