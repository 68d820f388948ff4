import { realpath } from 'node:fs/promises'
import { hostname } from 'node:os'
import { systemCode } from '../errors.ts'
import type { Layout } from '../store/layout.ts'
import { readServerNotes, type FoundNote, type NotedSettings } from './server-note.ts'

/** The note that is believed, and what stands beside it. */
export interface TrustedNote extends FoundNote {
  /** Whether its server names this base directory on this machine, and not one that this is a copy of. */
  readonly isHere: boolean
  /** How many servers with other settings run on the base directory, and of how many more nobody here can tell. */
  readonly others: { readonly running: number; readonly unknown: number }
}

/** The settings of the server of a base directory, and who says so. */
export interface ToldSettings {
  readonly settings: NotedSettings
  /** Undefined where no server has noted them. */
  readonly trusted: TrustedNote | undefined
}

/** Finds what the server of a base directory has noted: one that runs, else the last. */
export async function findSettings(layout: Layout, otherwise: () => Promise<NotedSettings>): Promise<ToldSettings> {
  const notes = await readServerNotes(layout)
  const found = notes.find(({ isRunning }) => isRunning) ?? notes[0]
  if (found === undefined) return { settings: await otherwise(), trusted: undefined }
  const { settings } = found.note
  const different = notes.filter(({ note }) => !isSame(note.settings, settings))
  const others = { running: different.filter(({ isRunning }) => isRunning).length, unknown: different.filter(({ isRunning }) => isRunning === undefined).length }
  return { settings, trusted: { ...found, isHere: await isKeptBy(found, layout), others } }
}

/** Says whether every server that runs and noted its settings here keeps another base directory: this one is then a copy. */
export async function isOnlyCopied(layout: Layout): Promise<boolean> {
  const running = (await readServerNotes(layout)).filter(({ isRunning }) => isRunning)
  const kept = await Promise.all(running.map((found) => isKeptBy(found, layout)))
  return running.length > 0 && !kept.includes(true)
}

async function isKeptBy({ note: { owner, settings } }: FoundNote, layout: Layout): Promise<boolean> {
  return owner.host === hostname() && (await resolveLinks(settings.basedir)) === (await resolveLinks(layout.basedir))
}

// Several servers on one base directory listen in several places.
function isSame(a: NotedSettings, b: NotedSettings): boolean {
  return JSON.stringify({ ...a, listening: [] }) === JSON.stringify({ ...b, listening: [] })
}

async function resolveLinks(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return path // of another machine, or gone
  }
}
