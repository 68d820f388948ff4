import { verifyTrail } from '../dataset/trail-verification.ts'
import { isBroken, startCount, verifyProject, type Discrepancy, type Verified } from '../dataset/verification.ts'
import type { Layout } from '../store/layout.ts'
import { findProjects, readArguments } from './arguments.ts'
import { IDENTITY_FLAG, readKeyring } from './identity-file.ts'
import type { Output } from './output.ts'
import { Progress } from './progress.ts'
import { formatBytes, formatCount } from './units.ts'

/**
 * Holds every receipt against the disk, and the record of access against itself, in a base directory or a copy of one.
 * @returns the exit code: 0 only if everything that was promised or recorded is there, unchanged
 */
export async function verify(args: readonly string[], { print, note, tell, input, showProgress, environment }: Output): Promise<number> {
  const { layout, positionals, texts } = readArguments(args, environment, { flags: IDENTITY_FLAG, names: ['[project]'] })
  const keyring = await readKeyring(texts('identity'), { input, tell })
  let broken = 0
  let unopened = 0
  const projects = await findProjects(layout, positionals[0])
  for (const project of projects) {
    const count = startCount()
    const progress = new Progress(showProgress, () => ({ files: count.files, bytes: count.bytes, ofFiles: count.promisedFiles, ofBytes: count.promisedBytes }))
    const discrepancies: Discrepancy[] = []
    try {
      await verifyProject(layout, project, count, (discrepancy) => discrepancies.push(discrepancy), keyring)
    } finally {
      progress.end()
    }
    for (const discrepancy of discrepancies) print(formatDiscrepancy(discrepancy))
    print(formatSummary(project, count, discrepancies))
    broken += discrepancies.filter(isBroken).length
    unopened += count.encrypted - count.opened
  }
  broken += await tellTrail(layout, print)
  note({ broken })
  if (keyring === undefined && unopened > 0) print(`${formatCount(unopened, 'encrypted file')} held against the receipts as stored. Whether a key opens them only verify --identity FILE tells.`)
  print(formatVerdict(layout, projects, broken))
  return broken === 0 ? 0 : 1
}

// A copy that came without its receipts is not to pass for one that holds.
function formatVerdict({ basedir }: Layout, projects: readonly string[], broken: number): string {
  if (broken > 0) return `FAILED: ${formatCount(broken, 'broken promise')}, see above`
  return projects.length === 0 ? `ok: ${basedir} has no project, so nothing is promised` : 'ok: everything that was promised is there'
}

async function tellTrail(layout: Layout, print: (line: string) => void): Promise<number> {
  const discrepancies: Discrepancy[] = []
  const { files, entries } = await verifyTrail(layout, (discrepancy) => discrepancies.push(discrepancy))
  const broken = discrepancies.filter(isBroken).length
  for (const discrepancy of discrepancies) print(formatDiscrepancy(discrepancy))
  if (files > 0) print(`record of access: ${entries} entries in ${formatCount(files, 'file')}; ${broken === 0 ? 'nothing changed or removed' : formatCount(broken, 'broken chain')}`)
  return broken
}

// A name may hold anything that a terminal would obey; stored names are safe, foreign files need not be.
function formatDiscrepancy({ type, where, detail }: Discrepancy): string {
  return `${isBroken({ type, where, detail }) ? type.toUpperCase() : type}: ${where.replace(/\p{C}/gu, '?')}: ${detail}`
}

function formatSummary(project: string, count: Verified, discrepancies: readonly Discrepancy[]): string {
  const broken = discrepancies.filter(isBroken).length
  const unnamed = discrepancies.filter((discrepancy) => discrepancy.type === 'no receipt').length
  return [
    `${project}: ${formatCount(count.receipts, 'receipt')}, ${formatCount(count.files, 'file')}, ${formatBytes(count.bytes)} read`,
    ...(count.opened === 0 ? [] : [`${formatCount(count.opened, 'encrypted file')} opened`]),
    ...(count.withdrawn === 0 ? [] : [`${formatCount(count.withdrawn, 'receipt')} withdrawn`]),
    ...(unnamed === 0 ? [] : [`${formatCount(unnamed, 'file')} without a receipt`]),
    broken === 0 ? 'nothing missing or changed' : formatCount(broken, 'broken promise'),
  ].join('; ')
}
