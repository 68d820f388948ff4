import { join } from 'node:path'
import { Grants } from '../access/grants.ts'
import { listTrail } from '../audit/trail.ts'
import { readArrivals, type Arrivals, type StoredFile, type Submission } from '../dataset/arrivals.ts'
import { readWithdrawals } from '../dataset/withdrawals.ts'
import { Directories, entriesOf } from '../directories.ts'
import { findStats } from '../identity.ts'
import type { Layout } from '../store/layout.ts'
import { lookAtStaging } from '../store/staging-look.ts'

const LOG = /^(access|console|error)\.log(?:\.(\d{4}-\d\d-\d\d)(?:-\d+)?)?$/

/** Files, and when the first and the last of them came. */
export interface Stretch {
  readonly files: number
  readonly bytes: number
  /** RFC 3339 in UTC; undefined where there are none. */
  readonly firstAt: string | undefined
  readonly lastAt: string | undefined
}

/** The files of one log: the one that is written and the turned ones. */
export interface LogFiles {
  readonly files: number
  readonly bytes: number
  /** The Monday of the week that the oldest turned one is of. */
  readonly oldestWeek: string | undefined
}

/** What is in a base directory for one project, and for all of them where it is not parted. */
export interface Holdings {
  readonly submissions: number
  /** Files as they were sent, and files that are encrypted. */
  readonly plain: Stretch
  readonly sealed: Stretch
  /** Participants whom tokens of submissions were issued for. */
  readonly participants: number
  /** Files that receipts promise and that are gone, lines that should be receipts, and names that are no files. */
  readonly trouble: number
  readonly withdrawals: number
  readonly tokens: { readonly all: number; readonly good: number; readonly named: number }
  /** Of all projects, as is what follows. */
  readonly apps: number
  readonly staged: number
  readonly logs: Readonly<Record<'access' | 'console' | 'error', LogFiles>>
  readonly audit: { readonly files: number; readonly since: string | undefined }
}

/** Counts what is there. Receipts and names tell: no file that a participant sent is read, but the first bytes of encrypted ones without a receipt. */
export async function countHoldings(layout: Layout, project: string, nowMs: number): Promise<Holdings> {
  const arrivals = await readArrivals(layout, project)
  const { submissions, lost, unreadable, others } = arrivals
  const grants = (await new Grants(layout.tokens, new Directories()).list()).filter((grant) => grant.project === project)
  const trail = await listTrail(layout.audit)
  return {
    submissions: submissions.length,
    plain: stretchOf(arrivals, (file) => file.sealed === undefined),
    sealed: stretchOf(arrivals, (file) => file.sealed !== undefined),
    participants: new Set(submissions.flatMap(({ participant }) => participant ?? [])).size,
    trouble: lost.length + unreadable.length + others.length,
    withdrawals: (await readWithdrawals(layout, project)).all.length,
    tokens: {
      all: grants.length,
      good: grants.filter(({ expiresAtMs }) => nowMs < expiresAtMs).length,
      named: grants.filter(({ participant }) => participant !== undefined).length,
    },
    apps: (await entriesOf(layout.clients)).filter((name) => name.endsWith('.json')).length,
    staged: (await lookAtStaging(layout)).paths.size,
    logs: await countLogs(layout),
    audit: { files: trail.length, since: trail.map(({ name }) => /^(\d{4})(\d\d)/.exec(name)?.slice(1).join('-')).find((month) => month !== undefined) },
  }
}

function stretchOf({ submissions }: Arrivals, isMeant: (file: StoredFile) => boolean): Stretch {
  const meant = submissions.map((submission) => ({ ...submission, files: submission.files.filter(isMeant) })).filter(({ files }) => files.length > 0)
  const files = meant.flatMap((submission: Submission) => submission.files)
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  return { files: files.length, bytes, firstAt: meant[0]?.receivedAt, lastAt: meant.at(-1)?.receivedAt }
}

async function countLogs(layout: Layout): Promise<Holdings['logs']> {
  const logs = { access: [] as Turned[], console: [] as Turned[], error: [] as Turned[] }
  for (const entry of await entriesOf(layout.logs)) {
    const [, name, week] = LOG.exec(entry) ?? []
    const found = name === undefined ? undefined : await findStats(join(layout.logs, entry))
    if (found === undefined) continue
    if (name === 'access' || name === 'console' || name === 'error') logs[name].push({ bytes: Number(found.size), week })
  }
  return { access: sum(logs.access), console: sum(logs.console), error: sum(logs.error) }
}

interface Turned {
  readonly bytes: number
  readonly week: string | undefined
}

function sum(files: readonly Turned[]): LogFiles {
  const weeks = files.flatMap(({ week }) => week ?? []).toSorted()
  return { files: files.length, bytes: files.reduce((total, { bytes }) => total + bytes, 0), oldestWeek: weeks[0] }
}
