import { load, type Load, type Request } from './load.ts'
import { makeAnswersRequests, makeFileRequests, makeTokenRequests } from './request.ts'
import type { Sample, Scenario } from './scenario.ts'
import type { Server, ServerName, Workspace } from './server.ts'

const [KB, MB] = [1000, 1_000_000]
const ALL: readonly ServerName[] = ['ours', 'ours-encrypting', 'sink-discard', 'sink-pipe-fsync', 'sink-hash-fsync']
const SMALL: readonly ServerName[] = [...ALL, 'sink-calls-only', 'sink-calls-hash']
const NOT_STORING: readonly ServerName[] = ['ours', 'sink-discard']
const GROWN: readonly ServerName[] = ['ours', 'ours-grown']
const WORKERS: readonly ServerName[] = ['ours', 'ours-two-workers']

interface LoadScenario {
  readonly name: string
  readonly description: string
  readonly subjects?: readonly ServerName[]
  readonly connections: number
  /** Of what is sent with a request. */
  readonly bytes: number
  readonly maxRequests?: number
  readonly makeRequests: (server: Server, authToken: string, bytes: number) => (n: number) => Request
}

const files: LoadScenario['makeRequests'] = (_, authToken, bytes) => makeFileRequests(authToken, bytes)
const answers: LoadScenario['makeRequests'] = (_, authToken, bytes) => makeAnswersRequests(authToken, bytes)
const tokens: LoadScenario['makeRequests'] = (server) => makeTokenRequests(server.tokenTarget)

const GROWTH = 'a million files, 10,000 projects, 100,000 tokens'
const LOADS: readonly LoadScenario[] = [
  { name: 'answers-16', description: '2 KB of answers, 16 connections', subjects: SMALL, connections: 16, bytes: 2 * KB, makeRequests: answers },
  { name: 'answers-64', description: '2 KB of answers, 64 connections', subjects: SMALL, connections: 64, bytes: 2 * KB, makeRequests: answers },
  { name: 'files-100k', description: 'files of 100 KB, 16 connections', subjects: SMALL, connections: 16, bytes: 100 * KB, makeRequests: files },
  { name: 'files-10m-8', description: 'files of 10 MB, 8 connections', connections: 8, bytes: 10 * MB, maxRequests: 120, makeRequests: files },
  { name: 'files-10m-32', description: 'files of 10 MB, 32 connections', connections: 32, bytes: 10 * MB, maxRequests: 128, makeRequests: files },
  { name: 'files-500m', description: 'one file of 500 MB', connections: 1, bytes: 500 * MB, maxRequests: 1, makeRequests: files },
  { name: 'tokens', description: 'auth tokens, 64 connections; the sink stores none', subjects: NOT_STORING, connections: 64, bytes: 0, makeRequests: tokens },
  { name: 'workers-answers', description: '2 KB of answers, 64 connections; two processors, of which the client takes its part', subjects: WORKERS, connections: 64, bytes: 2 * KB, makeRequests: answers },
  { name: 'workers-tokens', description: 'auth tokens, the same', subjects: WORKERS, connections: 64, bytes: 0, makeRequests: tokens },
  { name: 'workers-files', description: 'files of 10 MB, 8 connections, the same', subjects: WORKERS, connections: 8, bytes: 10 * MB, maxRequests: 120, makeRequests: files },
  { name: 'growth-answers', description: `2 KB of answers, one after another, beside ${GROWTH}`, subjects: GROWN, connections: 1, bytes: 2 * KB, makeRequests: answers },
  { name: 'growth-tokens', description: 'auth tokens, the same', subjects: GROWN, connections: 1, bytes: 0, makeRequests: tokens },
  { name: 'growth-crowd', description: 'auth tokens, the same with 64 connections', subjects: GROWN, connections: 64, bytes: 0, makeRequests: tokens },
]

/** The scenarios that load this server and the sinks over HTTP. */
export function makeServerScenarios(workspace: Workspace): Scenario[] {
  const loads = LOADS.map((scenario): Scenario => {
    const { name, description, subjects = ALL } = scenario
    return { name, description, subjects, measure: (subject, { seconds }) => measureLoad(workspace, subject as ServerName, scenario, seconds) }
  })
  const slow: Scenario = {
    name: 'slow',
    description: 'peak memory during 200 uploads of 10 MB at 1 MB/s each',
    subjects: ALL,
    measure: (subject) => workspace.use(subject as ServerName, measureSlow),
  }
  const start: Scenario = {
    name: 'start',
    description: 'from the start of the program to its first 200',
    subjects: NOT_STORING,
    measure: (subject) => workspace.use(subject as ServerName, async (server) => ({ 'ms': server.startMs })),
  }
  return [...loads, slow, start]
}

async function measureLoad(workspace: Workspace, name: ServerName, scenario: LoadScenario, seconds: number): Promise<Sample> {
  const { connections, bytes, maxRequests = Infinity } = scenario
  const loadOnce = async (server: Server): Promise<Load> => {
    const makeRequest = scenario.makeRequests(server, await server.askToken(), bytes)
    const result = await load({ port: server.port, connections, seconds, maxRequests, makeRequest })
    if (bytes >= MB) await server.empty()
    return result
  }
  const server = await workspace.keep(name, loadOnce) // it compiles as it is first used
  const cpuMs = server.cpuMs
  const result = await loadOnce(server)
  return {
    'requests/s': result.requests / result.seconds,
    'MB/s': (result.requests * bytes) / MB / result.seconds,
    'p50 ms': quantile(result, 0.5),
    'p99 ms': quantile(result, 0.99),
    'CPU ms/request': (server.cpuMs - cpuMs) / result.requests,
    'peak MB': server.peakMb,
  }
}

async function measureSlow(server: Server): Promise<Sample> {
  const makeRequest = makeFileRequests(await server.askToken(), 10 * MB)
  await load({ port: server.port, connections: 200, seconds: Infinity, maxRequests: 200, makeRequest, bytesPerSecond: MB })
  return { 'peak MB': server.peakMb }
}

function quantile({ durationsMs }: Load, share: number): number {
  return durationsMs[Math.ceil(durationsMs.length * share) - 1] ?? NaN
}
