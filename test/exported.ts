import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { runCommand } from './commanded.ts'
import { listFiles, ROOT, type Ended } from './harness.ts'

/** A row of a CSV file, as Python's csv module reads it. */
export type Row = Readonly<Record<string, string>>

/** An exported tree, as programs of others read it. */
export interface Exported {
  readonly out: string
  readonly files: readonly string[]
  /** Answers by participant, session, file and item. */
  readonly surveys: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, unknown>>>>>>>>
  readonly responses: readonly Row[]
  readonly recordings: readonly Row[]
  readonly sessions: readonly Row[]
  readonly messages: readonly Row[]
  readonly incomplete: readonly Row[]
  readonly unassigned: readonly Row[]
}

/** Runs `export`. */
export function runExport(basedir: string, out: string, ...args: string[]): Promise<Ended> {
  return runCommand(['export', '--basedir', basedir, 'study', out, ...args])
}

/** Exports a project, and has the tree checked by sha256sum, unzip and Python. */
export async function exportAndCheck(basedir: string, out: string, ...args: string[]): Promise<Exported> {
  const { status, stdout, stderr } = await runExport(basedir, out, ...args)
  assert.equal(status, 0, stdout + stderr)
  return check(out)
}

/** Has an exported tree checked. */
export async function check(out: string): Promise<Exported> {
  const files = await listFiles(out)
  run('sha256sum', ['--check', '--strict', '--quiet', 'SHA256SUMS'], out)
  const sums = run('cut', ['-c', '67-', 'SHA256SUMS'], out).trimEnd().split('\n').toSorted()
  assert.deepEqual(sums, files.filter((path) => path !== 'SHA256SUMS' && path !== '.export.json'), 'every file has its sum')
  for (const archive of files.filter((path) => path.startsWith('archives/'))) run('unzip', ['-tqq', archive], out)
  const read = JSON.parse(run('python3', [join(ROOT, 'test', 'export-check.py'), out], out)) as Omit<Exported, 'out' | 'files'>
  return { out, files, ...read }
}

function run(program: string, args: readonly string[], cwd: string): string {
  const env = { PATH: `/usr/bin:/bin:${process.env['PATH'] ?? ''}` } // Debian's Python first: another may be a script that takes ten times as long
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, env, encoding: 'utf8', maxBuffer: 2 ** 28 })
  assert.equal(status, 0, `${program} ${args.join(' ')}\n${stdout}${stderr}`)
  return stdout
}
