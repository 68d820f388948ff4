import cluster from 'node:cluster'
import { newSecret } from '../access/secret.ts'
import type { App } from '../app.ts'
import type { Config } from '../config.ts'
import { Directories } from '../directories.ts'
import { Log } from '../log.ts'
import { SETTINGS } from '../settings/settings.ts'
import { makeBasedir } from '../store/basedir.ts'
import { Layout } from '../store/layout.ts'
import { WorkerEndedError } from './ended.ts'
import { Place } from './place.ts'

/**
 * Begins several processes that serve one port together, and replaces one that ends. What they log comes here and is
 * written here: a file with one writer is turned once. Each is this program with its own arguments.
 * @param print writes a line to standard output
 */
export async function startWorkers(config: Config, args: readonly string[], print: (line: string) => void): Promise<App> {
  const layout = new Layout(config.basedir)
  await makeBasedir(layout, new Directories())
  const fixedToken = config.token ?? config.tokenFile
  const adminToken = fixedToken ?? newSecret()
  const log = new Log({ directory: layout.logs, print, isVerbose: config.isDevelopment || config.isLogPrinted, limitBytes: config.logBytes, adminToken })
  cluster.setupPrimary({ args: ['serve', ...withoutTokenFile(args)] })
  const places = Array.from({ length: config.workers }, () => new Place({ adminToken, log, print }))
  const announced = await startAll(places)
  for (const place of places) place.keep()
  await log.open()
  for (const line of announced) log.announceNow(line)
  if (fixedToken === undefined) log.announceForGood(`TOKEN=${adminToken}`)
  return {
    log,
    announced,
    reopen: () => log.reopen(),
    async reload() {
      await log.reopen()
      for (const place of places) place.reload()
    },
    stop: () => stopAll(places, log),
  }
}

/** Gives what each announced, once. Where one cannot start the others are stopped, and leave nothing behind. */
async function startAll(places: readonly Place[]): Promise<readonly string[]> {
  const started = await Promise.allSettled(places.map((place) => place.start()))
  const failed = started.find((each) => each.status === 'rejected')
  if (failed === undefined) return started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))[0] ?? []
  await Promise.all(places.map((place) => place.stop()))
  throw failed.reason
}

async function stopAll(places: readonly Place[], log: Log): Promise<void> {
  log.announce('Stopping: uploads under way may finish')
  const endings = await Promise.all(places.map((place) => place.stop()))
  log.announce('Stopped')
  await log.close()
  const bad = endings.find((ending) => ending !== 0)
  if (bad !== undefined) throw new WorkerEndedError(bad)
}

function withoutTokenFile(args: readonly string[]): string[] {
  const flag = `--${SETTINGS.tokenFile.flag}`
  return args.filter((arg, index) => arg !== flag && !arg.startsWith(`${flag}=`) && args[index - 1] !== flag)
}
