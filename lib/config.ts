import { parseArgs } from 'node:util'
import type { Setting } from './settings/setting.ts'
import { SETTINGS } from './settings/settings.ts'

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
 * Reads every setting, a flag before its variable; an empty variable counts as not set, unless that would be a danger.
 * Throws a `ConfigError` with all mistakes at once.
 */
export function readConfig(args: readonly string[], environment: Readonly<Record<string, string | undefined>>): Config {
  const mistakes: string[] = []
  const flags = readFlags(args, mistakes)
  const entries = Object.entries(SETTINGS).map(([name, row]) => [name, readSetting<unknown>(row, flags, environment, mistakes)])
  const config = Object.fromEntries(entries) as Config // each value is what its own row's parse or otherwise gave
  if (config.token !== undefined && config.tokenFile !== undefined) {
    mistakes.push(`${SETTINGS.token.variable} and ${SETTINGS.tokenFile.variable} are both set: use one of them.`)
  }
  if (config.recipients !== undefined && config.recipientsFile !== undefined) {
    mistakes.push(`${SETTINGS.recipients.variable} and ${SETTINGS.recipientsFile.variable} are both set: use one of them.`)
  }
  if ((config.tlsCert === undefined) !== (config.tlsKey === undefined)) {
    mistakes.push(`${SETTINGS.tlsCert.variable} and ${SETTINGS.tlsKey.variable} belong together: set both or none.`)
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  return Object.freeze(config)
}

/** Reads one setting alone, as `readConfig` does; for a command that needs no more. Throws a `ConfigError`. */
export function readOne<Value>(
  row: Setting<Value>,
  given: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): Value {
  const mistakes: string[] = []
  const value = readSetting(row, new Map(row.flag === undefined || given === undefined ? [] : [[row.flag, given]]), environment, mistakes)
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  return value
}

type Flags = ReadonlyMap<string, string>

const SEE_HELP = '--help lists what there is.'

// Not strict: that would stop at the first mistake, and each is to have its line.
function readFlags(args: readonly string[], mistakes: string[]): Flags {
  const allowedOf = new Map(Object.values(SETTINGS).map((row: Setting<unknown>) => [row.flag, row.allowed]))
  const options = Object.fromEntries([...allowedOf.keys()].map((flag) => [flag, { type: 'string' as const }]))
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true })
  const flags = new Map<string, string>()
  let isAfterUnknown = false // what follows an unknown option may be its value, and a secret: it is not shown
  for (const token of tokens) {
    if (token.kind === 'positional' && !isAfterUnknown) mistakes.push(`${JSON.stringify(token.value)} is not understood. ${SEE_HELP}`)
    isAfterUnknown = token.kind === 'option' && !allowedOf.has(token.name)
    if (token.kind !== 'option') continue
    const isMissing = token.value === undefined || (!token.inlineValue && token.value.startsWith('-'))
    if (isAfterUnknown) mistakes.push(`There is no option ${token.rawName}. ${SEE_HELP}`)
    else if (isMissing) mistakes.push(`${token.rawName} needs a value: use ${allowedOf.get(token.name)}.`)
    else flags.set(token.name, token.value)
  }
  return flags
}

function readSetting<Value>(
  row: Setting<Value>,
  flags: Flags,
  environment: Readonly<Record<string, string | undefined>>,
  mistakes: string[],
): Value {
  const flag = row.flag === undefined ? undefined : flags.get(row.flag)
  const inVariable = environment[row.variable]
  const text = flag ?? (inVariable === '' && row.isNeverEmpty !== true ? undefined : inVariable)
  if (text === undefined) return row.otherwise()
  const value = text === '' ? undefined : row.parse(text)
  if (value !== undefined) return value
  const name = flag === undefined ? row.variable : `--${row.flag}`
  const shown = row.isSecret === true && text !== '' ? '(its value is not shown)' : JSON.stringify(text)
  const reason = text === '' ? undefined : row.explain?.(text)
  mistakes.push(`${name}=${shown} is not allowed: use ${row.allowed}.${reason === undefined ? '' : ` What is wrong: ${reason}.`}`)
  return row.otherwise()
}
