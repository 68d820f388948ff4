import type { FileHandle } from 'node:fs/promises'
import { remove, syncDirectory, syncFile, writeWhole } from '../durable.ts'
import { systemCode } from '../errors.ts'
import type { FreeSpace } from './free-space.ts'
import type { Staging } from './staging.ts'

/** What is looked at to know whether submissions can be stored. */
export type Look = 'space' | 'write' | 'sync'

/** What each look came to: `ok`, or what is wrong. */
export type Findings = Readonly<Record<Look, string>>

/**
 * Does with a few bytes what a submission does with many: looks for room, writes a file where uploads are staged, syncs
 * it and its directory, and removes it. Never throws; may take as long as the file system does.
 * @param onLook is told what is looked at next
 */
export async function probe(staging: Staging, freeSpace: FreeSpace, onLook: (look: Look) => void): Promise<Findings> {
  onLook('space')
  const space = await find(() => requireRoom(freeSpace))
  const path = staging.newPath('.probe')
  let handle: FileHandle | undefined
  try {
    onLook('write')
    const write = await find(async () => {
      handle = await staging.create(path)
      await writeWhole(handle, [Buffer.from('probe\n')])
    })
    onLook('sync')
    const sync = write === 'ok' ? await find(() => syncAll(staging, handle)) : 'not tried'
    return { space, write, sync }
  } finally {
    await Promise.allSettled([handle?.close(), remove(path)]) // of a disk that failed, perhaps; that was found already
  }
}

async function requireRoom(freeSpace: FreeSpace): Promise<void> {
  const { freeBytes, reserveBytes } = await freeSpace.look()
  if (freeBytes < reserveBytes) throw new Error(`${freeBytes} bytes are free, and the reserve is ${reserveBytes}`)
}

async function syncAll(staging: Staging, handle: FileHandle | undefined): Promise<void> {
  if (handle !== undefined) await syncFile(handle)
  await syncDirectory(staging.path)
}

// Whoever asks may be anybody: the code of a system error is told, its path is not.
async function find(look: () => Promise<void>): Promise<string> {
  try {
    await look()
    return 'ok'
  } catch (error) {
    return systemCode(error) ?? (error instanceof Error ? error.message : String(error))
  }
}
