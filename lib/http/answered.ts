import type { IncomingMessage } from 'node:http'
import type { HttpError } from '../errors.ts'
import type { Client } from './proxies.ts'

/** What the server tells of each answer. */
export interface Answered {
  readonly requestId: string
  readonly request: IncomingMessage
  readonly client: Client
  readonly path: string
  readonly status: number
  readonly bytes: number
  readonly answeredAtMs: number
  readonly milliseconds: number
  /** Why the request was refused or failed, or undefined where it was not. */
  readonly error: HttpError | undefined
}
