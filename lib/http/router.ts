import { HttpError } from '../errors.ts'
import type { Exchange } from './exchange.ts'
import type { Reply } from './reply.ts'

/** Answers one request. */
export type Handler = (exchange: Exchange) => Promise<Reply>

/** The handlers of each path, by method. HEAD is answered wherever GET is, OPTIONS everywhere. */
export type Routes = Readonly<Record<string, Readonly<Partial<Record<'GET' | 'POST', Handler>>>>>

/** Where a request goes: to a handler, or back with the methods that the path takes. */
export class Router {
  readonly #routes: ReadonlyMap<string, Readonly<Partial<Record<string, Handler>>>>

  constructor(routes: Routes) {
    this.#routes = new Map(Object.entries(routes))
  }

  /** Finds the handler of a request; throws `not_found` or `method_not_allowed`. */
  find(method: string, path: string): Handler {
    const methods = this.#routes.get(path)
    if (methods === undefined) throw new HttpError('not_found')
    const handler = method === 'HEAD' ? methods['GET'] : Object.hasOwn(methods, method) ? methods[method] : undefined
    if (handler === undefined) throw new HttpError('method_not_allowed')
    return handler
  }

  /** Says whether there is such a path. */
  has(path: string): boolean {
    return this.#routes.has(path)
  }

  /** The methods that a path takes, for the field `Allow`. */
  methodsOf(path: string): string {
    const methods = Object.keys(this.#routes.get(path) ?? {})
    return [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ')
  }
}
