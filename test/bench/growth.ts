import { createHash, randomUUID } from 'node:crypto'
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const [FILES, PROJECTS, TOKENS] = [1_000_000, 10_000, 100_000]
const HOUR_MS = 3_600_000

/** Fills a base directory as years of use would: a million files in the project `bench`, ten thousand projects, a hundred thousand tokens alive. */
export async function grow(basedir: string): Promise<void> {
  const uploads = join(basedir, 'uploads', 'responses')
  for (let at = 0; at < PROJECTS; at++) growProject(basedir, uploads, `project-${at}`, 1)
  growProject(basedir, uploads, 'bench', FILES)
  growTokens(join(basedir, 'tokens'))
}

function growProject(basedir: string, uploads: string, project: string, files: number): void {
  for (const directory of [join(uploads, project), join(basedir, 'receipts', project)]) mkdirSync(directory, { recursive: true, mode: 0o700 })
  for (let at = 0; at < files; at++) closeSync(openSync(join(uploads, project, `20240101T000000.${String(at).padStart(6, '0')}Z-messages.json`), 'wx', 0o600))
  const receipt = { id: randomUUID().replaceAll('-', ''), received_at: '2024-01-01T00:00:00.000000Z', project, token_sha256: '', fields: [], files: [], previous: null }
  writeFileSync(join(basedir, 'receipts', project, '20240101T000000.000000Z-00000000.ndjson'), `${JSON.stringify(receipt)}\n`, { mode: 0o600 })
}

function growTokens(directory: string): void {
  mkdirSync(directory, { mode: 0o700 })
  const record = { project: 'bench', issued_at: new Date().toISOString(), expires_at: new Date(Date.now() + 24 * HOUR_MS).toISOString() }
  for (let at = 0; at < TOKENS; at++) {
    const name = createHash('sha256').update(String(at)).digest('hex')
    writeFileSync(join(directory, `${name}.json`), `${JSON.stringify(record)}\n`, { mode: 0o600 })
  }
}
