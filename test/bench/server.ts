import { spawn, spawnSync, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { newIdentity } from '../../lib/crypt/keys.ts'
import { issueToken, settingsFor } from '../encrypting.ts'
import { grow } from './growth.ts'

const PROGRAM = resolve(__dirname, '..', '..', 'dist', 'serve.js')
const SINK = join(__dirname, 'sink.mjs')
const ADMIN_TOKEN = '0123456789abcdef0123456789abcdef'
const [SERVER_CPU, CLIENT_CPU] = ['0', '1']
const BOTH_CPUS = `${SERVER_CPU},${CLIENT_CPU}`
const LARGE_BYTES = 64 * 1024
const TICKS_PER_SECOND = 100 // USER_HZ, see proc(5)

const isPinned = availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0

interface ServerKind {
  readonly command: (directory: string) => readonly string[]
  readonly env?: () => Readonly<Record<string, string>>
  readonly cpus?: string
  /** Fills its directory before the first start; all scenarios of a run use that one. */
  readonly grow?: (directory: string) => Promise<void>
}

const ours = { command: () => [PROGRAM] }

/** The servers that are measured; `ours` is the one of this checkout, as it starts without settings. */
export const SERVERS = {
  ours,
  'ours-encrypting': { ...ours, env: () => settingsFor([newIdentity()]) },
  'ours-two-workers': { ...ours, env: () => ({ REPROSCHEMA_BACKEND_WORKERS: '2' }), cpus: BOTH_CPUS },
  'ours-grown': { ...ours, grow },
  'sink-discard': { command: () => [SINK, 'discard'] },
  'sink-pipe-fsync': { command: (directory) => [SINK, 'pipe-fsync', directory] },
  'sink-hash-fsync': { command: (directory) => [SINK, 'hash-fsync', directory] },
  'sink-calls-only': callingSink('calls-only'),
  'sink-calls-hash': callingSink('calls-hash'),
} satisfies Record<string, ServerKind>

function callingSink(kind: string): ServerKind {
  return { command: (directory) => [SINK, kind, directory], env: () => ({ UV_THREADPOOL_SIZE: '16' }) } // as ours
}

/** The name of one of them. */
export type ServerName = keyof typeof SERVERS

/** Keeps this process, the client, to a processor of its own, where there is taskset and more than one processor. */
export function pinClient(): void {
  if (isPinned) spawnSync('taskset', ['--all-tasks', '--cpu-list', '--pid', CLIENT_CPU, String(process.pid)])
}

/** Where all servers of this run keep their files, until the end of the run. */
export class Workspace {
  #root: string | undefined
  readonly #running = new Map<ServerName, Server>()
  readonly #grown = new Map<ServerName, string>() // directories

  /** Starts a server that has a processor and a new directory to itself, and uses it; afterwards it is gone. */
  async use<Result>(name: ServerName, work: (server: Server) => Promise<Result>): Promise<Result> {
    const server = await this.#start(name)
    try {
      return await work(server)
    } finally {
      await server.stop()
      await server.empty()
    }
  }

  /** Gives a server that goes on running while others take their turns; where it has to be started, `warmUp` uses it first. */
  async keep(name: ServerName, warmUp: (server: Server) => Promise<unknown>): Promise<Server> {
    const running = this.#running.get(name)
    if (running !== undefined) return running
    const server = await this.#start(name)
    this.#running.set(name, server)
    await warmUp(server)
    return server
  }

  /** Stops the servers that go on running. */
  async stopAll(): Promise<void> {
    for (const server of this.#running.values()) await server.stop()
    this.#running.clear()
  }

  async remove(): Promise<void> {
    await this.stopAll()
    if (this.#root !== undefined) await rm(this.#root, { recursive: true })
  }

  async #start(name: ServerName): Promise<Server> {
    const server = new Server(name, this.#grown.get(name) ?? (await this.#makeDirectory(name)))
    try {
      await server.answers()
      return server
    } catch (error) {
      await server.stop()
      throw error
    }
  }

  async #makeDirectory(name: ServerName): Promise<string> {
    this.#root ??= await mkdtemp(join(tmpdir(), 'reproschema-bench-'))
    const directory = await mkdtemp(join(this.#root, `${name}-`))
    const { grow: fill }: ServerKind = SERVERS[name]
    if (fill === undefined) return directory
    await fill(directory)
    this.#grown.set(name, directory)
    return directory
  }
}

/** A server under measurement, in a process of its own. */
export class Server {
  readonly name: ServerName
  readonly directory: string
  readonly #startedMs = performance.now()
  readonly #process: ChildProcessByStdio<null, Readable, null>
  #url = ''
  #startMs = 0

  constructor(name: ServerName, directory: string) {
    this.name = name
    this.directory = directory
    const kind: ServerKind = SERVERS[name]
    const pin = isPinned ? ['taskset', '--cpu-list', kind.cpus ?? SERVER_CPU] : []
    const [command = '', ...rest] = [...pin, process.execPath, ...kind.command(directory)]
    const env = {
      PATH: process.env['PATH'] ?? '',
      HOST: '127.0.0.1',
      PORT: '0',
      REPROSCHEMA_BACKEND_BASEDIR: directory,
      REPROSCHEMA_BACKEND_TOKEN: ADMIN_TOKEN,
      ...kind.env?.(),
    }
    this.#process = spawn(command, rest, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  }

  /** How long it took from the start to the first answer. */
  get startMs(): number {
    return this.#startMs
  }

  get port(): number {
    return Number(new URL(this.#url).port)
  }

  /** The target that asks for an auth token. */
  get tokenTarget(): string {
    return `/token?token=${ADMIN_TOKEN}&project=bench`
  }

  /** Waits for the first 200. */
  async answers(): Promise<void> {
    let output = ''
    for await (const text of this.#process.stdout.iterator({ destroyOnReturn: false })) {
      output += text
      this.#url = /^Listening on (.+)$/m.exec(output)?.[1] ?? ''
      if (this.#url !== '') break
    }
    this.#process.stdout.resume()
    if (this.#url === '') throw new Error(`${this.name} did not start: npm run build comes first`)
    await this.#get('/')
    this.#startMs = performance.now() - this.#startedMs
  }

  async askToken(): Promise<string> {
    if (this.name === 'ours-encrypting') return issueToken(this.directory, 'bench') // nobody has shown its key
    const { auth_token: token } = JSON.parse(await this.#get(this.tokenTarget)) as { auth_token: string }
    return token
  }

  /** The processor time that it and its workers have used so far; NaN where there is no /proc. */
  get cpuMs(): number {
    return [this.#pid, ...this.#workers()].reduce((sum, pid) => sum + cpuMsOf(pid), 0)
  }

  /** The most memory it has had so far, in MB; NaN where there is no /proc. */
  get peakMb(): number {
    return (Number(/VmHWM:\s+(\d+)/.exec(readProc(this.#pid, 'status'))?.[1]) * 1024) / 1e6
  }

  /** Cuts its large files to nothing. They are not removed: for minutes after many were, ext4 takes several times as long to make new ones. */
  async empty(): Promise<void> {
    for (const entry of await readdir(this.directory, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      if (entry.isFile() && (await stat(path)).size > LARGE_BYTES) await truncate(path)
    }
    spawnSync('sync', ['--file-system', this.directory]) // what is still to be written would slow the next one
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    this.#process.kill('SIGKILL')
    await once(this.#process, 'exit')
  }

  async #get(target: string): Promise<string> {
    const response = await fetch(new URL(target, this.#url), { headers: { Connection: 'close' } })
    if (response.status !== 200) throw new Error(`${this.name} answered ${response.status} to ${target}`)
    return response.text()
  }

  get #pid(): number {
    return this.#process.pid ?? NaN
  }

  #workers(): number[] {
    return readProc(this.#pid, `task/${this.#pid}/children`).split(' ').map(Number).filter((pid) => pid > 0)
  }
}

function cpuMsOf(pid: number): number {
  const fields = readProc(pid, 'stat').split(') ').at(-1)?.split(' ') ?? []
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND // utime and stime, see proc(5)
}

function readProc(pid: number, file: string): string {
  return process.platform === 'linux' ? readFileSync(`/proc/${pid}/${file}`, 'utf8') : ''
}
