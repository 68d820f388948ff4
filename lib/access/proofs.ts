import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AgeError } from '../crypt/age-error.ts'
import { parseRecipientList, type RecipientList } from '../crypt/recipient-list.ts'
import type { Directories } from '../directories.ts'
import { createWhole, moveOwn, putInPlace, remove, syncDirectory, type FileOwner } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { parseObject } from '../json.ts'

const PROOF = /^[0-9a-f]{64}\.json$/

/** That somebody who holds a key of a list has shown it. */
export interface Proof {
  readonly list: RecipientList
  readonly provenAtMs: number
}

/** Reads the proofs in a directory, the last one first; what is none, or was altered, is passed over. */
export async function readProofs(directory: string): Promise<readonly Proof[]> {
  const proofs: Proof[] = []
  for (const entry of await entriesOf(directory)) {
    if (!PROOF.test(entry)) continue
    const proof = parseProof(await readFile(join(directory, entry), 'utf8').catch(passOver))
    if (proof !== undefined && entry.startsWith(proof.list.digest)) proofs.push(proof)
  }
  return proofs.toSorted((a, b) => b.provenAtMs - a.provenAtMs)
}

/**
 * Records that a list was proven, in a file named by its digest; it is durable when the promise is fulfilled. Of a list that
 * is proven again the last time counts: a lab that went back to a key wants that one, and not the one it gave up. Throws
 * where another file has that name.
 * @param owner whose files they are to be; this process's where it is not given
 */
export async function addProof(directory: string, { list, provenAtMs }: Proof, directories: Directories, owner?: FileOwner): Promise<void> {
  await directories.ensure(directory)
  const [path, newPath] = [join(directory, `${list.digest}.json`), join(directory, `new-${randomBytes(8).toString('hex')}`)]
  const record = { recipients: list.recipients.map(({ text }) => text), proven_at: new Date(provenAtMs).toISOString() }
  await createWhole(newPath, `${JSON.stringify(record)}\n`, owner) // under a name of its own, so that no proof is ever half there
  try {
    await putInPlace(newPath, path)
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
    const known = await readProofs(directory)
    if (!known.some((proof) => proof.list.digest === list.digest)) throw new Error(`${path} is in the way and is no proof: move it away`, { cause: error })
    await moveOwn(newPath, path)
  } finally {
    await remove(newPath)
  }
  await syncDirectory(directory)
}

function parseProof(text: string): Proof | undefined {
  const record = parseObject(text)
  if (record === undefined) return undefined // not written by a server
  const { recipients, proven_at: provenAt } = record
  const provenAtMs = typeof provenAt === 'string' ? Date.parse(provenAt) : Number.NaN
  if (!Array.isArray(recipients) || Number.isNaN(provenAtMs)) return undefined
  try {
    return { list: parseRecipientList(recipients.join('\n')), provenAtMs }
  } catch (error) {
    if (!(error instanceof AgeError)) throw error
    return undefined
  }
}

async function entriesOf(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    passOver(error)
    return []
  }
}

// What is not there or not for us is no proof; that too many files are open says nothing, and passes.
function passOver(error: unknown): string {
  const code = systemCode(error)
  if (code === undefined || code === 'EMFILE' || code === 'ENFILE' || code === 'EIO') throw error
  return ''
}
