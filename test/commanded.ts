import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { COMMANDS } from '../lib/commands/commands.ts'
import { runRecorded } from '../lib/commands/recorded.ts'
import { ConfigError } from '../lib/config.ts'
import { systemCode } from '../lib/errors.ts'
import { environment, ROOT, type Ended } from './harness.ts'

let running = 0
let umask = 0

/** How a command ended, and what it said. */
export interface Done extends Ended {
  /** What it wrote to standard output, where that need not be text. */
  readonly bytes: Buffer
}

/**
 * Does a command in this process, with the same code and the same record of access: the start of a program takes longer
 * than what most commands do. What only a process has (its exit code, its streams, its user) is seen with `runProgram`.
 */
export async function runCommand(args: readonly string[], env: Readonly<Record<string, string>> = {}, input: string | Buffer = ''): Promise<Done> {
  const [name = '', ...rest] = args
  const command = COMMANDS.get(name)
  if (command === undefined) throw new Error(`there is no command ${name}`)
  const written: Buffer[] = []
  const told: string[] = []
  const write = async (bytes: Buffer) => void written.push(Buffer.from(bytes))
  const output = {
    print: (line: string) => void written.push(Buffer.from(`${line}\n`)),
    write,
    tell: (line: string) => void told.push(`${line}\n`),
    input: () => piecesOf(Buffer.from(input)),
    note: () => undefined,
    showProgress: undefined,
    ifInterrupted: () => undefined,
    environment: environment(env),
    program: 'node dist/serve.js',
    version: (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version,
    nodeVersion: process.version,
    userId: process.geteuid?.(),
  }
  const end = (status: number): Done => ({ status, bytes: Buffer.concat(written), stdout: Buffer.concat(written).toString(), stderr: told.join('') })
  if (running++ === 0) umask = process.umask(0o077) // as the program sets it for itself
  try {
    return end(await runRecorded(name, command, rest, output))
  } catch (error) {
    if (!(error instanceof ConfigError) && systemCode(error) === undefined) throw error
    for (const line of error instanceof ConfigError ? error.mistakes : [String((error as Error).message)]) output.tell(line)
    return end(error instanceof ConfigError ? 2 : 1)
  } finally {
    if (--running === 0) process.umask(umask)
  }
}

async function* piecesOf(bytes: Buffer): AsyncGenerator<Buffer> {
  if (bytes.length > 0) yield bytes
}
