import * as fs from 'node:fs'
import { link, open, rename, unlink, type FileHandle } from 'node:fs/promises'
import { promisify } from 'node:util'
import { diskCall } from './disk-call.ts'
import { systemCode } from './errors.ts'
import { identityOf } from './identity.ts'
import { SharedRuns } from './shared-run.ts'

const FILE_MODE = 0o600

const callOpen = diskCall(promisify<string, string, number, number>(fs.open), fs.openSync)
const writev = promisify(fs.writev)
const callWrite = diskCall(
  (descriptor: number, buffers: readonly Buffer[], position: number | undefined) =>
    writev(descriptor, buffers, position as number).then(({ bytesWritten }) => bytesWritten), // the types leave out that it may be undefined
  fs.writevSync,
)
const callClose = diskCall(promisify(fs.close), fs.closeSync)
const callLink = diskCall(link, fs.linkSync)
const callUnlink = diskCall(unlink, fs.unlinkSync)
const callSync = promisify(fs.fsync)

/**
 * Creates a file that must not exist yet, for writing, readable by its owner only.
 * @param owner whose file it is to be; this process's where it is not given
 */
export async function createFile(path: string, owner?: FileOwner): Promise<FileHandle> {
  const handle = await open(path, 'wx', FILE_MODE)
  if (owner === undefined) return handle
  try {
    await giveTo(owner, handle.fd)
    return handle
  } catch (error) {
    await handle.close()
    await remove(path)
    throw error
  }
}

/** Creates a file as `createFile` does, for reading too. */
export function createReadable(path: string): Promise<FileHandle> {
  return open(path, 'wx+', FILE_MODE)
}

/** Opens a file that must be there, for reading and writing anywhere in it. */
export function openAgain(path: string): Promise<FileHandle> {
  return open(path, 'r+')
}

/** Opens a file for appending, readable by its owner only; creates it where it does not exist. */
export function openForAppending(path: string): Promise<FileHandle> {
  return open(path, 'a', FILE_MODE)
}

/** Opens a file for appending that must be there, and no link: one that was removed is not to come back empty. */
export function reopenForAppending(path: string): Promise<FileHandle> {
  return open(path, fs.constants.O_WRONLY | fs.constants.O_APPEND | fs.constants.O_NOFOLLOW)
}

/** Opens a file that must be there, for writes past the page cache: `O_DIRECT`, which not every file system has. */
export function openDirect(path: string): Promise<FileHandle> {
  return open(path, fs.constants.O_WRONLY | fs.constants.O_NOFOLLOW | fs.constants.O_DIRECT)
}

/**
 * Writes all of the buffers, one behind the other; `writev` may store less than it was given and still succeed.
 * @param position in bytes; the end of what was written by this handle, where it is not given
 */
export function writeWhole(handle: FileHandle, buffers: readonly Buffer[], position?: number): Promise<void> {
  return writeAll(handle.fd, buffers, position)
}

async function writeAll(descriptor: number, buffers: readonly Buffer[], position?: number): Promise<void> {
  let rest = buffers.filter((buffer) => buffer.length > 0)
  for (let written = 0; rest.length > 0; ) {
    const bytes = await callWrite(descriptor, rest, position === undefined ? undefined : position + written)
    rest = skip(rest, bytes)
    written += bytes
  }
}

function skip(buffers: Buffer[], bytes: number): Buffer[] {
  let index = 0
  let left = bytes
  for (; index < buffers.length; index++) {
    const length = buffers[index]?.length ?? 0
    if (left < length) break
    left -= length
  }
  const [first, ...others] = buffers.slice(index)
  return first === undefined ? [] : [first.subarray(left), ...others]
}

/** Makes what was written to a file durable. After a failure nothing is known, and a second try would prove nothing. */
export async function syncFile(handle: FileHandle): Promise<void> {
  await sync(handle.fd)
}

/** The user and the group that a file belongs to. */
export interface FileOwner {
  readonly uid: number
  readonly gid: number
}

/**
 * Creates a small file with its whole content, synced; where that fails no file is left.
 * The name itself is durable only once its directory has been synced.
 * @param content a text, or bytes in pieces
 * @param owner whose file it is to be; this process's where it is not given
 */
export async function createWhole(path: string, content: string | readonly Uint8Array[], owner?: FileOwner): Promise<void> {
  const descriptor = await callOpen(path, 'wx', FILE_MODE)
  try {
    if (owner !== undefined) await giveTo(owner, descriptor)
    await writeAll(descriptor, typeof content === 'string' ? [Buffer.from(content)] : content.map(toBuffer))
    await sync(descriptor)
  } catch (error) {
    await remove(path)
    throw error
  } finally {
    await callClose(descriptor)
  }
}

// Without a copy: `Buffer.from` makes one of an array of bytes.
function toBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}

async function giveTo({ uid, gid }: FileOwner, descriptor: number): Promise<void> {
  const { uid: ownUid } = await promisify(fs.fstat)(descriptor)
  if (ownUid !== uid) await promisify(fs.fchown)(descriptor, uid, gid)
}

/**
 * Gives a file a second name; fails with `EEXIST` where another file has it, so that nothing is ever replaced. Where
 * the file has that name already it is done: over NFS a link may be made and its answer lost.
 */
export async function putInPlace(path: string, newPath: string): Promise<void> {
  try {
    await callLink(path, newPath)
  } catch (error) {
    if (systemCode(error) !== 'EEXIST' || !(await isSameFile(path, newPath))) throw error
  }
}

/** Says whether two names are names of one file. */
export async function isSameFile(path: string, otherPath: string): Promise<boolean> {
  const [identity, other] = await Promise.all([identityOf(path), identityOf(otherPath)])
  return identity !== undefined && identity === other
}

/** Bytes that take the place of as many others. */
export interface Patch {
  readonly offset: number
  readonly content: Buffer
}

/**
 * Writes over parts of a file that keeps its length and its identity; durable when the promise is fulfilled. `O_DSYNC`:
 * a shared file system then writes these bytes alone, and not those around them as it remembers them. Throws where the
 * file has become shorter.
 */
export async function overwrite(path: string, patches: readonly Patch[]): Promise<void> {
  const handle = await open(path, fs.constants.O_WRONLY | fs.constants.O_NOFOLLOW | fs.constants.O_DSYNC)
  try {
    for (const { offset, content } of patches) {
      if ((await handle.stat()).size < offset + content.length) throw new Error(`${path} was cut while it was written over`)
      await writeWhole(handle, [content], offset)
    }
    await syncFile(handle)
  } finally {
    await handle.close()
  }
}

/** Gives a file or a directory another name. Only for what is ours: `rename` replaces what stands there. */
export async function moveOwn(path: string, newPath: string): Promise<void> {
  await rename(path, newPath)
}

/** Shows that a file is still looked after: sets when it was last modified, by the clock of its file system, not by ours. */
export async function touch(path: string): Promise<void> {
  const handle = await open(path, 'r+')
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(1), 0, 1, 0)
    await handle.write(buffer, 0, bytesRead, 0)
  } finally {
    await handle.close()
  }
}

/** Removes a name; one that is not there is as good as removed. */
export async function remove(path: string): Promise<void> {
  try {
    await callUnlink(path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
  }
}

const directorySyncs = new SharedRuns(fsyncDirectory)

/** Makes the names in a directory durable. Callers at the same time share one `fsync`, begun after each of them asked. */
export function syncDirectory(path: string): Promise<void> {
  return directorySyncs.run(path)
}

// Opened by its path each time: a descriptor kept open would go on syncing a directory that somebody has replaced.
async function fsyncDirectory(path: string): Promise<void> {
  const descriptor = await callOpen(path, 'r', 0)
  try {
    await sync(descriptor)
  } finally {
    await callClose(descriptor)
  }
}

const observers = new Set<(seconds: number) => void>()

/** Tells an observer from now on how long each sync took; what it returns ends that. */
export function observeSyncs(observer: (seconds: number) => void): () => void {
  observers.add(observer)
  return () => void observers.delete(observer)
}

/** Tells the observers of a sync that another thread has made. */
export function tellSync(seconds: number): void {
  for (const observe of observers) observe(seconds)
}

// By the pool from every thread: the disk makes several files durable in the time of one.
async function sync(descriptor: number): Promise<void> {
  const beganAtMs = performance.now()
  try {
    await callSync(descriptor)
  } finally {
    tellSync((performance.now() - beganAtMs) / 1000)
  }
}
