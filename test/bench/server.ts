import { spawn, spawnSync, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { newIdentity } from '../../lib/crypt/keys.ts'
import { issueToken, settingsFor } from '../encrypting.ts'

const PROGRAM = resolve(import.meta.dirname, '..', '..', 'dist', 'serve.js')
const SINK = join(import.meta.dirname, 'sink.mjs')
const ADMIN_TOKEN = '0123456789abcdef0123456789abcdef'
const [SERVER_CPU, CLIENT_CPU] = ['0', '1']
const TICKS_PER_SECOND = 100 // USER_HZ, see proc(5)

const isPinned = availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0

/** The servers that are measured; `ours` is the one of this checkout, which may encrypt what it stores. */
export const SERVERS = {
  ours: () => [PROGRAM],
  'ours-encrypting': () => [PROGRAM],
  'sink-discard': () => [SINK, 'discard'],
  'sink-pipe-fsync': (directory: string) => [SINK, 'pipe-fsync', directory],
} satisfies Record<string, (directory: string) => string[]>

/** The name of one of them. */
export type ServerName = keyof typeof SERVERS

/** Keeps this process, the client, to a processor of its own, where there is taskset and more than one processor. */
export function pinClient(): void {
  if (isPinned) spawnSync('taskset', ['--all-tasks', '--cpu-list', '--pid', CLIENT_CPU, String(process.pid)])
}

/** Where all servers of this run keep their files, until the end of the run. */
export class Workspace {
  #root: string | undefined

  /** Starts a server that has a processor and a new directory to itself, and uses it; afterwards it is gone. */
  async use<Result>(name: ServerName, work: (server: Server) => Promise<Result>): Promise<Result> {
    this.#root ??= await mkdtemp(join(tmpdir(), 'reproschema-bench-'))
    const directory = await mkdtemp(join(this.#root, `${name}-`))
    const server = new Server(name, directory)
    try {
      await server.answers()
      return await work(server)
    } finally {
      await server.stop()
      await empty(directory)
    }
  }

  async remove(): Promise<void> {
    if (this.#root !== undefined) await rm(this.#root, { recursive: true })
  }
}

/** A server under measurement, in a process of its own. */
export class Server {
  readonly name: ServerName
  readonly #directory: string
  readonly #startedMs = performance.now()
  readonly #process: ChildProcessByStdio<null, Readable, null>
  #url = ''
  #startMs = 0

  constructor(name: ServerName, directory: string) {
    this.name = name
    this.#directory = directory
    const pin = isPinned ? ['taskset', '--cpu-list', SERVER_CPU] : []
    const [command = '', ...rest] = [...pin, process.execPath, ...SERVERS[name](directory)]
    const env = {
      PATH: process.env['PATH'] ?? '',
      HOST: '127.0.0.1',
      PORT: '0',
      REPROSCHEMA_BACKEND_BASEDIR: directory,
      REPROSCHEMA_BACKEND_TOKEN: ADMIN_TOKEN,
      ...(name === 'ours-encrypting' ? settingsFor([newIdentity()]) : {}),
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
    if (this.name === 'ours-encrypting') return issueToken(this.#directory, 'bench') // nobody has shown its key
    const { auth_token: token } = JSON.parse(await this.#get(this.tokenTarget)) as { auth_token: string }
    return token
  }

  /** The processor time it has used so far, of all its threads; NaN where there is no /proc. */
  get cpuMs(): number {
    const fields = this.#proc('stat').split(') ').at(-1)?.split(' ') ?? []
    return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND // utime and stime, see proc(5)
  }

  /** The most memory it has had so far, in MB; NaN where there is no /proc. */
  get peakMb(): number {
    return (Number(/VmHWM:\s+(\d+)/.exec(this.#proc('status'))?.[1]) * 1024) / 1e6
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

  #proc(file: string): string {
    return process.platform === 'linux' ? readFileSync(`/proc/${this.#process.pid}/${file}`, 'utf8') : ''
  }
}

// Not removed before the end: for minutes after many files were, ext4 takes several times as long to make new ones.
async function empty(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile() && (await stat(path)).size > 65_536) await truncate(path)
  }
  spawnSync('sync', ['--file-system', directory]) // what is still to be written would slow the next one
}
