import type { Output } from './output.ts'

/** A command of the command line; what it needs is loaded only when it is called. */
export interface Command {
  readonly usage: string
  readonly description: string
  /** Does the command and gives its exit code. Throws a `ConfigError` where the arguments are not understood. */
  readonly run: (args: readonly string[], output: Output) => Promise<number>
}

/** Every command beside `serve`. The help comes from here. */
export const COMMANDS: ReadonlyMap<string, Command> = new Map([
  [
    'try',
    {
      usage: '(--token TOKEN | --token-file FILE) [--url http://localhost:8000]',
      description: 'sends a test submission to a running server and checks its answers',
      run: async (args, output) => (await import('./try.ts')).attempt(args, output),
    },
  ],
  [
    'status',
    {
      usage: '[PROJECT] [--participant X] [--json] [--identity FILE] [--basedir DIRECTORY]',
      description: 'tells what has arrived and what is missing; with --participant, exit code 1 if nothing that names that participant has',
      run: async (args, output) => (await import('./status.ts')).status(args, output),
    },
  ],
  [
    'export',
    {
      usage: 'PROJECT OUT [--since 2024-11-01] [--participant X] [--resume] [--identity FILE] [--basedir DIRECTORY]',
      description: 'writes a dataset into the directory OUT: answers, recordings, tables, check sums; what is encrypted with --identity',
      run: async (args, output) => (await import('./export.ts')).exportDataset(args, output),
    },
  ],
  [
    'verify',
    {
      usage: '[PROJECT] [--identity FILE] [--basedir DIRECTORY]',
      description:
        'holds every receipt against the disk, and the record of access against itself; with --identity, opens every encrypted file; exit code 1 if anything is missing or changed',
      run: async (args, output) => (await import('./verify.ts')).verify(args, output),
    },
  ],
  [
    'audit',
    {
      usage: '[--since 2024-11-01] [--json] [--basedir DIRECTORY]',
      description: 'prints the record of access: who issued tokens, ran commands or gave a wrong admin token, and when',
      run: async (args, output) => (await import('./audit.ts')).audit(args, output),
    },
  ],
  [
    'datasheet',
    {
      usage: 'PROJECT [--basedir DIRECTORY]',
      description: 'prints a page for an ethics board, in Markdown: what is stored where, for how long, who can read it, how it is encrypted, how to withdraw',
      run: async (args, output) => (await import('./datasheet.ts')).datasheet(args, output),
    },
  ],
  [
    'withdraw',
    {
      usage: 'PROJECT --participant X [--yes] [--identity FILE] [--json] [--basedir DIRECTORY]',
      description: 'shows what of a participant who withdraws would go; with --yes erases it; exit code 1 if something then stays',
      run: async (args, output) => (await import('./withdraw.ts')).withdraw(args, output),
    },
  ],
  [
    'doctor',
    {
      usage: '[--url https://study.example.org/vb] [--slow-seconds 70] [OPTIONS]',
      description: 'checks configuration, base directory and machine, and from outside the way of a participant; exit code 1 if anything failed',
      run: async (args, output) => (await import('./doctor.ts')).doctor(args, output),
    },
  ],
  [
    'token',
    {
      usage: '--project P [--minutes 90] [--participant X] [--recipients RECIPIENTS] [--basedir DIRECTORY]',
      description: 'issues an auth token on this machine, without the admin token and without HTTP',
      run: async (args, output) => (await import('./token.ts')).token(args, output),
    },
  ],
  [
    'tokens',
    {
      usage: 'list|revoke [DIGITS] [--project P] [--participant X] [--json] [--basedir DIRECTORY]',
      description: 'lists the auth tokens that were issued, or takes back those that are meant',
      run: async (args, output) => (await import('./tokens.ts')).tokens(args, output),
    },
  ],
  [
    'keys',
    {
      usage: 'new FILE | challenge [PROJECT] | open KEYFILE [FILE] | prove [PROJECT] CODE [--recipients RECIPIENTS] [--basedir DIRECTORY]',
      description: 'makes a key that opens what is encrypted, and shows that somebody holds it: a code is encrypted, opened and given back',
      run: async (args, output) => (await import('./keys.ts')).keys(args, output),
    },
  ],
  [
    'links',
    {
      usage: 'PROJECT --ui URL (--participants FILE | --count N) [--minutes 43200] [--html] [--recipients RECIPIENTS] [--basedir DIRECTORY]',
      description: 'issues one auth token for each participant and prints their links, as CSV or as a page with QR codes',
      run: async (args, output) => (await import('./links.ts')).links(args, output),
    },
  ],
])
