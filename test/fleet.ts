import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { startServer, type Answer, type Running, type StartOptions, request } from './harness.ts'

/** Starts a server of several processes; of two, where nothing else is said. */
export function startFleet(t: TestContext, { env = {}, ...options }: StartOptions & { workers?: number } = {}): Promise<Running> {
  return startServer(t, { ...options, env: { REPROSCHEMA_BACKEND_WORKERS: String(options.workers ?? 2), ...env } })
}

/** The process ids of the workers. */
export async function workersOf(server: Running): Promise<number[]> {
  const pid = server.process.pid ?? 0
  try {
    return (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ').filter((text) => text !== '').map(Number)
  } catch {
    return [] // it has ended
  }
}

/** What is in console.log. */
export function consoleOf(basedir: string): Promise<string> {
  return readFile(join(basedir, 'logs', 'console.log'), 'utf8')
}

/** How often something is in a text. */
export function countOf(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].length
}

/**
 * Asks a server of which one worker stands still. That one is handed a connection too, and does not take it: of two requests
 * at the same time the other worker mostly answers one at least; where it does not, they are sent again.
 */
export async function askBeside(server: Running, path: string): Promise<Answer> {
  for (;;) {
    const ending = new AbortController()
    const { signal } = ending
    const timer = setTimeout(() => ending.abort(), 5000)
    const ask = () => request(`${server.url}${path}`, { headers: { connection: 'close' }, signal })
    try {
      return await Promise.any([ask(), ask()])
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      clearTimeout(timer)
      ending.abort()
    }
  }
}
