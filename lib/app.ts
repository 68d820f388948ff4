import { ProjectKeys } from './access/project-keys.ts'
import type { Config } from './config.ts'
import { Directories } from './directories.ts'
import { Cors } from './http/cors.ts'
import type { Endpoint } from './http/listener.ts'
import { TrustedProxies } from './http/proxies.ts'
import { Router } from './http/router.ts'
import { HttpServer } from './http/server.ts'
import type { Log } from './log.ts'
import type { Family } from './metrics/family.ts'
import { livez } from './routes/health.ts'
import { root } from './routes/root.ts'
import type { Runtime } from './runtime.ts'
import { Service } from './service.ts'
import { makeBasedir } from './store/basedir.ts'
import { Layout } from './store/layout.ts'

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

/** Builds the server and begins to listen. */
export async function startApp(config: Config, runtime: Runtime): Promise<App> {
  const { tlsCert = '', tlsKey = '' } = config
  const certificates = tlsCert === '' ? undefined : await import('./http/certificate.ts')
  const certificate = await certificates?.readCertificate(tlsCert, tlsKey)
  const layout = new Layout(config.basedir)
  const directories = new Directories()
  const keys = new ProjectKeys({ places: layout, serverList: config.recipients ?? config.recipientsFile })
  if (runtime.primary === undefined) await keys.requireServerList() // one that begins again later must not fail for a new file
  await makeBasedir(layout, directories)
  const service = new Service({ config, runtime, layout, directories, isRoute: (path) => router.has(path) })
  const router = new Router({
    '/': { GET: root },
    '/livez': { GET: livez },
    '/readyz': { GET: service.routes.readyz },
    '/metrics': { GET: service.routes.metrics },
    '/token': { GET: service.routes.token },
    '/register': { GET: service.routes.register },
    '/submit': { POST: service.routes.submit },
  })
  const server = new HttpServer({
    router,
    cors: new Cors(config.corsOrigins),
    idleSeconds: config.idleSeconds,
    maxConnections: config.maxConnections,
    certificate,
    proxies: new TrustedProxies(config.trustedProxies),
    basePath: config.basePath,
    onAnswered: (answered) => service.answered(answered),
    onRefused: (error) => service.refused(error),
  })
  const endpoints = runtime.sockets.length === 0 ? [{ host: config.host, port: config.port }] : runtime.sockets.map((fd) => ({ fd }))
  const places = await begin(server, endpoints, service)
  await service.noteSettings(places)
  service.watch()
  const givenUp = await service.findGivenUp()
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
        server.renew(renewed)
        log.info('certificate read', { expires: renewed.expiresAt.toISOString() })
      } catch (error) {
        log.error('certificate not renewed', error)
      }
    },
    async stop() {
      log.announce('Stopping: uploads under way may finish')
      await server.stop(config.stopSeconds)
      await service.close()
      log.announce('Stopped')
      await log.close()
    },
  }
}

// Requests are answered while the thread that publishes still loads; the first submission waits for it.
async function begin(server: HttpServer, endpoints: readonly Endpoint[], service: Service): Promise<string[]> {
  try {
    await service.open()
    const places: string[] = []
    for (const endpoint of endpoints) places.push(await server.listen(endpoint))
    await service.begin()
    return places
  } catch (error) {
    await server.stop(0)
    await service.close() // leaves nothing in the staging directory
    throw error
  }
}
