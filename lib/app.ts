import { randomBytes } from 'node:crypto'
import { Clients } from './access/clients.ts'
import { Grants } from './access/grants.ts'
import { ProjectKeys } from './access/project-keys.ts'
import { newSecret } from './access/secret.ts'
import { noteServerList } from './access/server-lists.ts'
import { adviseOnce } from './advice.ts'
import { Alerting } from './alerts/alerting.ts'
import { Audit } from './audit/audit.ts'
import type { Config } from './config.ts'
import { rememberSubmissions } from './dataset/last-submission.ts'
import { noteServer, settingsToNote } from './datasheet/server-note.ts'
import { Directories } from './directories.ts'
import { observeSyncs } from './durable.ts'
import type { HttpError } from './errors.ts'
import { ReadinessCheck } from './health/readiness.ts'
import type { Answered } from './http/answered.ts'
import { Cors } from './http/cors.ts'
import type { Endpoint } from './http/listener.ts'
import { TrustedProxies } from './http/proxies.ts'
import { Router } from './http/router.ts'
import { HttpServer } from './http/server.ts'
import { Log } from './log.ts'
import type { Family } from './metrics/family.ts'
import { Measures } from './metrics/measures.ts'
import { Admin } from './routes/admin.ts'
import { Allowance } from './routes/allowance.ts'
import { livez, readyz } from './routes/health.ts'
import { metrics } from './routes/metrics.ts'
import { register } from './routes/register.ts'
import { root } from './routes/root.ts'
import { submit } from './routes/submit.ts'
import { token } from './routes/token.ts'
import type { Runtime } from './runtime.ts'
import { makeBasedir } from './store/basedir.ts'
import { Layout } from './store/layout.ts'
import { Store } from './store/store.ts'

const BEAT_MS = 15_000
const LOOK_MS = 10_000
const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const READY = { limitMs: 5000, keepMs: 1000 }

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
  const serverList = config.recipients ?? config.recipientsFile
  const keys = new ProjectKeys({ places: layout, serverList, onFallback: (project, reason) => log.info('recipients not used', { project, reason }) })
  if (runtime.primary === undefined) await keys.requireServerList() // one that begins again later must not fail for a new file
  await makeBasedir(layout, directories)
  if (runtime.primary === undefined) await noteServerList(layout.serverKeys.lists, serverList, Date.now(), directories)
  for (const directory of [layout.tokens, layout.clients]) await directories.ensure(directory)
  const fixedToken = config.token ?? config.tokenFile
  const adminToken = fixedToken ?? newSecret()
  const { print, primary } = runtime
  const isVerbose = config.isDevelopment || config.isLogPrinted
  const log = new Log({ directory: layout.logs, print, isVerbose, limitBytes: config.logBytes, adminToken, relay: primary?.writeLine })
  const processName = randomBytes(4).toString('hex')
  const store = new Store(layout, directories, processName, config.reserveBytes)
  const audit = new Audit({
    directory: layout.audit,
    directories,
    processName,
    onFailure: (error) => log.error('record of access cannot be written', error),
    onRecovery: (lost) => log.info('record of access is written again', { lost }),
  })
  const admin = new Admin({ adminToken, onRefused: audit.repeated('admin_token_refused', MINUTE_MS) })
  const grants = new Grants(layout.tokens, directories)
  const clients = new Clients(layout.clients, directories)
  await store.open()
  await recover(store, log)
  await store.room()

  const readiness = new ReadinessCheck({
    probe: (onLook) => store.probe(onLook),
    ...READY,
    onChange: ({ isReady, looks }) => log.info(isReady ? 'ready again' : 'not ready', looks),
  })
  const measures = new Measures({
    ...runtime,
    tokensAlive: () => grants.countAlive(Date.now()),
    room: () => store.knownRoom,
    isReady: () => {
      if (readiness.wasReady === false) void readiness.ask() // of several processes another may be asked from now on
      return readiness.wasReady
    },
  })
  const { silenceHours, studyHours } = config
  const target = primary === undefined ? config.alert : undefined // of several, one looks and tells for all
  const alerting = new Alerting({ ...runtime, target, silenceHours, studyHours, layout, log, measures, room: () => store.knownRoom })
  const noteFailure = primary?.noteFailure ?? alerting.noteFailure.bind(alerting)
  const stopObserving = observeSyncs((seconds) => measures.synced(seconds))
  const router = new Router({
    '/': { GET: root },
    '/livez': { GET: livez },
    '/readyz': { GET: readyz(readiness) },
    '/metrics': { GET: metrics({ admin, read: primary?.readMetrics ?? (async () => measures.read()), onRead: audit.repeated('metrics_read', HOUR_MS) }) },
    '/token': { GET: token({ admin, audit, grants, clients, keys, log }) },
    '/register': { GET: register({ admin, audit, clients, isLocalAllowed: config.isDevelopment, log }) },
    '/submit': { POST: submit({ grants, store, log, measures, limits: config, allowance: new Allowance(config), keys }) },
  })
  const advise = adviseOnce(log)
  const server = new HttpServer({
    router,
    cors: new Cors(config.corsOrigins),
    idleSeconds: config.idleSeconds,
    maxConnections: config.maxConnections,
    certificate,
    proxies: new TrustedProxies(config.trustedProxies),
    basePath: config.basePath,
    onAnswered: (answered) => {
      note(log, answered)
      count(measures, router, answered)
      advise(answered)
      const { path, error, requestId } = answered
      if (path === '/submit' && error !== undefined && isOurFault(error)) noteFailure(error.code, requestId)
    },
    onRefused: (error) => measures.refused(error.code),
  })
  await log.open()
  const sweep = async () => void (await grants.sweep(Date.now()))
  const endpoints = runtime.sockets.length === 0 ? [{ host: config.host, port: config.port }] : runtime.sockets.map((fd) => ({ fd }))
  const places = await begin(server, endpoints, store)
  if (primary === undefined) {
    const noting = noteServer(layout, { version: runtime.version, settings: settingsToNote(config, places) }, directories)
    await noting.catch((error: unknown) => log.error('settings not noted', error)) // only the data sheet wants them
  }
  const timers = [
    every(BEAT_MS, log, 'beat failed', () => store.beat()),
    every(MINUTE_MS, log, 'recovery failed', () => recover(store, log)),
    every(HOUR_MS, log, 'sweep failed', sweep),
    every(LOOK_MS, log, 'look for free space failed', () => store.room().then(() => undefined)),
  ]
  void sweep().catch((error: unknown) => log.error('sweep failed', error))
  void rememberSubmissions(layout, measures)
    .catch((error: unknown) => log.error('look for the last submissions failed', error))
    .then(() => alerting.start())
  const givenUp = await keys.findGivenUp()
  const announced = [
    ...places.map((place) => `Listening on ${place}`),
    `Data goes to ${config.basedir}`,
    ...(givenUp === undefined ? [] : [`WARNING: ${givenUp}`]),
    ...(config.isDevelopment ? ['Development mode: local callbacks are allowed'] : []),
  ]
  for (const line of announced) log.announceNow(line)
  if (fixedToken === undefined) log.announceForGood(`TOKEN=${adminToken}`)

  return {
    log,
    announced,
    measure: () => measures.read(),
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
      for (const timer of timers) clearInterval(timer)
      alerting.stop()
      stopObserving()
      measures.close()
      await Promise.all([store.close(), audit.close()])
      log.announce('Stopped')
      await log.close()
    },
  }
}

// Requests are answered while the thread that publishes still loads; the first submission waits for it.
async function begin(server: HttpServer, endpoints: readonly Endpoint[], store: Store): Promise<string[]> {
  try {
    const places: string[] = []
    for (const endpoint of endpoints) places.push(await server.listen(endpoint))
    await store.begin()
    return places
  } catch (error) {
    await server.stop(0)
    await store.close() // leaves nothing in the staging directory
    throw error
  }
}

async function recover(store: Store, log: Log): Promise<void> {
  const { processes, completed, failures } = await store.recover()
  if (processes > 0) log.info('recovered', { processes, completed })
  for (const failure of failures) log.error('recovery failed', failure) // what it could not complete is tried again
}

function every(ms: number, log: Log, failure: string, work: () => Promise<void>): NodeJS.Timeout {
  const run = () => void work().catch((error: unknown) => log.error(failure, error))
  return setInterval(run, ms).unref()
}

function count(measures: Measures, router: Router, { path, status, milliseconds, error }: Answered): void {
  const route = router.has(path) ? path : '(other)' // any path may be asked for
  measures.answered({ route, status, seconds: milliseconds / 1000 })
  if (error !== undefined) measures.refused(error.code)
}

function isOurFault({ code }: HttpError): boolean {
  return code === 'internal' || code === 'unusable_project'
}

function note(log: Log, { requestId, request, client, path, status, bytes, error }: Answered): void {
  log.access({
    address: client.address,
    method: request.method ?? '-',
    target: request.url ?? '-',
    httpVersion: request.httpVersion,
    status,
    bytes: request.method === 'HEAD' ? 0 : bytes,
    referer: request.headers.referer,
    userAgent: request.headers['user-agent'],
  })
  if (error === undefined) return
  if (isOurFault(error)) log.error('failed', error, { request: requestId, code: error.code, path })
  else log.info('refused', { request: requestId, code: error.code, detail: error.detail })
}
