import { HttpError } from '../errors.ts'

/** The parameters of a query: every value of every name, decoded, in the order in which they came. */
export class Query {
  readonly #pairs: readonly (readonly [string, string])[]

  constructor(pairs: readonly (readonly [string, string])[]) {
    this.#pairs = pairs
  }

  /** Gives the one value of a parameter, or undefined where it is missing; throws where it stands there twice. */
  one(name: string): string | undefined {
    const values = this.all(name)
    if (values.length > 1) throw new HttpError('repeated_parameter', { detail: name })
    return values[0]
  }

  /** Gives every value of a parameter. */
  all(name: string): string[] {
    return this.#pairs.filter(([each]) => each === name).map(([, value]) => value)
  }

  /** Gives every parameter but those named. */
  except(names: ReadonlySet<string>): (readonly [string, string])[] {
    return this.#pairs.filter(([name]) => !names.has(name))
  }
}

/** The target of a request (RFC 9112 §3.2): `path` is decoded, without empty segments and trailing slash. */
export interface Target {
  readonly path: string
  readonly query: Query
}

/**
 * Reads the target of a request; throws `malformed_target` where it cannot be decoded.
 * @param basePath what a proxy has left in front of our paths, such as `/vb`; it is taken off where it stands
 */
export function parseTarget(text: string, basePath = ''): Target {
  if (text === '*') return { path: '*', query: new Query([]) }
  const relative = text.startsWith('/') ? text : withoutOrigin(text)
  if (relative.includes('#')) throw new HttpError('malformed_target')
  const mark = relative.indexOf('?')
  const path = decode(mark < 0 ? relative : relative.slice(0, mark))
  return { path: withoutBase(normalise(path), basePath), query: parseQuery(mark < 0 ? '' : relative.slice(mark + 1)) }
}

// RFC 9112 §3.2.2: a server must accept the absolute form.
function withoutOrigin(text: string): string {
  const origin = /^https?:\/\/[^/?#]*/i.exec(text)?.[0]
  if (origin === undefined) throw new HttpError('malformed_target')
  const rest = text.slice(origin.length)
  return rest.startsWith('/') ? rest : `/${rest}`
}

// Real clients send `/token/` and, from a base address that ends in a slash, `//submit`.
function normalise(path: string): string {
  return `/${path.split('/').filter((segment) => segment !== '').join('/')}`
}

// Without it a path is as good: whoever asks beside the proxy does not know of it.
function withoutBase(path: string, basePath: string): string {
  if (path === basePath) return '/'
  return path.startsWith(`${basePath}/`) ? path.slice(basePath.length) : path
}

function parseQuery(text: string): Query {
  const pairs = text.split('&').filter((pair) => pair !== '')
  return new Query(
    pairs.map((pair) => {
      const equals = pair.indexOf('=')
      if (equals < 0) return [decodePlus(pair), '']
      return [decodePlus(pair.slice(0, equals)), decodePlus(pair.slice(equals + 1))]
    }),
  )
}

function decodePlus(text: string): string {
  return decode(text.replaceAll('+', ' '))
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    throw new HttpError('malformed_target', { cause: error })
  }
}
