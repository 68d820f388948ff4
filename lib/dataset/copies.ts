import type { StoredFile, Submission } from './arrivals.ts'
import { parseUploadName } from './upload-name.ts'
import type { Vault } from './vault.ts'

/**
 * Gives submissions with the SHA-256 of encrypted slices that came more than once under one name, with one length: no
 * receipt tells whether they are the same. Reads these slices alone, as far as they may be read.
 */
export async function digestCopies(submissions: readonly Submission[], vault: Vault): Promise<readonly Submission[]> {
  const digests = new Map<string, string>()
  for (const file of findCopies(submissions)) {
    const content = vault.mayRead(file) ? await vault.readContent(file) : undefined
    if (content?.type === 'file') digests.set(file.storedAs, content.sha256)
  }
  if (digests.size === 0) return submissions
  const withDigest = (file: StoredFile): StoredFile => ({ ...file, sha256: file.sha256 ?? digests.get(file.storedAs) })
  return submissions.map((each) => ({ ...each, files: each.files.map(withDigest), repeats: each.repeats.map(withDigest) }))
}

function findCopies(submissions: readonly Submission[]): StoredFile[] {
  const byName = new Map<string, StoredFile[]>()
  if (!submissions.some(({ files }) => files.some(({ sealed }) => sealed !== undefined))) return []
  for (const file of submissions.flatMap(({ files }) => files)) {
    const name = parseUploadName(file.name)
    if (name === undefined) continue
    const key = JSON.stringify([name.uuid, name.uid, name.activity, name.slice, file.bytes])
    const copies = byName.get(key)
    if (copies === undefined) byName.set(key, [file])
    else copies.push(file)
  }
  return [...byName.values()].filter((copies) => copies.length > 1).flatMap((copies) => copies.filter(({ sealed }) => sealed !== undefined))
}
