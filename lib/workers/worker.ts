import cluster from 'node:cluster'
import { startApp, type App } from '../app.ts'
import type { Config } from '../config.ts'
import { HttpError } from '../errors.ts'
import type { Family } from '../metrics/family.ts'
import type { Runtime } from '../runtime.ts'
import { formatFailure, type FromWorker, type ToWorker } from './message.ts'
import { shareOf } from './share.ts'

const METRICS_LIMIT_MS = 10_000 // the primary itself waits a second for those who do not answer

/** Says whether this process is one of several, begun by a primary process. */
export function isWorker(): boolean {
  return cluster.isWorker
}

/**
 * Serves as one of several processes, until the primary process says that it is to stop.
 * @param ending `onStarted` is given the server when it listens, `exit` ends this process
 */
export async function work(
  config: Config,
  runtime: Runtime,
  { onStarted, exit }: { onStarted: (app: App) => void; exit: (code: number) => void },
): Promise<void> {
  const stopped = new Promise<void>((resolve) => hear('stop', () => resolve()))
  const start = new Promise<{ adminToken: string }>((resolve) => hear('start', resolve))
  let isChanged = false // what is outside, while we begin
  hear('reload', () => (isChanged = true))
  void tell({ type: 'here' })
  const { adminToken } = await start
  try {
    const own = { ...shareOf(config), token: adminToken, tokenFile: undefined }
    const primary = {
      writeLine: (name, line) => void tell({ type: 'log', name, line }),
      noteFailure: (code, requestId) => void tell({ type: 'submission failed', code, requestId }),
      readMetrics: askForMetrics(),
    } satisfies Runtime['primary']
    const app = await startApp(own, { ...runtime, print: (line) => void tell({ type: 'print', line }), primary }, stopped)
    onStarted(app)
    const reload = () => void app.reload().catch((error: unknown) => app.log.error('reload failed', error))
    hear('reload', reload)
    hear('measure', ({ question }) => void tell({ type: 'measured', question, families: app.measure() }))
    if (isChanged) reload()
    await tell({ type: 'started', announced: app.announced })
    await stopped
    exit(await stop(app))
  } catch (error) {
    await tell({ type: 'failed', failure: formatFailure(error) })
    exit(1)
  }
}

/** Gives the exit code. What it tells last comes behind every line of the logs, so that all of them have come by then. */
async function stop(app: App): Promise<number> {
  try {
    await app.stop()
    await tell({ type: 'stopped' })
    return 0
  } catch (error) {
    app.log.error('stop failed', error)
    await tell({ type: 'stopped' })
    return 1
  }
}

/** Makes what asks the primary process for the numbers of all. */
function askForMetrics(): () => Promise<readonly Family[]> {
  const waiting = new Map<number, (families: readonly Family[]) => void>()
  let last = 0
  hear('metrics', ({ question, families }) => waiting.get(question)?.(families))
  return async () => {
    const question = ++last
    let late: NodeJS.Timeout | undefined
    try {
      return await new Promise((resolve, reject) => {
        late = setTimeout(() => reject(new HttpError('too_busy', { detail: 'the primary does not answer' })), METRICS_LIMIT_MS)
        waiting.set(question, resolve)
        void tell({ type: 'metrics wanted', question })
      })
    } finally {
      clearTimeout(late)
      waiting.delete(question)
    }
  }
}

/** From here on, does something at each message of a type. */
function hear<Type extends ToWorker['type']>(type: Type, work: (message: Extract<ToWorker, { type: Type }>) => void): void {
  cluster.worker?.on('message', (message: ToWorker) => {
    if (message.type === type) work(message as Extract<ToWorker, { type: Type }>) // its type says which it is
  })
}

/** Fulfils when the message is on its way, or can never be: a process whose primary is gone ends by itself. */
function tell(message: FromWorker): Promise<void> {
  return new Promise((resolve) => {
    if (cluster.worker?.isConnected() !== true) return resolve()
    cluster.worker.send(message, undefined, () => resolve())
  })
}
