#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { RecipientsError } from './lib/access/recipients-error.ts'
import { startApp, type App } from './lib/app.ts'
import type { Output } from './lib/commands/output.ts'
import { ConfigError, readConfig, type Config } from './lib/config.ts'
import { systemCode } from './lib/errors.ts'
import { takePassedSockets } from './lib/http/activation.ts'
import { CertificateError } from './lib/http/certificate-error.ts'
import { LineWriter } from './lib/line-writer.ts'
import type { Runtime } from './lib/runtime.ts'
import { WorkerEndedError } from './lib/workers/ended.ts'

const EXIT_FAILURE = 1
const EXIT_USAGE = 2
const LISTENING = new Set<unknown>(['listen', 'bind', 'getaddrinfo']) // system calls of a server that begins to listen
const NO_SOCKETS = 'Sockets of systemd and several processes cannot be used together: set REPROSCHEMA_BACKEND_WORKERS to 1, or leave the .socket unit out.'
const SECRET_KEY = /AGE-SECRET-KEY-1[0-9A-Z]+/gi
const POOL_THREADS = '16' // syncs at once: the disk makes several files durable in the time of one
const ERASED_LINE = '\r\u001b[K' // ECMA-48 8.3.41: to the end of the line
const SAME_REQUEST_MS = 1000 // Ctrl-C reaches us from the terminal, and once more from npm

process.umask(0o077)
process.stdout.on('error', () => undefined) // a closed pipe must not end the server
process.stderr.on('error', () => undefined)
process.on('SIGXFSZ', () => undefined) // a file-size limit is then an error of `write`, as a full disk is

const sockets = takePassedSockets(process.env, process.pid) // of systemd

void main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<void> {
  const [command = 'serve', ...rest] = args[0]?.startsWith('-') === false ? args : ['serve', ...args]
  const isServer = command === 'serve' && !rest.includes('--help') && !rest.includes('--version')
  if (!isServer) process.stdout.once('error', tellUnwritten)
  if (rest.includes('--help') || command === 'help') return help()
  if (rest.includes('--version')) return print(readVersion())
  try {
    if (command === 'serve') await serve(rest)
    else await run(command, rest)
  } catch (error) {
    if (error instanceof ConfigError) fail(EXIT_USAGE, error.mistakes)
    else if (systemCode(error) === undefined) throw error
    else if (error === unwritten) process.exitCode = EXIT_FAILURE
    else fail(EXIT_FAILURE, [error instanceof Error ? error.message : String(error)])
  }
  if (isServer && process.exitCode !== undefined) await (await import('./lib/http/turned-away.ts')).turnAway(sockets)
}

// A server needs no code of the commands.
async function help(): Promise<void> {
  print((await import('./lib/commands/help.ts')).formatHelp(programName()))
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const { COMMANDS } = await import('./lib/commands/commands.ts')
  const known = COMMANDS.get(command)
  if (known === undefined) return fail(EXIT_USAGE, [`There is no command ${JSON.stringify(command)}. --help lists what there is.`])
  const { runRecorded } = await import('./lib/commands/recorded.ts')
  const exitCode = await runRecorded(command, known, args, output())
  process.exitCode ||= exitCode
}

let unwritten: unknown

// What a command prints may be all that anybody has of what it did. Whoever has seen enough, as `head` has, misses nothing.
function tellUnwritten(error: unknown): void {
  unwritten = error
  if (systemCode(error) === 'EPIPE') return
  fail(EXIT_FAILURE, [`Standard output cannot be written: ${error instanceof Error ? error.message : String(error)}`])
}

async function serve(args: readonly string[]): Promise<void> {
  process.env['UV_THREADPOOL_SIZE'] ||= POOL_THREADS // read when the pool is first used; empty it would mean one
  const config = readConfig(args, process.env)
  if (config.workers > 1 && (await isWorker())) return work(config)
  if (config.workers > 1 && sockets.length > 0) throw new ConfigError([NO_SOCKETS])
  try {
    const stopAsked = askedToStop()
    const starting = config.workers > 1 ? startWorkers(config, args) : startApp(config, runtime(sockets), stopAsked)
    heedSignals(starting) // before it says that it listens
    void stopAsked.then(() => starting).then(stop, () => undefined) // a start that fails says so itself
    outlast(await starting)
  } catch (error) {
    fail(EXIT_FAILURE, [describeFailedStart(error, config)])
  }
}

// A terminal that is closed sends SIGHUP too: that must not cut uploads.
function heedSignals(starting: Promise<App>): void {
  const on = (signal: NodeJS.Signals, work: (app: App) => Promise<void>) =>
    process.on(signal, () => {
      const done = (app: App) => work(app).catch((error: unknown) => app.log.error(`${signal} failed`, error))
      void starting.then(done, () => undefined) // a start that fails says so itself
    })
  on('SIGHUP', (app) => app.reload())
  on('SIGUSR2', (app) => app.reopen())
}

// One process needs no code for several: it is loaded only where they are asked for.
async function isWorker(): Promise<boolean> {
  return (await import('./lib/workers/worker.ts')).isWorker()
}

async function startWorkers(config: Config, args: readonly string[]): Promise<App> {
  return (await import('./lib/workers/primary.ts')).startWorkers(config, args, runtime([]))
}

// The signals of a terminal or of systemd come to every process: the primary decides, and tells the workers.
async function work(config: Config): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2'] as const) process.on(signal, () => undefined)
  await (await import('./lib/workers/worker.ts')).work(config, runtime([]), { onStarted: outlast, exit: (code) => process.exit(code) })
}

// One request that goes wrong in a way that nobody foresaw must not end the others.
function outlast(app: App): void {
  process.on('unhandledRejection', (error) => app.log.error('unhandled rejection', error))
  process.on('uncaughtException', (error) => app.log.error('uncaught exception', error))
}

// Fulfils when somebody asks; whoever asks again ends the process at once.
function askedToStop(): Promise<void> {
  let askedAtMs: number | undefined
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        const isAgain = askedAtMs !== undefined && performance.now() - askedAtMs > SAME_REQUEST_MS
        if (isAgain) return process.exit(EXIT_FAILURE) // asked twice: at once
        askedAtMs ??= performance.now()
        resolve()
      })
    }
  })
}

async function stop(app: App): Promise<void> {
  try {
    await app.stop()
    process.exit(0)
  } catch (error) {
    app.log.error('stop failed', error)
    process.exit(EXIT_FAILURE)
  }
}

function describeFailedStart(error: unknown, config: { host: string; port: number; basedir: string }): string {
  const code = systemCode(error)
  const reason = error instanceof Error ? error.message : String(error)
  if (error instanceof CertificateError || error instanceof RecipientsError) return reason
  if (code === 'EADDRINUSE') return `Port ${config.port} on ${config.host} is taken by another program. Set PORT or --port to a free one.`
  if (error instanceof WorkerEndedError) return `The server cannot start: ${reason}.`
  if (error instanceof Error && 'syscall' in error && LISTENING.has(error.syscall)) {
    if (sockets.length > 0) return `Cannot listen on the sockets that were passed in (LISTEN_FDS=${sockets.length}): ${reason}`
    return `Cannot listen on ${config.host} port ${config.port}: ${reason}`
  }
  return `Cannot use the base directory ${config.basedir}: ${reason}`
}

function runtime(sockets: readonly number[]): Runtime {
  const lines = new LineWriter(process.stdout)
  return {
    print: (line) => lines.write(line),
    sockets,
    version: readVersion(),
    nodeVersion: process.version,
    environment: process.env,
    killGroup: (pid) => {
      try {
        process.kill(-pid, 'SIGKILL')
      } catch (error) {
        const code = systemCode(error)
        if (code !== 'ESRCH' && code !== 'EPERM') throw error // it has ended at this moment, or is not ours any more
      }
    },
    residentBytes: () => process.memoryUsage.rss(),
    cpuSeconds: () => {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1e6
    },
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

function output(): Output {
  const isWatched = process.stderr.isTTY
  const showProgress = (line: string) => process.stderr.write(`${ERASED_LINE}${line}`)
  let interruption = ''
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      process.stderr.write(`${isWatched ? ERASED_LINE : ''}${interruption}`)
      process.kill(process.pid, signal) // heard once: it ends us now, and who called us sees by which one
    })
  }
  return {
    print,
    write: (bytes) => new Promise((resolve, reject) => process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()))),
    tell: (line) => void process.stderr.write(`${line}\n`),
    input: () => process.stdin,
    note: () => undefined, // until a command is recorded
    showProgress: isWatched ? showProgress : undefined,
    ifInterrupted: (line) => (interruption = `${line}\n`),
    environment: process.env,
    program: programName(),
    version: readVersion(),
    nodeVersion: process.version,
    userId: process.geteuid?.(),
  }
}

// A key that was given where a name should stand is not shown: terminals and journals keep what they show.
function fail(exitCode: number, lines: readonly string[]): void {
  for (const line of lines) process.stderr.write(`${line.replace(SECRET_KEY, 'AGE-SECRET-KEY-…')}\n`)
  process.exitCode = exitCode
}

// Installed, it is called by the name of the package.
function programName(): string {
  const name = basename(process.argv[1] ?? '')
  return name === 'serve.js' ? 'node dist/serve.js' : name
}

function readVersion(): string {
  const text = readFileSync(join(__dirname, '..', 'package.json'), 'utf8') // beside dist/, where this file runs
  const { version } = JSON.parse(text) as { version: string }
  return version
}
