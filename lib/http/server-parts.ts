import type { HttpError } from '../errors.ts'
import type { Answered } from './answered.ts'
import type { Certificate } from './certificate.ts'
import type { Cors } from './cors.ts'
import type { TrustedProxies } from './proxies.ts'
import type { Router } from './router.ts'

/** What the server needs from outside. */
export interface HttpServerParts {
  readonly router: Router
  readonly cors: Cors
  /** How long a client may stand still: with its body, or with taking its answer. */
  readonly idleSeconds: number
  readonly maxConnections: number
  /** How long the head of a request may take; 60 where it is not given. */
  readonly headSeconds?: number
  /** With it connections speak TLS. */
  readonly certificate?: Certificate | undefined
  readonly proxies: TrustedProxies
  /** What a proxy leaves in front of our paths. */
  readonly basePath: string
  readonly onAnswered: (answered: Answered) => void
  /** Is told of each refusal on a connection that has no request to answer. */
  readonly onRefused: (error: HttpError) => void
}
