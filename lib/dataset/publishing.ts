import { join } from 'node:path'
import { inodeOf, type StagingLook } from '../store/staging-look.ts'

/** Counts, among files of a directory that no receipt names, those whose receipt a server that runs is about to write. */
export async function countPublishing({ published }: StagingLook, directory: string, names: readonly string[]): Promise<number> {
  if (published.size === 0) return 0
  const inodes = await Promise.all(names.map((name) => inodeOf(join(directory, name))))
  return inodes.filter((inode) => inode !== undefined && published.has(inode)).length
}
