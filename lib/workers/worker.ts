import cluster from 'node:cluster'
import { startApp, type App, type Runtime } from '../app.ts'
import type { Config } from '../config.ts'
import { formatFailure, type FromWorker, type ToWorker } from './message.ts'
import { shareOf } from './share.ts'

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
  const stopped = next('stop')
  const { adminToken } = await next('start', () => void tell({ type: 'here' }))
  try {
    const own = { ...shareOf(config), token: adminToken, tokenFile: undefined }
    const print = (line: string) => void tell({ type: 'print', line })
    const app = await startApp(own, { ...runtime, print, relay: (name, line) => void tell({ type: 'log', name, line }) })
    onStarted(app)
    cluster.worker?.on('message', (message: ToWorker) => {
      if (message.type === 'reload') app.reload().catch((error: unknown) => app.log.error('reload failed', error))
    })
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

/** Waits for a message of a type; `ready` is called when it can come. */
function next<Type extends ToWorker['type']>(type: Type, ready: () => void = () => undefined): Promise<Extract<ToWorker, { type: Type }>> {
  return new Promise((resolve) => {
    cluster.worker?.on('message', (message: ToWorker) => {
      if (message.type === type) resolve(message as Extract<ToWorker, { type: Type }>) // its type says which it is
    })
    ready()
  })
}

/** Fulfils when the message is on its way, or can never be: a process whose primary is gone ends by itself. */
function tell(message: FromWorker): Promise<void> {
  return new Promise((resolve) => {
    if (cluster.worker?.isConnected() !== true) return resolve()
    cluster.worker.send(message, undefined, () => resolve())
  })
}
