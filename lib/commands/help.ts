import type { Setting } from '../settings/setting.ts'
import { SETTINGS } from '../settings/settings.ts'
import { COMMANDS } from './commands.ts'

const SERVE = 'receives the submissions of study apps and keeps them below the base directory'

/**
 * Formats what `--help` prints.
 * @param program the program as it was called
 */
export function formatHelp(program: string): string {
  const rows = Object.values(SETTINGS).map((row: Setting<unknown>) => ({
    left: row.flag === undefined ? `(${row.variable})` : `--${row.flag} ${row.placeholder} (${row.variable})`,
    right: `${row.description} [${row.fallback}]`,
  }))
  const commands = [...COMMANDS]
  const width = Math.max('serve'.length, ...commands.map(([name]) => name.length))
  return [
    `Usage: ${program} [serve] [OPTIONS]`,
    ...commands.map(([name, { usage }]) => `       ${program} ${name} ${usage}`),
    '',
    ...[['serve', SERVE] as const, ...commands.map(([name, { description }]) => [name, description] as const)].map(
      ([name, description]) => `${name.padEnd(width)}  ${description}`,
    ),
    '',
    'Each option may also be set by the environment variable beside it; [ ] is what holds without.',
    ...rows.flatMap(({ left, right }) => [`  ${left}`, `      ${right}`]),
    '  --help, --version',
  ].join('\n')
}
