import type { BigIntStats } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../errors.ts'
import { findStats } from '../identity.ts'
import { INTENT, parseIntent, type Intent } from './intent.ts'
import type { Layout } from './layout.ts'
import { describeSelf, isRunning, parseOwner } from './owner.ts'

const OWNER_FILE = 'owner.json'

/** What a process had begun to publish, and has not noted as done. */
export interface IntentFile {
  readonly path: string
  /** The directory that it lies in, as do the staged files that it names. */
  readonly directory: string
  readonly intent: Intent
  /** Whether its process still runs; undefined where this one cannot know. */
  readonly isRunning: boolean | undefined
}

/** What lies in staging, of all processes. */
export interface StagingLook {
  readonly intents: readonly IntentFile[]
  /** The paths of staged files, by device and inode: one that was published has two names for a moment, or since a crash. */
  readonly paths: ReadonlyMap<string, readonly string[]>
  /** The device and inode of each that has its second name already, of processes that run. */
  readonly published: ReadonlySet<string>
}

/** Looks at what lies in staging; what goes meanwhile is passed over. */
export async function lookAtStaging(layout: Layout): Promise<StagingLook> {
  const intents: IntentFile[] = []
  const paths = new Map<string, string[]>()
  const published = new Set<string>()
  const visit = async (directory: string, running: boolean | undefined): Promise<void> => {
    for (const entry of await entriesIn(directory)) {
      const path = join(directory, entry.name)
      if (entry.isDirectory()) await visit(path, running)
      else if (entry.name.endsWith(INTENT)) {
        const intent = parseIntent(await readText(path))
        if (intent !== undefined) intents.push({ path, directory, intent, isRunning: running })
      } else if (entry.name !== OWNER_FILE) {
        const found = await findStats(path)
        if (found === undefined) continue
        const identity = formatInode(found)
        paths.set(identity, [...(paths.get(identity) ?? []), path])
        if (running === true && found.nlink > 1n) published.add(identity)
      }
    }
  }
  for (const entry of await entriesIn(layout.staging)) {
    const directory = join(layout.staging, entry.name)
    if (!entry.isDirectory()) continue
    const owner = parseOwner(await readText(join(directory, OWNER_FILE)))
    await visit(directory, owner === undefined ? undefined : isRunning(owner, describeSelf()))
  }
  return { intents, paths, published }
}

/** Tells which file a path names, whatever its name; undefined where there is none. */
export async function inodeOf(path: string): Promise<string | undefined> {
  const found = await findStats(path)
  return found === undefined ? undefined : formatInode(found)
}

function formatInode({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`
}

async function entriesIn(directory: string) {
  try {
    return await readdir(directory, { withFileTypes: true })
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return ''
    throw error
  }
}
