import { randomBytes } from 'node:crypto'
import { Clients } from './access/clients.ts'
import { Grants } from './access/grants.ts'
import { ProjectKeys } from './access/project-keys.ts'
import { newSecret } from './access/secret.ts'
import { noteServerList } from './access/server-lists.ts'
import { SteadyClock } from './access/steady-clock.ts'
import { adviseOnce } from './advice.ts'
import { Alerting } from './alerts/alerting.ts'
import { Audit } from './audit/audit.ts'
import type { Config } from './config.ts'
import { rememberSubmissions } from './dataset/last-submission.ts'
import { noteServer, settingsToNote } from './datasheet/server-note.ts'
import { Directories } from './directories.ts'
import { observeSyncs } from './durable.ts'
import type { HttpError } from './errors.ts'
import { every } from './every.ts'
import { ReadinessCheck } from './health/readiness.ts'
import type { Answered } from './http/answered.ts'
import type { Handler } from './http/router.ts'
import { Log } from './log.ts'
import type { Family } from './metrics/family.ts'
import { Measures } from './metrics/measures.ts'
import { isOurFault, logAnswer } from './request-log.ts'
import { Admin } from './routes/admin.ts'
import { Allowance } from './routes/allowance.ts'
import { readyz } from './routes/health.ts'
import { metrics } from './routes/metrics.ts'
import { register } from './routes/register.ts'
import { submit } from './routes/submit.ts'
import { token } from './routes/token.ts'
import type { Runtime } from './runtime.ts'
import { makeBasedir } from './store/basedir.ts'
import type { Layout } from './store/layout.ts'
import { Store } from './store/store.ts'

const BEAT_MS = 15_000
const LOOK_MS = 10_000
const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const READY = { limitMs: 5000, keepMs: 1000 }

/** What the service works with. */
export interface ServiceParts {
  readonly config: Config
  readonly runtime: Runtime
  readonly layout: Layout
  /** Says whether a path is one of ours. */
  readonly isRoute: (path: string) => boolean
}

/** What answers the requests that need more than the HTTP server. */
export type ServiceRoute = 'readyz' | 'metrics' | 'token' | 'register' | 'submit'

/** Everything behind the HTTP server: takes in submissions, keeps them, and tells of them. */
export class Service {
  readonly log: Log
  readonly routes: Readonly<Record<ServiceRoute, Handler>>
  /** The admin token, where it was made at this start. */
  readonly newToken: string | undefined
  readonly #parts: ServiceParts
  readonly #directories = new Directories()
  readonly #keys: ProjectKeys
  readonly #store: Store
  readonly #audit: Audit
  readonly #grants: Grants
  readonly #measures: Measures
  readonly #alerting: Alerting
  readonly #advise: (answered: Answered) => void
  readonly #stopObserving: () => void
  #timers: readonly NodeJS.Timeout[] = []

  /** Makes everything; nothing is on disk yet. */
  constructor(parts: ServiceParts) {
    const { config, runtime, layout } = parts
    const directories = this.#directories
    const { primary, print } = runtime
    const fixedToken = config.token ?? config.tokenFile
    const adminToken = fixedToken ?? newSecret()
    const isVerbose = config.isDevelopment || config.isLogPrinted
    const log = new Log({ directory: layout.logs, print, isVerbose, limitBytes: config.logBytes, adminToken, relay: primary?.writeLine })
    const processName = randomBytes(4).toString('hex')
    this.#parts = parts
    this.log = log
    this.newToken = fixedToken === undefined ? adminToken : undefined
    this.#store = new Store(layout, directories, processName, config.reserveBytes)
    this.#audit = new Audit({
      directory: layout.audit,
      directories,
      processName,
      onFailure: (error) => log.error('record of access cannot be written', error),
      onRecovery: (lost) => log.info('record of access is written again', { lost }),
    })
    this.#grants = new Grants(layout.tokens, directories)
    this.#keys = new ProjectKeys({
      places: layout,
      serverList: config.recipients ?? config.recipientsFile,
      onFallback: (project, reason) => log.info('recipients not used', { project, reason }),
    })
    const readiness = new ReadinessCheck({
      probe: (onLook) => this.#store.probe(onLook),
      ...READY,
      onChange: ({ isReady, looks }) => log.info(isReady ? 'ready again' : 'not ready', looks),
    })
    this.#measures = this.#makeMeasures(readiness)
    this.#alerting = this.#makeAlerting()
    this.#advise = adviseOnce(log)
    this.#stopObserving = observeSyncs((seconds) => this.#measures.synced(seconds))
    this.routes = this.#makeRoutes(adminToken, readiness)
  }

  /** Makes the directories, completes what dead processes had begun, and opens the log. */
  async open(): Promise<void> {
    const { runtime, layout } = this.#parts
    if (runtime.primary === undefined) await this.#keys.requireServerList() // one that begins again later must not fail for a new file
    await makeBasedir(layout, this.#directories)
    for (const directory of [layout.tokens, layout.clients]) await this.#directories.ensure(directory)
    await this.#store.open()
    await this.#recover()
    await this.#store.room()
    await this.log.open()
  }

  /** Begins to publish; submissions that come earlier wait for it. */
  begin(): Promise<void> {
    return this.#store.begin()
  }

  /** Notes what the server begins with, once it listens: its recipients, for commands to go by, and its settings, for the data sheet. */
  async note(places: readonly string[]): Promise<void> {
    const { config, runtime, layout } = this.#parts
    if (runtime.primary !== undefined) return
    await noteServerList(layout.serverKeys.lists, this.#keys.serverList, Date.now(), this.#directories)
    const noting = noteServer(layout, { version: runtime.version, settings: settingsToNote(config, places) }, this.#directories)
    await noting.catch((error: unknown) => this.log.error('settings not noted', error)) // only the data sheet wants them
  }

  /** Says in one sentence that nothing is encrypted any more, where that is so. */
  findGivenUp(): Promise<string | undefined> {
    return this.#keys.findGivenUp()
  }

  /** Begins what goes on until the end: signs of life, looks, alerts. Nothing waits for it. */
  watch(): void {
    const moment = () => ({ nowMs: Date.now(), elapsedMs: performance.now() })
    const clock = new SteadyClock(moment())
    const sweep = async () => {
      const removed = await this.#grants.sweep(Date.now(), clock.look(moment()))
      if (removed > 0) this.log.info('expired tokens removed', { removed })
    }
    this.#timers = [
      this.#every(BEAT_MS, 'beat failed', () => this.#store.beat()),
      this.#every(MINUTE_MS, 'recovery failed', () => this.#recover()),
      this.#every(HOUR_MS, 'sweep failed', sweep),
      this.#every(LOOK_MS, 'look for free space failed', () => this.#store.room().then(() => undefined)),
    ]
    void this.#attempt('sweep failed', sweep)
    void rememberSubmissions(this.#parts.layout, this.#measures)
      .catch((error: unknown) => this.log.error('look for the last submissions failed', error))
      .then(() => this.#alerting.start())
  }

  /** Takes note of an answer. */
  answered(answered: Answered): void {
    const { path, status, milliseconds, error, requestId } = answered
    logAnswer(this.log, answered)
    this.#measures.answered({ route: this.#parts.isRoute(path) ? path : '(other)', status, seconds: milliseconds / 1000 }) // any path may be asked for
    if (error !== undefined) this.refused(error)
    this.#advise(answered)
    if (path === '/submit' && error !== undefined && isOurFault(error)) this.#noteFailure(error.code, requestId)
  }

  /** Takes note of a refusal. */
  refused({ code }: HttpError): void {
    this.#measures.refused(code)
  }

  /** Gives what was counted and measured. */
  measure(): readonly Family[] {
    return this.#measures.read()
  }

  /** Ends everything but the log, when no request is under way any more. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.#alerting.stop()
    this.#stopObserving()
    this.#measures.close()
    await Promise.all([this.#store.close(), this.#audit.close()])
  }

  #makeMeasures(readiness: ReadinessCheck): Measures {
    return new Measures({
      ...this.#parts.runtime,
      tokensAlive: () => this.#grants.countAlive(Date.now()),
      room: () => this.#store.knownRoom,
      isReady: () => {
        if (readiness.wasReady === false) void readiness.ask() // of several processes another may be asked from now on
        return readiness.wasReady
      },
    })
  }

  #makeAlerting(): Alerting {
    const { config, runtime, layout } = this.#parts
    const { silenceHours, studyHours } = config
    const target = runtime.primary === undefined ? config.alert : undefined // of several, one looks and tells for all
    return new Alerting({ ...runtime, target, silenceHours, studyHours, layout, log: this.log, measures: this.#measures, room: () => this.#store.knownRoom })
  }

  #makeRoutes(adminToken: string, readiness: ReadinessCheck): Record<ServiceRoute, Handler> {
    const { config, runtime, layout } = this.#parts
    const [log, audit, grants, keys, measures] = [this.log, this.#audit, this.#grants, this.#keys, this.#measures]
    const admin = new Admin({ adminToken, onRefused: audit.repeated('admin_token_refused', MINUTE_MS) })
    const clients = new Clients(layout.clients, this.#directories)
    return {
      readyz: readyz(readiness),
      metrics: metrics({ admin, read: runtime.primary?.readMetrics ?? (async () => measures.read()), onRead: audit.repeated('metrics_read', HOUR_MS) }),
      token: token({ admin, audit, grants, clients, keys, log }),
      register: register({ admin, audit, clients, isLocalAllowed: config.isDevelopment, log }),
      submit: submit({ grants, store: this.#store, log, measures, limits: config, allowance: new Allowance(config), keys }),
    }
  }

  #noteFailure(code: string, requestId: string): void {
    const { primary } = this.#parts.runtime
    if (primary === undefined) this.#alerting.noteFailure(code, requestId)
    else primary.noteFailure(code, requestId)
  }

  async #recover(): Promise<void> {
    const { processes, completed, failures } = await this.#store.recover()
    if (processes > 0) this.log.info('recovered', { processes, completed })
    for (const failure of failures) this.log.error('recovery failed', failure) // what it could not complete is tried again
  }

  #every(ms: number, failure: string, work: () => Promise<void>): NodeJS.Timeout {
    return every(ms, () => this.#attempt(failure, work)).unref()
  }

  async #attempt(failure: string, work: () => Promise<void>): Promise<void> {
    await work().catch((error: unknown) => this.log.error(failure, error))
  }
}
