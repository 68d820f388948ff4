import { load, type Load, type Request } from './load.ts'
import { makeAnswersRequests, makeFileRequests, makeTokenRequests } from './request.ts'
import type { Sample, Scenario } from './scenario.ts'
import { SERVERS, type Server, type ServerName, type Workspace } from './server.ts'

const [KB, MB] = [1000, 1_000_000]
const WARM_UP_SECONDS = 1
const ALL = Object.keys(SERVERS) as ServerName[]
const NOT_STORING: readonly ServerName[] = ['ours', 'sink-discard']

interface LoadScenario {
  readonly name: string
  readonly description: string
  readonly connections: number
  /** Of what is sent with a request. */
  readonly bytes: number
  readonly maxRequests?: number
  readonly makeRequests: (server: Server, authToken: string, bytes: number) => (n: number) => Request
}

const files: LoadScenario['makeRequests'] = (_, authToken, bytes) => makeFileRequests(authToken, bytes)
const answers: LoadScenario['makeRequests'] = (_, authToken, bytes) => makeAnswersRequests(authToken, bytes)
const tokens: LoadScenario['makeRequests'] = (server) => makeTokenRequests(server.tokenTarget)

const LOADS: readonly LoadScenario[] = [
  { name: 'answers-16', description: '2 KB of answers, 16 connections', connections: 16, bytes: 2 * KB, makeRequests: answers },
  { name: 'answers-64', description: '2 KB of answers, 64 connections', connections: 64, bytes: 2 * KB, makeRequests: answers },
  { name: 'files-100k', description: 'files of 100 KB, 16 connections', connections: 16, bytes: 100 * KB, makeRequests: files },
  { name: 'files-10m-8', description: 'files of 10 MB, 8 connections', connections: 8, bytes: 10 * MB, maxRequests: 120, makeRequests: files },
  { name: 'files-10m-32', description: 'files of 10 MB, 32 connections', connections: 32, bytes: 10 * MB, maxRequests: 128, makeRequests: files },
  { name: 'files-500m', description: 'one file of 500 MB', connections: 1, bytes: 500 * MB, maxRequests: 1, makeRequests: files },
  { name: 'tokens', description: 'auth tokens, 64 connections; the sink stores none', connections: 64, bytes: 0, makeRequests: tokens },
]

/** The scenarios that load this server and the sinks over HTTP. */
export function makeServerScenarios(workspace: Workspace): Scenario[] {
  const loads = LOADS.map(({ name, description, ...scenario }): Scenario => {
    const subjects = name === 'tokens' ? NOT_STORING : ALL
    return {
      name,
      description,
      subjects,
      measure: (subject, { seconds }) => workspace.use(subject as ServerName, (server) => measureLoad(server, scenario, seconds)),
    }
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

async function measureLoad(server: Server, scenario: Omit<LoadScenario, 'name' | 'description'>, seconds: number): Promise<Sample> {
  const { connections, bytes, maxRequests = Infinity } = scenario
  const requests = scenario.makeRequests(server, await server.askToken(), bytes)
  const { port } = server
  const warmUp = await load({ port, connections, seconds: WARM_UP_SECONDS, maxRequests: Math.ceil(maxRequests / 4), makeRequest: requests })
  const cpuMs = server.cpuMs
  const makeRequest = (n: number) => requests(warmUp.requests + n)
  const result = await load({ port, connections, seconds, maxRequests, makeRequest })
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
