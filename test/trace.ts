import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { askToken, readAudit, startServer, temporaryDirectory, until, type Running, type StartOptions } from './harness.ts'

/** One system call, as `strace -f -y` wrote it down. */
export interface Call {
  readonly thread: string
  readonly name: string
  /** Its arguments; a descriptor is followed by its path. */
  readonly text: string
  /** The paths among the arguments, of names and of descriptors. */
  readonly paths: readonly string[]
  readonly result: string
  /** The lines on which it began and ended. */
  readonly began: number
  readonly ended: number
}

/**
 * Has `strace -f` stop a program at the calls that are traced and run through all others: a start then takes a third of
 * the time. It cannot send signals (`inject=…:signal=`).
 */
export const ONLY_TRACED = '--seccomp-bpf'

const CALLS = 'openat,write,writev,pwrite64,pwritev,sendto,fsync,fdatasync,link,linkat,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat'

/** A server that runs through strace. */
export interface Traced extends Running {
  /** Stops the server and gives its calls. */
  calls(): Promise<Call[]>
}

/**
 * Starts the server through strace. One thread does all its work on files, so that the calls of a sequence of requests
 * come in the same order each time and each has its number.
 * @param inject what strace is to do to a call, such as `fsync:error=EIO:when=3`
 */
export async function startTraced(t: TestContext, inject?: string, options: StartOptions = {}): Promise<Traced> {
  const path = join(await temporaryDirectory(t), 'trace')
  const injection = inject === undefined ? [] : ['-e', `inject=${inject}`]
  const quickly = inject?.includes(':signal=') === true ? [] : [ONLY_TRACED]
  const through = ['strace', '-f', ...quickly, '-y', '-s', '200', '-e', `trace=${CALLS}`, ...injection, '-o', path]
  const server = await startServer(t, { ...options, through, env: { UV_THREADPOOL_SIZE: '1', ...options.env } })
  const calls = async () => {
    await server.stop()
    return parseTrace(await readFile(path, 'utf8'))
  }
  return { ...server, calls }
}

/**
 * Asks for an auth token and waits until that is in the record of access: its calls then come before those of whatever
 * follows, each time, and not between them.
 */
export async function askRecorded(server: Running, parameters: Record<string, string> = {}): Promise<string> {
  const authToken = await askToken(server, parameters)
  await until('it is recorded', async () => (await readAudit(server.basedir)).some(({ event }) => event === 'token_issued'))
  return authToken
}

/** Has strace change calls of one thread of a server that runs: their numbers count from here. */
export async function injectInto(t: TestContext, thread: string, injection: string): Promise<void> {
  const strace = spawn('strace', ['-p', thread, '-e', `trace=${CALLS}`, '-e', `inject=${injection}`, '-o', '/dev/null'])
  t.after(() => strace.kill())
  let told = ''
  strace.stderr.on('data', (piece) => (told += String(piece)))
  await until('strace has attached', async () => told.includes('attached'))
}

/** The number of a call among those of its thread with its name: what `when=` of strace counts. */
export function numberOf(calls: readonly Call[], call: Call): number {
  return calls.filter(({ thread, name }) => thread === call.thread && name === call.name).indexOf(call) + 1
}

/** Says whether a call sends the head of an answer. */
export function isAnswer({ text }: Call): boolean {
  return text.includes('"HTTP/1.1 ')
}

/** Parses what `strace -f -y` wrote; calls that were interrupted by those of other threads are joined. */
export function parseTrace(text: string): Call[] {
  const calls: Call[] = []
  const unfinished = new Map<string, { head: string; began: number }>()
  for (const [index, line] of text.split('\n').entries()) {
    const [, thread = '', event = ''] = /^(\d+) +(.*)$/.exec(line) ?? []
    if (event.endsWith('<unfinished ...>')) {
      unfinished.set(thread, { head: event.slice(0, -'<unfinished ...>'.length), began: index })
      continue
    }
    const rest = /^<\.\.\. \w+ resumed>(.*)$/.exec(event)?.[1]
    const { head, began } = (rest === undefined ? undefined : unfinished.get(thread)) ?? { head: '', began: index }
    const [, name = '', args = '', result = ''] = /^(\w+)\((.*)\) += (.*)$/.exec(head + (rest ?? event)) ?? []
    if (name !== '') calls.push({ thread, name, text: args, paths: pathsIn(args), result, began, ended: index })
  }
  return calls.toSorted((a, b) => a.began - b.began)
}

function pathsIn(text: string): string[] {
  const plain = text.replace(/AT_FDCWD<[^>]*>/g, '')
  return [...plain.matchAll(/<(\/[^>]*)>|"(\/[^"]*)"/g)].map(([, ofDescriptor, name]) => ofDescriptor ?? name ?? '')
}
