import type { Config } from './config.ts'
import { HttpError } from './errors.ts'
import type { Certificate } from './http/certificate.ts'
import { Cors } from './http/cors.ts'
import type { Endpoint } from './http/listener.ts'
import { TrustedProxies } from './http/proxies.ts'
import { Router, type Handler } from './http/router.ts'
import { HttpServer } from './http/server.ts'
import { livez } from './routes/health.ts'
import { root } from './routes/root.ts'
import type { Service, ServiceRoute } from './service.ts'

const MOST_EARLY = 1000 // what is kept of an answer is some kilobytes, and whoever can connect may ask without end

/**
 * The HTTP server from its first moment on: it says that it is there, and has every request that needs the service wait
 * until that is open. Nothing of the service need be loaded before.
 */
export class Entrance {
  readonly #router: Router
  readonly #server: HttpServer
  readonly #opening: Promise<Service>
  #admit: (service: Service) => void = () => undefined
  #sendAway: (reason: HttpError) => void = () => undefined
  #service: Service | undefined
  #early: ((service: Service) => void)[] = []
  #notKept = 0
  #stopping: Promise<void> | undefined

  constructor(config: Config, certificate: Certificate | undefined) {
    this.#opening = new Promise((resolve, reject) => {
      this.#admit = resolve
      this.#sendAway = reject
    })
    this.#opening.catch(() => undefined) // whoever waits is told; nobody else needs to be
    this.#router = new Router({
      '/': { GET: root },
      '/livez': { GET: livez },
      '/readyz': { GET: this.#inService('readyz') },
      '/metrics': { GET: this.#inService('metrics') },
      '/token': { GET: this.#inService('token') },
      '/register': { GET: this.#inService('register') },
      '/submit': { POST: this.#inService('submit') },
    })
    this.#server = new HttpServer({
      router: this.#router,
      cors: new Cors(config.corsOrigins),
      idleSeconds: config.idleSeconds,
      maxConnections: config.maxConnections,
      certificate,
      proxies: new TrustedProxies(config.trustedProxies),
      basePath: config.basePath,
      onAnswered: (answered) => this.#tell((service) => service.answered(answered)),
      onRefused: (error) => this.#tell((service) => service.refused(error)),
    })
  }

  /** Begins to listen, and says where, for people; throws what `listen` says, such as `EADDRINUSE`. */
  async listen(endpoints: readonly Endpoint[]): Promise<readonly string[]> {
    const places: string[] = []
    for (const endpoint of endpoints) places.push(await this.#server.listen(endpoint))
    return places
  }

  /** Says whether a path is one of ours. */
  isRoute(path: string): boolean {
    return this.#router.has(path)
  }

  /** Lets in those that wait, and those that come from now on. */
  open(service: Service): void {
    this.#service = service
    for (const tell of this.#early) tell(service)
    this.#early = []
    if (this.#notKept > 0) service.log.info('the start took long: not all answers are in the access log', { missing: this.#notKept })
    this.#admit(service)
  }

  /** Shows another certificate from the next connection on. */
  renew(certificate: Certificate): void {
    this.#server.renew(certificate)
  }

  /** Takes no new connections, sends away who still waits, and lets all else finish: once, see `HttpServer`. */
  stop(graceSeconds: number): Promise<void> {
    this.#sendAway(new HttpError('stopping'))
    return (this.#stopping ??= this.#server.stop(graceSeconds))
  }

  #inService(route: ServiceRoute): Handler {
    return (exchange) => this.#service?.routes[route](exchange) ?? this.#opening.then((service) => service.routes[route](exchange))
  }

  #tell(work: (service: Service) => void): void {
    if (this.#service !== undefined) work(this.#service)
    else if (this.#early.length < MOST_EARLY) this.#early.push(work)
    else this.#notKept++
  }
}
