import { spawn, type ChildProcess } from 'node:child_process'
import { networkInterfaces } from 'node:os'
import { connect } from 'node:net'
import { randomInt } from 'node:crypto'
import type { TestContext } from 'node:test'
import { ADMIN_TOKEN, after, PROGRAM, temporaryDirectory, until } from './harness.ts'

/** A server whose sockets belong to another process, which starts it anew whenever it ends: as systemd does. */
export interface Activated {
  readonly basedir: string
  readonly port: number
  output(): string
  /** The process of the server that runs now. */
  pid(): number
  /** Ends the server, and fulfils when the next one listens. */
  restart(): Promise<void>
  /** Ends the server and what starts it. */
  end(): Promise<void>
}

// The child process of a shell that keeps the sockets, as PID 1 does; LISTEN_PID must name the server, not the shell.
const KEEP_STARTING = 'while :; do ( export LISTEN_PID=$BASHPID; echo "process $BASHPID"; exec "$@" ); echo "ended $?"; sleep 0.1; done'

/** Whether this machine has an IPv6 address of its own: some containers have none. */
export const HAS_IPV6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'))

interface ActivatedOptions {
  /** Further sockets; `PORT` in one of them stands for the port. */
  readonly sockets?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly through?: readonly string[]
  /** False where no server gets so far, and none is waited for. */
  readonly isToListen?: boolean
}

/** Starts the server through systemd-socket-activate, on a free port of 127.0.0.1 and on further sockets. */
export async function startActivated(
  t: TestContext,
  { sockets = [], env = {}, through = [], isToListen = true }: ActivatedOptions = {},
): Promise<Activated> {
  const basedir = await temporaryDirectory(t)
  for (;;) {
    const port = randomInt(20_000, 30_000) // below those that the kernel gives to others
    const all = ['127.0.0.1:PORT', ...sockets].map((socket) => socket.replace('PORT', String(port)))
    const settings = { REPROSCHEMA_BACKEND_BASEDIR: basedir, REPROSCHEMA_BACKEND_TOKEN: ADMIN_TOKEN, PORT: '1', ...env } // a port that nobody may take
    const child = spawn(
      'systemd-socket-activate',
      [
        ...all.map((socket) => `--listen=${socket}`),
        ...Object.entries(settings).map(([name, value]) => `--setenv=${name}=${value}`),
        ...['bash', '-c', KEEP_STARTING, 'bash', ...through, process.execPath, PROGRAM],
      ],
      { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'] ?? '' } },
    )
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
    const end = () => endGroup(child)
    after(t, end)
    const isTaken = await isPortTaken(child, () => output, all.length)
    if (isTaken) continue
    const pid = () => Number([...output.matchAll(/^process (\d+)$/gm)].at(-1)?.[1])
    if (!isToListen) return { basedir, port, output: () => output, pid, restart: async () => undefined, end }
    connect(port, '127.0.0.1').on('error', () => undefined).end() // the first connection is what starts the server
    const listening = () => [...output.matchAll(/^Listening on (?:https?:\/\/|a Unix)/gm)].length
    const listen = (servers: number) => until(`server ${servers} listens`, () => listening() >= servers * all.length, 60).catch(() => Promise.reject(new Error(output)))
    await listen(1)
    let servers = 1
    const restart = () => {
      process.kill(pid(), 'SIGTERM')
      return listen(++servers)
    }
    return { basedir, port, output: () => output, pid, restart, end }
  }
}

async function isPortTaken(child: ChildProcess, output: () => string, sockets: number): Promise<boolean> {
  await until('the sockets listen', () => [...output().matchAll(/^Listening on .* as \d+\.$/gm)].length === sockets || child.exitCode !== null)
  if (child.exitCode === null) return false
  if (/Address already in use/.test(output())) return true
  throw new Error(output())
}

async function endGroup(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const ended = new Promise((done) => child.once('exit', done))
  process.kill(-child.pid, 'SIGKILL')
  await ended
}
