import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runCommand } from './commanded.ts'
import { listFiles, runAside, type Ended } from './harness.ts'

/** Runs `withdraw` for a participant of the project `study`. */
export function runWithdraw(basedir: string, participant: string, ...args: string[]): Promise<Ended> {
  return runCommand(['withdraw', 'study', '--basedir', basedir, '--participant', participant, ...args])
}

/** Runs `withdraw --yes` through another program: one thread makes all its calls. */
export function withdrawThrough(basedir: string, participant: string, through: readonly string[]): Promise<Ended> {
  return runAside(['withdraw', 'study', '--basedir', basedir, '--participant', participant, '--yes'], { UV_THREADPOOL_SIZE: '1' }, through)
}

/** Runs `verify`. */
export function runVerify(basedir: string): Promise<Ended> {
  return runCommand(['verify', 'study', '--basedir', basedir])
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
