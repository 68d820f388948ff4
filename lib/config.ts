import { parseArgs } from 'node:util'
import { systemCode } from './errors.ts'
import { SETTINGS, type Setting } from './settings.ts'

/** The server's configuration, read once at the start and never changed. */
export type Config = {
  readonly [Name in keyof typeof SETTINGS]: ReturnType<(typeof SETTINGS)[Name]['otherwise']>
}

/** Mistakes in the environment or the command line: one line each. */
export class ConfigError extends Error {
  readonly mistakes: readonly string[]

  constructor(mistakes: readonly string[]) {
    super(mistakes.join('\n'))
    this.mistakes = mistakes
  }
}

/**
 * Reads every setting, a flag before its variable; an empty variable counts as not set.
 * Throws a `ConfigError` with all mistakes at once.
 */
export function readConfig(args: readonly string[], environment: Readonly<Record<string, string | undefined>>): Config {
  const mistakes: string[] = []
  const flags = readFlags(args, mistakes)
  const entries = Object.entries(SETTINGS).map(([name, row]) => [name, readSetting(row, flags, environment, mistakes)])
  const config = Object.fromEntries(entries) as Config // each value is what its own row's parse or otherwise gave
  if (config.token !== undefined && config.tokenFile !== undefined) {
    mistakes.push(`${SETTINGS.token.variable} and ${SETTINGS.tokenFile.variable} are both set: use one of them.`)
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  return Object.freeze(config)
}

type Flags = Readonly<Record<string, string | boolean | undefined>>

function readFlags(args: readonly string[], mistakes: string[]): Flags {
  const names = Object.values(SETTINGS).flatMap((row) => ('flag' in row && row.flag !== undefined ? [row.flag] : []))
  const options = Object.fromEntries(names.map((name) => [name, { type: 'string' as const }]))
  try {
    return parseArgs({ args: [...args], options }).values
  } catch (error) {
    if (!systemCode(error)?.startsWith('ERR_PARSE_ARGS')) throw error
    mistakes.push(`${error instanceof Error ? error.message.split('. ')[0] : ''}. --help lists what there is.`)
    return {}
  }
}

function readSetting(
  row: Setting<unknown>,
  flags: Flags,
  environment: Readonly<Record<string, string | undefined>>,
  mistakes: string[],
): unknown {
  const flag = row.flag === undefined ? undefined : flags[row.flag]
  const text = typeof flag === 'string' ? flag : environment[row.variable] || undefined
  if (text === undefined) return row.otherwise()
  const value = text === '' ? undefined : row.parse(text)
  if (value !== undefined) return value
  const name = typeof flag === 'string' ? `--${row.flag}` : row.variable
  const shown = row.isSecret === true ? '(its value is not shown)' : JSON.stringify(text)
  mistakes.push(`${name}=${shown} is not allowed: use ${row.allowed}.`)
  return row.otherwise()
}
