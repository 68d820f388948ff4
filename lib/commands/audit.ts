import type { Entry, EntryFields } from '../audit/entry.ts'
import { readTrail } from '../audit/trail.ts'
import { readArguments } from './arguments.ts'
import { requireBasedir } from './local-basedir.ts'
import type { Output } from './output.ts'
import { parseSince } from './since.ts'
import { plain } from './terminal.ts'

// What the columns show, or what only ties one entry to others.
const IN_COLUMNS = new Set(['at', 'event', 'user', 'uid', 'host', 'address', 'called', 'previous', 'run', 'request'])

/** Prints the record of access: who did what, on what, and when, the oldest first; with `--json` each entry as one line of JSON. */
export async function audit(args: readonly string[], { print, note, environment }: Output): Promise<number> {
  const { layout, text, isSet } = readArguments(args, environment, { flags: { since: { type: 'string' }, json: { type: 'boolean' } }, names: [] })
  const since = parseSince(text('since'))
  await requireBasedir(layout)
  let count = 0
  for await (const entry of readTrail(layout.audit, since === undefined ? -Infinity : Date.parse(since))) {
    print(isSet('json') ? JSON.stringify(entry) : formatEntry(entry))
    count++
  }
  if (count === 0 && !isSet('json')) print(`Nothing is recorded in ${layout.audit}${since === undefined ? '' : ` since ${since}`}.`)
  note({ count })
  return 0
}

function formatEntry(entry: Entry): string {
  const { called } = entry
  const others = Object.entries(entry).flatMap(([name, value]) => (IN_COLUMNS.has(name) || value === undefined ? [] : [`${name}=${formatValue(value)}`]))
  const words = [`${entry.at.slice(0, 19)}Z`, formatWho(entry), entry.event, ...(typeof called === 'string' ? [called] : []), ...others]
  return plain(words.join('  '))
}

function formatWho({ user, host, address, addresses }: EntryFields): string {
  if (user !== undefined) return `${formatValue(user)}@${formatValue(host)}`
  if (address !== undefined) return formatValue(address)
  return addresses === undefined ? '-' : 'the web'
}

function formatValue(value: EntryFields[string]): string {
  if (value === null || typeof value !== 'object') return String(value)
  return Array.isArray(value) ? value.join(',') : Object.entries(value).map(([name, count]) => `${name}:${count}`).join(',')
}
