import { readFile, stat } from 'node:fs/promises'
import { AgeError } from '../crypt/age-error.ts'
import { parseRecipientList, type RecipientList } from '../crypt/recipient-list.ts'
import { systemCode } from '../errors.ts'

const MOST_BYTES = 64 * 1024 // of recipients and comments

/** What the file of a project's own recipients holds. */
export type OwnList =
  | { readonly type: 'none' }
  | { readonly type: 'good'; readonly list: RecipientList }
  | { readonly type: 'bad'; readonly reason: string }

/** Reads a project's own recipients. Whatever stands there, it says so; it throws only where too many files are open. */
export async function readOwnList(path: string): Promise<OwnList> {
  try {
    const found = await stat(path)
    if (!found.isFile() || found.size > MOST_BYTES) return { type: 'bad', reason: `${path} is no file of at most ${MOST_BYTES} bytes` }
    return { type: 'good', list: parseRecipientList(await readFile(path, 'utf8')) }
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT') return { type: 'none' }
    if (code === 'EMFILE' || code === 'ENFILE') throw error // it says nothing of this file, and passes
    if (error instanceof AgeError) return { type: 'bad', reason: `${path} cannot be used: ${error.message}` }
    if (code === undefined) throw error
    return { type: 'bad', reason: `${path} cannot be read: ${code}` }
  }
}
