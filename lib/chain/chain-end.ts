import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { sha256Of } from '../sha256.ts'
import { readWhole } from '../whole-read.ts'

const MOST_BYTES = 64 * 1024 // of a last line
const NEWLINE = 10

/** Where a chain ends: what whoever goes on with it has to know. */
export interface ChainEnd {
  readonly bytes: number
  /** SHA-256 of the last line. */
  readonly previous: string
}

/** Finds the end of a chain; undefined where the file is empty, is no plain file of one name, or does not end with a line. */
export async function findChainEnd(path: string): Promise<ChainEnd | undefined> {
  // A pipe that somebody has put there would be waited for.
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const found = await handle.stat()
    if (!found.isFile() || found.nlink !== 1) return undefined
    const from = Math.max(0, found.size - MOST_BYTES)
    const tail = Buffer.alloc(found.size - from)
    if (!(await readWhole(handle, tail, from)) || tail.at(-1) !== NEWLINE) return undefined
    const start = tail.lastIndexOf(NEWLINE, -2) + 1
    if (start === 0 && from > 0) return undefined
    return { bytes: found.size, previous: sha256Of(tail.subarray(start, -1)) }
  } finally {
    await handle.close()
  }
}
