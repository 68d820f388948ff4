import { spawn } from 'node:child_process'
import { once } from 'node:events'

const MOST_SAID = 500 // characters of its standard error that are logged

/** How a command is run. */
export interface CommandParts {
  /** The program and its arguments; no shell reads them. */
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly limitMs: number
  /** Ends a process and all it has started. */
  readonly killGroup: (pid: number) => void
}

/**
 * Runs a command with a text as its standard input. Throws where it cannot be run, ends with another code than 0, or has
 * not ended in time; it is then killed, with what it started.
 */
export async function runAlertCommand(text: string, { command, environment, limitMs, killGroup }: CommandParts): Promise<void> {
  const [program = '', ...args] = command
  const child = spawn(program, args, { env: environment, detached: true, stdio: ['pipe', 'ignore', 'pipe'] }) // a group of its own
  if (child.pid === undefined) throw ((await once(child, 'error')) as [Error])[0] // it has no streams then, where the system has no descriptors to give
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (said = `${said}${piece}`.slice(0, MOST_SAID)))
  child.stdin.on('error', () => undefined) // it need not read
  child.stdin.end(text)
  let late: NodeJS.Timeout | undefined
  const lateness = new Promise<never>((_, reject) => {
    late = setTimeout(() => {
      if (child.pid !== undefined) killGroup(child.pid)
      reject(new Error(`the command had not ended after ${limitMs / 1000} seconds`))
    }, limitMs)
  })
  try {
    const [code, signal] = (await Promise.race([once(child, 'exit'), lateness])) as [number | null, string | null]
    if (code !== 0) throw new Error(`the command ended with ${code ?? signal}${said === '' ? '' : `: ${said.trim()}`}`)
  } finally {
    clearTimeout(late)
    child.stderr.destroy() // what it started may hold it open
  }
}
