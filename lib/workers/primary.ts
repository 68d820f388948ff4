import cluster from 'node:cluster'
import { ProjectKeys } from '../access/project-keys.ts'
import { newSecret } from '../access/secret.ts'
import { noteServerList } from '../access/server-lists.ts'
import type { App } from '../app.ts'
import type { Config } from '../config.ts'
import { noteServer, settingsToNote } from '../datasheet/server-note.ts'
import { Directories } from '../directories.ts'
import { Log } from '../log.ts'
import type { Runtime } from '../runtime.ts'
import { SETTINGS } from '../settings/settings.ts'
import { makeBasedir } from '../store/basedir.ts'
import { Layout } from '../store/layout.ts'
import { takeCensus } from './census.ts'
import { WorkerEndedError } from './ended.ts'
import { Lookout } from './lookout.ts'
import { Place } from './place.ts'

const LISTENING = /^Listening on (.*)$/

/**
 * Begins several processes that serve one port together, and replaces one that ends. What they log comes here and is
 * written here: a file with one writer is turned once. Alerts are sent from here, and their numbers are added up here. Each
 * is this program with its own arguments.
 */
export async function startWorkers(config: Config, args: readonly string[], runtime: Runtime): Promise<App> {
  const { print } = runtime
  const layout = new Layout(config.basedir)
  const serverList = config.recipients ?? config.recipientsFile
  await new ProjectKeys({ places: layout, serverList }).requireServerList()
  const directories = new Directories()
  await makeBasedir(layout, directories)
  const fixedToken = config.token ?? config.tokenFile
  const adminToken = fixedToken ?? newSecret()
  const log = new Log({ directory: layout.logs, print, isVerbose: config.isDevelopment || config.isLogPrinted, limitBytes: config.logBytes, adminToken })
  cluster.setupPrimary({ args: ['serve', ...withoutRead(args)] })
  const lookout = new Lookout({ config, layout, log, runtime })
  const places: Place[] = []
  const readMetrics = () => takeCensus(places.map(({ tally }) => tally), () => lookout.measure())
  const parts = { adminToken, serverList, log, print, readMetrics, noteFailure: lookout.noteFailure.bind(lookout) }
  while (places.length < config.workers) places.push(new Place(parts))
  const announced = await startAll(places, () => noteServerList(layout.serverKeys.lists, serverList, Date.now(), directories))
  for (const place of places) place.keep()
  await log.open()
  const settings = settingsToNote(config, announced.flatMap((line) => LISTENING.exec(line)?.[1] ?? []))
  await noteServer(layout, { version: runtime.version, settings }, directories).catch((error: unknown) => log.error('settings not noted', error))
  for (const line of announced) log.announceNow(line)
  if (fixedToken === undefined) log.announceForGood(`TOKEN=${adminToken}`)
  lookout.start()
  return {
    log,
    announced,
    measure: () => lookout.measure(),
    reopen: () => log.reopen(),
    async reload() {
      await log.reopen()
      for (const place of places) place.reload()
    },
    stop: () => stopAll(places, log, lookout),
  }
}

/** Gives what each announced, once; `note` is done when all listen. Where one of it fails all are stopped, and leave nothing behind. */
async function startAll(places: readonly Place[], note: () => Promise<void>): Promise<readonly string[]> {
  const starting = places.map((place) => place.start())
  try {
    const [announced = []] = await Promise.all(starting)
    await note()
    return announced
  } catch (error) {
    await Promise.allSettled(starting)
    await Promise.all(places.map((place) => place.stop()))
    throw error
  }
}

async function stopAll(places: readonly Place[], log: Log, lookout: Lookout): Promise<void> {
  log.announce('Stopping: uploads under way may finish')
  const endings = await Promise.all(places.map((place) => place.stop()))
  lookout.stop()
  log.announce('Stopped')
  await log.close()
  const bad = endings.find((ending) => ending !== 0)
  if (bad !== undefined) throw new WorkerEndedError(bad)
}

// What the primary has read from files, a worker gets from it.
function withoutRead(args: readonly string[]): string[] {
  const flags = [SETTINGS.tokenFile, SETTINGS.recipients, SETTINGS.recipientsFile].map(({ flag }) => `--${flag}`)
  return args.filter((arg, index) => flags.every((flag) => arg !== flag && !arg.startsWith(`${flag}=`) && args[index - 1] !== flag))
}
