import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncDirectory } from '../durable.ts'
import { systemCode } from '../errors.ts'

const DIRECTORY_MODE = 0o700
const CANNOT = ['EACCES', 'EPERM', 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'] // as on shares of other systems, or where we may not read

/**
 * Makes a directory and its parents where they are missing, one by one: `recursive` of Node 20 never ends where the
 * parent exists and still no directory can be made in it, as in /proc. Throws what the file system says.
 */
export async function makeDirectories(path: string): Promise<void> {
  try {
    await mkdir(path, DIRECTORY_MODE)
  } catch (error) {
    if (systemCode(error) === 'EEXIST' && (await isDirectory(path))) return
    if (systemCode(error) !== 'ENOENT' || (await isDirectory(dirname(path)))) throw error
    await makeDirectories(dirname(path))
    await mkdir(path, DIRECTORY_MODE)
  }
  await syncNames(dirname(path))
}

/** Makes the names in a directory durable, where its file system can do that for directories. */
export async function syncNames(path: string): Promise<void> {
  try {
    await syncDirectory(path)
  } catch (error) {
    if (!CANNOT.includes(systemCode(error) ?? '')) throw error
  }
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return false
    throw error
  }
}
