import { readdir } from 'node:fs/promises'
import { systemCode } from '../errors.ts'
import { isProject } from '../project.ts'
import type { Layout } from '../store/layout.ts'

/** Lists the projects of a base directory that have receipts or files, sorted. Throws `ENOENT` where there is no such directory. */
export async function listProjects(layout: Layout): Promise<string[]> {
  await readdir(layout.basedir)
  const [withReceipts, withFiles] = await Promise.all([layout.receipts, layout.responses].map(directoriesIn))
  return [...new Set([...(withReceipts ?? []), ...(withFiles ?? [])])].filter(isProject).toSorted()
}

/** Lists what a directory holds, by name; nothing where there is no such directory. `others` are what is no plain file. */
export async function listDirectory(path: string): Promise<{ files: string[]; others: string[] }> {
  const entries = await entriesIn(path)
  return {
    files: entries.filter((entry) => entry.isFile()).map((entry) => entry.name).toSorted(),
    others: entries.filter((entry) => !entry.isFile()).map((entry) => entry.name).toSorted(),
  }
}

async function directoriesIn(path: string): Promise<string[]> {
  return (await entriesIn(path)).filter((entry) => entry.isDirectory()).map((entry) => entry.name)
}

async function entriesIn(path: string) {
  try {
    return await readdir(path, { withFileTypes: true })
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}
