import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { after as afterAll, type TestContext } from 'node:test'
import { sha256Of } from './sha256.ts'

/** The checkout; tests run in its `test/`, and in `dist-test/test/` once they are built. */
export const ROOT = __dirname.replace(/(\/dist-test)?\/test$/, '')

/** The program that users run, built by `npm run build`. */
export const PROGRAM = join(ROOT, 'dist', 'serve.js')

/** The admin token of every server a test starts, unless the test wants another. */
export const ADMIN_TOKEN = '0123456789abcdef0123456789abcdef'

/** Whether the sizes of a bad day are asked for, as `npm run soak` does; those of `npm test` take seconds. */
export const isSoak = process.env['SOAK'] === 'true'

/** A server under test: the real program in a process of its own. */
export interface Running {
  readonly url: string
  readonly port: number
  readonly basedir: string
  readonly process: ChildProcess
  /** What the server has printed so far. */
  output(): string
  /** Sends a signal and gives the exit code (or the signal's name) when the process has ended. */
  stop(signal?: NodeJS.Signals): Promise<number | string>
}

/** How a server under test is started. */
export interface StartOptions {
  readonly basedir?: string
  readonly env?: Readonly<Record<string, string>>
  readonly args?: readonly string[]
  /** Another copy of `PROGRAM`. */
  readonly program?: string
  /** A command that runs the server, such as `strace -f -o FILE`. */
  readonly through?: readonly string[]
}

/** What something is ended after: a test, or all tests of a file. */
export interface Ending {
  after(work: () => Promise<void>): void
}

/** For what the tests of a file have in common; to be called before the first of them. */
export function wholeFile(): Ending {
  const works: (() => Promise<void>)[] = []
  afterAll(async () => {
    for (const work of works.toReversed()) await work()
  })
  return { after: (work) => void works.push(work) }
}

/** Makes a directory that is removed after the test. */
export async function temporaryDirectory(t: Ending): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'reproschema-test-'))
  after(t, () => rm(path, { recursive: true, force: true, maxRetries: 5 }))
  return path
}

const endings = new WeakMap<Ending, (() => unknown)[]>()

/** Does something after a test, the last asked for first: a server is ended before the directory it writes to goes. */
export function after(t: Ending, work: () => unknown): void {
  const known = endings.get(t)
  if (known !== undefined) return void known.push(work)
  const works = [work]
  endings.set(t, works)
  t.after(async () => {
    for (const each of works.toReversed()) await each()
  })
}

/** Starts the server on a free port and a new base directory; both are gone after the test. */
export async function startServer(t: Ending, options: StartOptions = {}): Promise<Running> {
  const basedir = options.basedir ?? (await temporaryDirectory(t))
  const child = spawnServer({ ...options, basedir })
  let output = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (output += text))
  const ended = new Promise<number | string>((done) => child.once('exit', (code, signal) => done(code ?? signal ?? '')))
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    // A server that runs through another program is in a process group with it.
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) kill(-child.pid, signal)
    return ended
  }
  after(t, () => stop('SIGKILL'))
  const port = await portOf(() => output, ended)
  return { url: `http://127.0.0.1:${port}`, port, basedir, process: child, output: () => output, stop }
}

/** Gives one server to all tests of a file that can share it; it starts with the first that asks. To be called before them. */
export function commonServer(options: StartOptions = {}): () => Promise<Running> {
  const file = wholeFile()
  let started: Promise<Running> | undefined
  return () => (started ??= startServer(file, options))
}

/** Runs the program until it ends by itself; for `--help`, bad settings and `try`. */
export function runProgram(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd: string = tmpdir(),
  through: readonly string[] = [],
) {
  const [command = '', ...rest] = [...through, process.execPath, PROGRAM, ...args]
  return spawnSync(command, rest, { encoding: 'utf8', env: environment(env), cwd, timeout: 300_000 })
}

/** How a program ended, and what it said. */
export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs the program as `runProgram` does while the test goes on: several may run at the same time. */
export function runAside(args: readonly string[], env: Readonly<Record<string, string>> = {}, through: readonly string[] = []): Promise<Ended> {
  const [command = '', ...rest] = [...through, process.execPath, PROGRAM, ...args]
  return new Promise((done) => {
    const options = { env: environment(env), cwd: tmpdir(), timeout: 300_000, maxBuffer: 2 ** 26 }
    const child = execFile(command, rest, options, (_, stdout, stderr) => done({ status: child.exitCode, stdout, stderr }))
  })
}

function spawnServer({ basedir = '', env = {}, args = [], program = PROGRAM, through = [] }: StartOptions): ChildProcess {
  const [command = '', ...rest] = [...through, process.execPath, program, ...args]
  const settings = {
    HOST: '127.0.0.1',
    PORT: '0',
    REPROSCHEMA_BACKEND_BASEDIR: basedir,
    REPROSCHEMA_BACKEND_TOKEN: ADMIN_TOKEN,
    ...env,
  }
  return spawn(command, rest, { env: environment(settings), detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
}

/** The environment of a program under test: nothing of the developer's own may reach it. */
export function environment(settings: Readonly<Record<string, string>>): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', HOME: tmpdir(), ...settings }
}

async function portOf(output: () => string, ended: Promise<number | string>): Promise<number> {
  let exit: number | string | undefined
  void ended.then((code) => (exit = code))
  for (;;) {
    const port = /^Listening on https?:\/\/.*:(\d+)$/m.exec(output())?.[1]
    if (port !== undefined) return Number(port)
    if (exit !== undefined) throw new Error(`the server ended with ${exit}:\n${output()}`)
    await sleep(5)
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

/** Waits. */
export function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms))
}

/** Waits until something holds; throws what it waited for after `seconds`, which a busy machine may need. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, seconds = 60): Promise<void> {
  const end = performance.now() + seconds * 1000
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`still not after ${seconds} s: ${what}`)
    await sleep(20)
  }
}

/** Asks for an auth token. */
export async function askToken(server: { url: string }, parameters: Record<string, string> = {}): Promise<string> {
  const query = new URLSearchParams({ token: ADMIN_TOKEN, project: 'study', ...parameters })
  const response = await fetch(`${server.url}/token?${query}`)
  const answer = (await response.json()) as { auth_token: string }
  if (response.status !== 200) throw new Error(`no token: ${JSON.stringify(answer)}`)
  return answer.auth_token
}

/** An answer, read to its end. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: Record<string, unknown>
}

/** One file of an answer to a submission. */
export interface StoredFile {
  readonly name: string
  readonly stored_as: string
  readonly bytes: number
  readonly sha256: string
}

/** Sends a request and reads the answer, for two minutes at most. Redirects are given as they are. */
export async function request(url: string, options: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(120_000), ...options })
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, json: parseObject(text) }
}

/** What a form holds: text, or the content and name of a file. */
export type Entry = readonly [name: string, value: string] | readonly [name: string, content: Uint8Array, filename: string]

/** Submits a form as a browser does; entries keep their order. */
export function submitForm(server: { url: string }, entries: readonly Entry[], headers: Record<string, string> = {}): Promise<Answer> {
  const form = new FormData()
  for (const [name, value, filename] of entries) {
    if (typeof value === 'string') form.append(name, value)
    else form.append(name, new Blob([value]), filename)
  }
  return request(`${server.url}/submit`, { method: 'POST', body: form, headers })
}

/** The files that an answer says were stored. */
export function filesOf(answer: Answer): StoredFile[] {
  return (answer.json['files'] ?? []) as StoredFile[]
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** Sends bytes as they are over a connection of its own, and gives what came back until the server closed it. */
export async function sendRaw(
  port: number,
  pieces: string | Buffer | readonly (string | Buffer)[],
  options: { half?: boolean; pauseMs?: number } = {},
): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const received = readAll(socket)
  const list = typeof pieces === 'string' || Buffer.isBuffer(pieces) ? [pieces] : pieces
  for (const piece of list) {
    socket.write(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)
    if (options.pauseMs !== undefined) await sleep(options.pauseMs)
  }
  if (options.half === true) socket.end()
  return received
}

/** Reads everything a socket gives until it is closed; a reset ends it too. */
export function readAll(socket: Socket): Promise<string> {
  return new Promise((done) => {
    const chunks: Buffer[] = []
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('error', () => undefined)
    socket.on('close', () => done(Buffer.concat(chunks).toString('latin1')))
  })
}

/** How many sockets a server has open: those it listens on, its connections, and its own output. */
export async function countSockets({ process: { pid } }: Running): Promise<number> {
  const directory = `/proc/${pid}/fd`
  const targets = await Promise.all((await readdir(directory)).map((entry) => readlink(join(directory, entry)).catch(() => 'closed since')))
  return targets.filter((target) => target.startsWith('socket:')).length
}

/**
 * Finds a port that nobody uses. It is below those that the system hands out, or another test could be given it before
 * it is used here.
 */
export async function freePort(): Promise<number> {
  const [first = 32_768] = (await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')).split(/\s/).map(Number)
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * Math.max(1, first - 10_000))
    const server = createServer()
    const isFree = await once(server.listen(port), 'listening').then(() => true, () => false)
    if (!isFree) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

/** The files below a directory, as sorted paths relative to it. */
export async function listFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name))
  return files.map((path) => relative(directory, path)).toSorted()
}

/** The files of a base directory but for its logs and the record of access: what commands that only read leave as it is. */
export async function listData(basedir: string): Promise<string[]> {
  return (await listFiles(basedir)).filter((path) => !/^(logs|audit)\//.test(path))
}

/** The files that participants sent: what is in the projects' directories and in staging, without the owner's notes. */
export async function listUploads(basedir: string): Promise<string[]> {
  return (await listFiles(join(basedir, 'uploads'))).filter((path) => !path.endsWith('/owner.json'))
}

/** The receipts of a project, parsed, in the order of their files and lines. */
export async function readReceipts(basedir: string, project: string): Promise<Record<string, unknown>[]> {
  const directory = join(basedir, 'receipts', project)
  const receipts: Record<string, unknown>[] = []
  for (const file of await listFiles(directory)) {
    const lines = (await readFile(join(directory, file), 'utf8')).split('\n').filter((line) => line !== '')
    receipts.push(...lines.map((line) => JSON.parse(line) as Record<string, unknown>))
  }
  return receipts
}

/** The entries of the record of access, parsed, those of one file after those of another, each file being a chain. */
export async function readAudit(basedir: string): Promise<Record<string, unknown>[]> {
  const directory = join(basedir, 'audit')
  const entries: Record<string, unknown>[] = []
  for (const file of await listFiles(directory).catch(() => [])) {
    let previous: string | null = null
    for (const line of (await readFile(join(directory, file), 'utf8')).split('\n').slice(0, -1)) {
      const entry = JSON.parse(line) as Record<string, unknown>
      if (entry['previous'] !== previous) throw new Error(`${file} is no chain`)
      previous = sha256Of(line)
      entries.push(entry)
    }
  }
  return entries
}

/**
 * Says whether a program that a test meets as a peer is installed; where it is not the test is skipped, naming the
 * Debian package, and under `CI=true` it fails.
 */
export function needs(t: TestContext, program: string, debianPackage: string): boolean {
  if (spawnSync('sh', ['-c', 'command -v "$0"', program]).status === 0) return true
  const message = `${program} is missing: install the Debian package ${debianPackage}`
  if (process.env['CI'] === 'true') throw new Error(message)
  t.skip(message)
  return false
}
