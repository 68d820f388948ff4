import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { listFiles, PROGRAM, runProgram } from './harness.ts'

/** How a program ended, and what it said. */
export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `withdraw` for a participant of the project `study`. */
export function runWithdraw(basedir: string, participant: string, ...args: string[]): Ended {
  return runProgram(['withdraw', 'study', '--basedir', basedir, '--participant', participant, ...args])
}

/** Runs `withdraw --yes` while the test goes on, through another program where one is given. */
export function withdrawAside(basedir: string, participant: string, through: readonly string[] = []): Promise<Ended> {
  const [command = '', ...rest] = [...through, process.execPath, PROGRAM, 'withdraw', 'study', '--basedir', basedir, '--participant', participant, '--yes']
  const environment = { PATH: process.env['PATH'] ?? '', HOME: tmpdir(), UV_THREADPOOL_SIZE: '1' }
  return new Promise((done) => {
    const child = execFile(command, rest, { env: environment }, (_, stdout, stderr) => done({ status: child.exitCode, stdout, stderr }))
  })
}

/** Runs `verify`. */
export function runVerify(basedir: string): Ended {
  return runProgram(['verify', 'study', '--basedir', basedir])
}

/** Says which files below a base directory hold one of these texts, in their names or their content; logs name nobody, and count too. */
export async function findTexts(basedir: string, texts: readonly (string | Buffer)[]): Promise<string[]> {
  const found: string[] = []
  for (const path of await listFiles(basedir)) {
    const content = await readFile(join(basedir, path))
    if (texts.some((text) => content.includes(text) || path.includes(String(text)))) found.push(path)
  }
  return found
}

/** The content of every file below a directory but the logs and the record of access. */
export async function readTree(directory: string): Promise<Map<string, string>> {
  const tree = new Map<string, string>()
  for (const path of await listFiles(directory)) {
    if (!/^(logs|audit)\//.test(path)) tree.set(path, await readFile(join(directory, path), 'latin1'))
  }
  return tree
}

/** Makes sure that a withdrawal left everything of others as it was. */
export async function checkOthers(basedir: string, before: ReadonlyMap<string, string>, isTheirs: (path: string) => boolean): Promise<void> {
  const now = await readTree(basedir)
  for (const [path, content] of before) {
    if (path.startsWith('uploads/responses/') && !isTheirs(path)) assert.equal(now.get(path), content, path)
    if (!path.startsWith('receipts/')) continue
    const lines = now.get(path)?.split('\n') ?? []
    for (const [index, line] of content.split('\n').entries()) {
      assert.equal(lines[index]?.length, line.length, `${path}, line ${index + 1} has another length`)
      if (line.includes('p-y')) assert.equal(lines[index], line, `${path}, line ${index + 1}`)
    }
  }
}
