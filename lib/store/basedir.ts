import { access, constants, stat } from 'node:fs/promises'
import type { Directories } from '../directories.ts'
import { systemCode } from '../errors.ts'
import type { Layout } from './layout.ts'

/** Makes the base directory and that of the logs. The base directory may be a link, as the lab wishes; nothing below it may. */
export async function makeBasedir(layout: Layout, directories: Directories): Promise<void> {
  if (!(await isDirectory(layout.basedir))) await directories.ensure(layout.basedir)
  await directories.ensure(layout.logs)
}

/** Says whether a path is a directory that this process may write to. */
export async function isWritable(path: string): Promise<boolean> {
  try {
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK)
    return await isDirectory(path)
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return false
  }
}

/** Says whether there is a directory, or a link to one. */
export async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}
