import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { filesOf, listFiles, type Answer, type StoredFile } from './harness.ts'
import { sha256Of } from './sha256.ts'

/** Gives the receipts of a project after a look at their chains: every line is whole and names the one before it. */
export async function checkReceipts(basedir: string, project: string): Promise<Record<string, unknown>[]> {
  const directory = join(basedir, 'receipts', project)
  const receipts: Record<string, unknown>[] = []
  for (const file of await entriesOf(directory)) {
    const text = await readFile(join(directory, file), 'utf8')
    assert.ok(text === '' || text.endsWith('\n'), `${file} ends in the middle of a line`)
    let previous: string | null = null
    for (const line of text.split('\n').slice(0, -1)) {
      const receipt = JSON.parse(line) as Record<string, unknown>
      assert.equal(receipt['previous'], previous, `${file} is no chain`)
      previous = sha256Of(line)
      receipts.push(receipt)
    }
  }
  return receipts
}

/** Looks whether a promise was kept: each file is there, whole, and there is one receipt that says so. */
export async function checkKept(basedir: string, answer: Answer): Promise<void> {
  const { id, project } = answer.json as { id: string; project: string }
  for (const file of filesOf(answer)) await checkFile(basedir, project, file)
  const own = (await checkReceipts(basedir, project)).filter((receipt) => receipt['id'] === id)
  assert.equal(own.length, 1, `${own.length} receipts of ${id}`)
  const promised = (own[0]?.['files'] as StoredFile[]).map(({ name, stored_as, bytes, sha256 }) => ({ name, stored_as, bytes, sha256 }))
  assert.deepEqual(promised, filesOf(answer))
}

async function checkFile(basedir: string, project: string, file: StoredFile): Promise<void> {
  const content = await readFile(join(basedir, 'uploads', 'responses', project, file.stored_as))
  assert.deepEqual({ bytes: content.length, sha256: sha256Of(content) }, { bytes: file.bytes, sha256: file.sha256 })
}

/** The names in a project's directory; none where there is no directory. */
export function listProject(basedir: string, project: string): Promise<string[]> {
  return entriesOf(join(basedir, 'uploads', 'responses', project))
}

/** What lies in staging but owners' notes. */
export async function listStaged(basedir: string): Promise<string[]> {
  return (await listFiles(join(basedir, 'uploads', 'staging'))).filter((path) => !path.endsWith('/owner.json'))
}

async function entriesOf(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).toSorted()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}
