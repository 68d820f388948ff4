import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from './config.ts'
import { Entrance } from './entrance.ts'
import type { Log } from './log.ts'
import type { Family } from './metrics/family.ts'
import type { Runtime } from './runtime.ts'
import type { Service } from './service.ts'
import { isDirectory, isWritable } from './store/basedir.ts'
import { Layout } from './store/layout.ts'

const ANSWER_MS = 5 // for whoever has waited for the server to listen: while the service is loaded nobody is answered

/** The running server. */
export interface App {
  readonly log: Log
  /** Opens the log files by their names again. */
  reopen(): Promise<void>
  /** Takes in what may have changed outside while the server runs: the log files, and the certificate. What cannot be read stays as it was. */
  reload(): Promise<void>
  /** What was announced when it began to listen. */
  readonly announced: readonly string[]
  /** Gives what this process has counted and measured. */
  measure(): readonly Family[]
  /** Stops taking connections, waits for what is under way, and closes everything. */
  stop(): Promise<void>
}

/**
 * Builds the server and begins to listen.
 * @param stopAsked fulfils when the server is to stop, perhaps before it has started: those who wait then are told at once
 */
export async function startApp(config: Config, runtime: Runtime, stopAsked: Promise<void>): Promise<App> {
  const { tlsCert = '', tlsKey = '' } = config
  const certificates = tlsCert === '' ? undefined : await import('./http/certificate.ts')
  const entrance = new Entrance(config, await certificates?.readCertificate(tlsCert, tlsKey))
  const { service, places, givenUp } = await open(entrance, { config, runtime, stopAsked })
  service.watch()
  const announced = [
    ...places.map((place) => `Listening on ${place}`),
    `Data goes to ${config.basedir}`,
    ...(givenUp === undefined ? [] : [`WARNING: ${givenUp}`]),
    ...(config.isDevelopment ? ['Development mode: local callbacks are allowed'] : []),
  ]
  const { log, newToken } = service
  for (const line of announced) log.announceNow(line)
  if (newToken !== undefined) log.announceForGood(`TOKEN=${newToken}`)

  return {
    log,
    announced,
    measure: () => service.measure(),
    reopen: () => log.reopen(),
    async reload() {
      await log.reopen()
      if (certificates === undefined) return
      try {
        const renewed = await certificates.readCertificate(tlsCert, tlsKey)
        entrance.renew(renewed)
        log.info('certificate read', { expires: renewed.expiresAt.toISOString() })
      } catch (error) {
        log.error('certificate not renewed', error)
      }
    },
    async stop() {
      log.announce('Stopping: uploads under way may finish')
      await entrance.stop(config.stopSeconds)
      await service.close()
      log.announce('Stopped')
      await log.close()
    },
  }
}

interface Opened {
  readonly service: Service
  readonly places: readonly string[]
  /** One sentence, where nothing is encrypted any more. */
  readonly givenUp: string | undefined
}

interface Start {
  readonly config: Config
  readonly runtime: Runtime
  readonly stopAsked: Promise<void>
}

// Requests are answered while the thread that publishes still loads; the first submission waits for it.
async function open(entrance: Entrance, { config, runtime, stopAsked }: Start): Promise<Opened> {
  const layout = new Layout(config.basedir)
  const endpoints = runtime.sockets.length === 0 ? [{ host: config.host, port: config.port }] : runtime.sockets.map((fd) => ({ fd }))
  let service: Service | undefined
  try {
    let places: readonly string[] | undefined
    if (await mayListenFirst(layout, config, runtime)) {
      places = await entrance.listen(endpoints)
      void stopAsked.then(() => entrance.stop(config.stopSeconds))
      await sleep(ANSWER_MS)
    }
    const { Service } = await import('./service.ts')
    service = new Service({ config, runtime, layout, isRoute: (path) => entrance.isRoute(path) })
    await service.open()
    places ??= await entrance.listen(endpoints)
    await service.note(places)
    entrance.open(service)
    await service.begin()
    return { service, places, givenUp: await service.findGivenUp() }
  } catch (error) {
    await entrance.stop(0)
    await Promise.allSettled([service?.close()]) // leaves nothing in the staging directory; why it did not open is what is told
    throw error
  }
}

// Where two looks tell that the service can open, the server listens before that is loaded. Where they do not the service
// opens first: whoever has set something up wrongly is told before anybody is answered. So does one of several processes,
// which is to be given no connection that the others could answer at once.
async function mayListenFirst(layout: Layout, { recipients, recipientsFile }: Config, { primary }: Runtime): Promise<boolean> {
  if (primary !== undefined || !(await isWritable(layout.basedir))) return false
  return recipients !== undefined || recipientsFile !== undefined || !(await isDirectory(layout.projects))
}
