import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseRecipientList, type RecipientList } from '../crypt/recipient-list.ts'
import { AgeError } from '../crypt/age-error.ts'
import type { Directories } from '../directories.ts'
import { createWhole, syncDirectory } from '../durable.ts'
import { systemCode } from '../errors.ts'

const NAME = /^\d{8}T\d{9}Z-[0-9a-f]{8}$/
const NO_RECIPIENTS = '# none'

/**
 * Gives the recipients that a server has begun with last, for commands that are not told its settings; undefined where it
 * had none.
 */
export async function readServerList(directory: string): Promise<RecipientList | undefined> {
  for (const name of (await namesIn(directory)).toReversed()) {
    const text = await readFile(join(directory, name), 'utf8')
    if (text.trim() === NO_RECIPIENTS) return undefined
    const list = parseWhole(text)
    if (list !== undefined) return list
  }
  return undefined
}

/** Notes the recipients that a server begins with, where they are others than the last ones. */
export async function noteServerList(directory: string, list: RecipientList | undefined, nowMs: number, directories: Directories): Promise<void> {
  if ((await readServerList(directory))?.digest === list?.digest) return
  await directories.ensure(directory)
  const name = `${new Date(nowMs).toISOString().replace(/[:.-]/g, '')}-${randomBytes(4).toString('hex')}`
  const lines = list?.recipients.map(({ text }) => text) ?? [NO_RECIPIENTS]
  await createWhole(join(directory, name), `${lines.join('\n')}\n`)
  await syncDirectory(directory)
}

// A crash may have cut one off: the server did not begin with it.
function parseWhole(text: string): RecipientList | undefined {
  if (!text.endsWith('\n')) return undefined
  try {
    return parseRecipientList(text)
  } catch (error) {
    if (!(error instanceof AgeError)) throw error
    return undefined
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).filter((name) => NAME.test(name)).toSorted()
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    return []
  }
}
