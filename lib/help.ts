import { SETTINGS, type Setting } from './settings.ts'

/** Formats what `--help` prints. */
export function formatHelp(): string {
  const rows = Object.values(SETTINGS).map((row: Setting<unknown>) => ({
    left: row.flag === undefined ? `(${row.variable})` : `--${row.flag} ${row.placeholder} (${row.variable})`,
    right: `${row.description} [${row.fallback}]`,
  }))
  return [
    'Usage: node dist/serve.js [serve] [OPTIONS]',
    '       node dist/serve.js try --token TOKEN [--url http://localhost:8000]',
    '       node dist/serve.js status [PROJECT] [--participant X] [--json] [--basedir DIRECTORY]',
    '       node dist/serve.js export PROJECT OUT [--since 2024-11-01] [--participant X] [--resume] [--basedir DIRECTORY]',
    '       node dist/serve.js verify [PROJECT] [--basedir DIRECTORY]',
    '',
    'serve   receives the submissions of study apps and keeps them below the base directory',
    'try     sends a test submission to a running server and checks its answers',
    'status  tells what has arrived and what is missing; with --participant, exit code 1 if nothing of that participant has',
    'export  writes a dataset into the directory OUT: answers, recordings, tables, check sums',
    'verify  holds every receipt against the disk; exit code 1 if anything promised is missing or changed',
    '',
    'Each option may also be set by the environment variable beside it; [ ] is what holds without.',
    ...rows.flatMap(({ left, right }) => [`  ${left}`, `      ${right}`]),
    '  --help, --version',
  ].join('\n')
}
