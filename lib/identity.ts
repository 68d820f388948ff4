import { lstatSync, type BigIntStats } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { diskCall } from './disk-call.ts'
import { systemCode } from './errors.ts'

const callLstat = diskCall(
  (path: string) => lstat(path, { bigint: true }),
  (path: string) => lstatSync(path, { bigint: true }),
)

/** Tells which file or directory a path names, in a text that no other one has; undefined where there is none. */
export async function identityOf(path: string): Promise<string | undefined> {
  const found = await findStats(path)
  return found === undefined ? undefined : formatIdentity(found)
}

/** Looks at a path itself, not at what a link points to; undefined where there is nothing. */
export async function findStats(path: string): Promise<BigIntStats | undefined> {
  try {
    return await callLstat(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The time of birth is in it too: ext4 gives the number of a directory that was removed to the next one that is made. */
export function formatIdentity({ dev, ino, birthtimeNs }: BigIntStats): string {
  return [dev, ino, birthtimeNs].join(':')
}
