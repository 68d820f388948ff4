import { join } from 'node:path'
import { readChain, type ChainLine } from '../chain/chain-lines.ts'
import { entriesOf } from '../directories.ts'
import { systemCode } from '../errors.ts'
import { isEntry, type Entry } from './entry.ts'

const SLACK_MS = 60_000 // an entry is a little older than the file that is begun for it

/** One file of the record of access. */
export interface TrailFile {
  readonly name: string
  /** The name without what a command adds while it writes. */
  readonly stem: string
}

/** Lists the files of the record, in the order in which they were begun; none where there is no record. */
export async function listTrail(directory: string): Promise<TrailFile[]> {
  const names = (await entriesOf(directory)).filter((name) => name.endsWith('.ndjson')).toSorted()
  return names.map((name) => ({ name, stem: stemOf(name) }))
}

/** Reads one file of the record line by line; nothing where it is gone. */
export async function* readTrailFile(directory: string, { name, stem }: TrailFile): AsyncGenerator<ChainLine> {
  try {
    yield* readChain(join(directory, name))
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    // A command has taken it, or given it back, at this moment.
    const others = (await listTrail(directory)).filter((each) => each.stem === stem && each.name !== name)
    for (const other of others) yield* readChain(join(directory, other.name))
  }
}

/** Reads every entry, in the order of time, from every file at once; lines that are no entries are passed over. */
export async function* readTrail(directory: string, sinceMs: number): AsyncGenerator<Entry> {
  const files = withoutCopies(await listTrail(directory))
  const open: { entries: AsyncGenerator<Entry>; head: Entry }[] = []
  try {
    for (;;) {
      const first = open.length === 0 ? undefined : open.reduce((a, b) => (b.head.at < a.head.at ? b : a))
      const next = files[0]
      if (next !== undefined && (first === undefined || !(startMsOf(next) - SLACK_MS > Date.parse(first.head.at)))) {
        files.shift()
        const entries = entriesSince(directory, next, sinceMs)
        const { value: head, done } = await entries.next()
        if (done !== true) open.push({ entries, head })
        continue
      }
      if (first === undefined) return
      yield first.head
      const { value, done } = await first.entries.next()
      if (done === true) open.splice(open.indexOf(first), 1)
      else first.head = value
    }
  } finally {
    for (const { entries } of open) await entries.return(undefined)
  }
}

async function* entriesSince(directory: string, file: TrailFile, sinceMs: number): AsyncGenerator<Entry> {
  for await (const { value } of readTrailFile(directory, file)) {
    if (isEntry(value) && Date.parse(value.at) >= sinceMs) yield value
  }
}

// A copy of the base directory may have caught a file under both of its names, at two times: the shorter one is then old.
function withoutCopies(files: readonly TrailFile[]): TrailFile[] {
  const whole = new Set(files.filter(({ name, stem }) => name === `${stem}.ndjson`).map(({ stem }) => stem))
  return files.filter(({ name, stem }) => name === `${stem}.ndjson` || !whole.has(stem))
}

function stemOf(name: string): string {
  return name.replace(/(\.taken-\w+)?\.ndjson$/, '')
}

// 20241101T023615.123456Z-… is 2024-11-01T02:36:15.123Z; NaN where somebody else has given the name.
function startMsOf({ name }: TrailFile): number {
  return Date.parse(name.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d\.\d{3}).*$/s, '$1-$2-$3T$4:$5:$6Z'))
}
