import { parseArgs } from 'node:util'
import { ConfigError, readOne } from '../config.ts'
import { listProjects } from '../dataset/projects.ts'
import { systemCode } from '../errors.ts'
import { SETTINGS } from '../settings/settings.ts'
import { Layout } from '../store/layout.ts'
import { requireBasedir } from './local-basedir.ts'

/** How a flag of a command is written: with a value, or alone; whether it may come several times. */
export type Flags = Readonly<Record<string, { readonly type: 'string' | 'boolean'; readonly multiple?: boolean }>>

/** The arguments of a command that reads a base directory. */
export interface Arguments {
  readonly layout: Layout
  readonly positionals: readonly string[]
  /** Gives the value of a flag. */
  readonly text: (flag: string) => string | undefined
  /** Gives the values of a flag that may come several times. */
  readonly texts: (flag: string) => readonly string[]
  readonly isSet: (flag: string) => boolean
}

/**
 * Reads the arguments of a command that works on a base directory: `--basedir` and its variable hold as for `serve`.
 * Throws a `ConfigError`.
 * @param names what stands beside the flags, in its order; a name in brackets may be left out
 */
export function readArguments(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  { flags, names }: { flags: Flags; names: readonly string[] },
): Arguments {
  const { values, positionals } = parse(args, { basedir: { type: 'string' }, ...flags })
  const missing = names.slice(positionals.length).find((name) => !name.startsWith('['))
  if (missing !== undefined) throw new ConfigError([`<${missing}> is missing. --help lists what there is.`])
  const further = positionals[names.length]
  if (further !== undefined) throw new ConfigError([`${JSON.stringify(further)} is one argument too many. --help lists what there is.`])
  const text = (flag: string) => (typeof values[flag] === 'string' ? values[flag] : undefined)
  const texts = (flag: string) => [values[flag] ?? []].flat().filter((value) => typeof value === 'string')
  const basedir = readOne(SETTINGS.basedir, text('basedir'), environment)
  return { layout: new Layout(basedir), positionals, text, texts, isSet: (flag) => values[flag] === true }
}

/** Gives the projects that a command is to work on: the one that was asked for, or all. Throws a `ConfigError` where it is not there. */
export async function findProjects(layout: Layout, project: string | undefined): Promise<string[]> {
  await requireBasedir(layout)
  const projects = await listProjects(layout)
  if (project === undefined) return projects
  if (projects.includes(project)) return [project]
  const known = projects.length === 0 ? 'It has none yet.' : `It has ${projects.slice(0, 20).join(', ')}${projects.length > 20 ? ', …' : ''}.`
  throw new ConfigError([`${layout.basedir} has no project ${JSON.stringify(project)}. ${known}`])
}

function parse(args: readonly string[], options: Flags) {
  try {
    const parsed = parseArgs({ args: [...args], options: { ...options }, allowPositionals: true, tokens: true })
    refuseRepeated(parsed.tokens.flatMap((token) => (token.kind === 'option' ? token.name : [])), options)
    return parsed
  } catch (error) {
    if (!systemCode(error)?.startsWith('ERR_PARSE_ARGS') || !(error instanceof Error)) throw error
    throw new ConfigError([`${error.message.split('. ')[0]}. --help lists what there is.`])
  }
}

// Nobody is to be erased in the place of somebody else: which of two values is meant we do not know.
function refuseRepeated(given: readonly string[], options: Flags): void {
  const repeated = given.find((name, index) => given.indexOf(name) < index && options[name]?.multiple !== true)
  if (repeated !== undefined) throw new ConfigError([`--${repeated} is given twice. --help lists what there is.`])
}
