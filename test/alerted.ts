import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { temporaryDirectory } from './harness.ts'

/** A program that keeps what it is told: its input and ALERT, in a file for each time it runs. */
export async function makeProgram(t: TestContext, body = ''): Promise<{ path: string; told: () => Promise<{ json: Record<string, unknown>; environment: string }[]> }> {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'tell')
  const script = `#!/bin/sh\n${body}\ncat >${directory}/$$.part; env >>${directory}/$$.part; mv ${directory}/$$.part ${directory}/$$.told\n`
  await writeFile(path, script)
  await chmod(path, 0o700)
  const told = async () => {
    const names = (await readdir(directory)).filter((name) => name.endsWith('.told'))
    const texts = await Promise.all(names.map((name) => readFile(join(directory, name), 'utf8')))
    return texts.map((text) => {
      const [json = '', ...environment] = text.split('\n')
      return { json: JSON.parse(json) as Record<string, unknown>, environment: environment.join('\n') }
    })
  }
  return { path, told }
}

/** Writes the receipts of earlier submissions to the project `study`, of one file each; the files are not there. */
export async function writeReceipts(basedir: string, moments: readonly { at: number; name: string; bytes: number }[]): Promise<void> {
  await mkdir(join(basedir, 'receipts', 'study'), { recursive: true })
  const lines = moments.map(({ at, name, bytes }, index) => {
    const stored = `${index}-${name}`
    const file = { field: 'file', name, stored_as: stored, bytes, sha256: String(index).padStart(64, '0') }
    const head = { id: String(index).padStart(32, '0'), received_at: new Date(at).toISOString(), project: 'study' }
    return `${JSON.stringify({ ...head, token_sha256: '0'.repeat(64), fields: [], files: [file], previous: null })}\n`
  })
  await writeFile(join(basedir, 'receipts', 'study', '20241101T023615.000000Z-00000000.ndjson'), lines.join(''))
}
