import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { systemCode } from './errors.ts'

/** One setting: an environment variable, its flag on the command line where it has one, and how its text is read. */
export interface Setting<Value> {
  readonly variable: string
  readonly flag?: string
  /** What stands for the value in the help. */
  readonly placeholder: string
  /** What the setting does, for the help and the README. */
  readonly description: string
  /** The value where none is given, as it would be written. */
  readonly fallback: string
  /** What is allowed, to end the sentence "… is not allowed: use". */
  readonly allowed: string
  readonly isSecret?: boolean
  /** Reads a text that is not empty; undefined where it is not allowed. */
  readonly parse: (text: string) => Value | undefined
  /** The value where nothing is given. */
  readonly otherwise: () => Value
}

const setting = <Value>(row: Setting<Value>): Setting<Value> => row

const wholeNumber = (least: number, most: number) => ({
  allowed: `a whole number from ${least} to ${most}`,
  parse: (text: string) => {
    const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
    return number >= least && number <= most ? number : undefined
  },
})

const amount = (row: { variable: string; flag: string; description: string; fallback: number; least: number; most: number }) =>
  setting({
    variable: row.variable,
    flag: row.flag,
    placeholder: 'N',
    description: row.description,
    fallback: String(row.fallback),
    ...wholeNumber(row.least, row.most),
    otherwise: () => row.fallback,
  })

const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB

/** Every setting there is. The help, the README and the checks of the start all come from here. */
export const SETTINGS = {
  host: setting({
    variable: 'HOST',
    flag: 'host',
    placeholder: 'ADDRESS',
    description: 'address to listen on',
    fallback: '0.0.0.0',
    allowed: 'an IP address or a host name',
    parse: (text) => (/^[A-Za-z0-9.:_-]{1,255}$/.test(text) ? text : undefined),
    otherwise: () => '0.0.0.0',
  }),
  port: setting({
    variable: 'PORT',
    flag: 'port',
    placeholder: 'N',
    description: 'port to listen on; 0 takes a free one',
    fallback: '8000',
    ...wholeNumber(0, 65_535),
    otherwise: () => 8000,
  }),
  basedir: setting({
    variable: 'REPROSCHEMA_BACKEND_BASEDIR',
    flag: 'basedir',
    placeholder: 'DIRECTORY',
    description: 'directory that holds everything the server keeps',
    fallback: 'reproschema_backend in the working directory',
    allowed: 'the path of a directory',
    parse: (text) => (text.includes('\0') ? undefined : resolve(text)),
    otherwise: () => resolve('reproschema_backend'),
  }),
  token: setting<string | undefined>({
    variable: 'REPROSCHEMA_BACKEND_TOKEN',
    placeholder: 'TOKEN',
    description: 'the admin token; never printed',
    fallback: 'made anew at each start, and printed',
    allowed: '8 to 200 visible ASCII characters',
    isSecret: true,
    parse: parseToken,
    otherwise: () => undefined,
  }),
  tokenFile: setting<string | undefined>({
    variable: 'REPROSCHEMA_BACKEND_TOKEN_FILE',
    flag: 'token-file',
    placeholder: 'FILE',
    description: 'file that holds the admin token',
    fallback: 'none',
    allowed: 'a file that can be read and holds 8 to 200 visible ASCII characters',
    parse: readToken,
    otherwise: () => undefined,
  }),
  corsOrigins: setting<readonly string[] | '*'>({
    variable: 'REPROSCHEMA_BACKEND_CORS_ORIGINS',
    flag: 'cors-origins',
    placeholder: 'ORIGINS',
    description: 'origins whose pages may use the server, separated by commas',
    fallback: '*',
    allowed: '* or origins such as https://study.example.org, separated by commas',
    parse: parseOrigins,
    otherwise: () => '*',
  }),
  maxRequestBytes: amount({
    variable: 'REPROSCHEMA_BACKEND_MAX_REQUEST_BYTES',
    flag: 'max-request-bytes',
    description: 'largest request, in bytes',
    fallback: 5 * GiB,
    least: 1,
    most: 1024 * GiB,
  }),
  maxFieldBytes: amount({
    variable: 'REPROSCHEMA_BACKEND_MAX_FIELD_BYTES',
    flag: 'max-field-bytes',
    description: 'text fields of one form together, or a JSON or urlencoded body, in bytes',
    fallback: 16 * MiB,
    least: 1,
    most: GiB,
  }),
  maxParts: amount({
    variable: 'REPROSCHEMA_BACKEND_MAX_PARTS',
    flag: 'max-parts',
    description: 'parts of one form',
    fallback: 1000,
    least: 1,
    most: 100_000,
  }),
  maxPartHeaderBytes: amount({
    variable: 'REPROSCHEMA_BACKEND_MAX_PART_HEADER_BYTES',
    flag: 'max-part-header-bytes',
    description: 'header of one part, or name of one field, in bytes',
    fallback: 16 * KiB,
    least: 256,
    most: MiB,
  }),
  maxPreambleBytes: amount({
    variable: 'REPROSCHEMA_BACKEND_MAX_PREAMBLE_BYTES',
    flag: 'max-preamble-bytes',
    description: 'text before the first part of a form, in bytes',
    fallback: 64 * KiB,
    least: 0,
    most: GiB,
  }),
  reserveBytes: setting<number | undefined>({
    variable: 'REPROSCHEMA_BACKEND_RESERVE_BYTES',
    flag: 'reserve-bytes',
    placeholder: 'N',
    description: 'free space that no upload may take, in bytes',
    fallback: 'the smaller of 1 GiB and 5 % of the file system',
    ...wholeNumber(0, 1024 * 1024 * GiB),
    otherwise: () => undefined,
  }),
  maxConnections: amount({
    variable: 'REPROSCHEMA_BACKEND_MAX_CONNECTIONS',
    flag: 'max-connections',
    description: 'connections at once',
    fallback: 5000,
    least: 1,
    most: 1_000_000,
  }),
  maxSubmissions: amount({
    variable: 'REPROSCHEMA_BACKEND_MAX_SUBMISSIONS',
    flag: 'max-submissions',
    description: 'submissions being received whose token is not known yet; one address has a quarter',
    fallback: 2000,
    least: 1,
    most: 1_000_000,
  }),
  maxUnknownBytes: amount({
    variable: 'REPROSCHEMA_BACKEND_MAX_UNKNOWN_BYTES',
    flag: 'max-unknown-bytes',
    description: 'bytes being received whose token is not known yet, in all',
    fallback: 24 * GiB,
    least: 1,
    most: 1024 * GiB,
  }),
  maxUnknownBytesPerAddress: amount({
    variable: 'REPROSCHEMA_BACKEND_MAX_UNKNOWN_BYTES_PER_ADDRESS',
    flag: 'max-unknown-bytes-per-address',
    description: 'the same, from one address',
    fallback: 6 * GiB,
    least: 1,
    most: 1024 * GiB,
  }),
  idleSeconds: amount({
    variable: 'REPROSCHEMA_BACKEND_IDLE_SECONDS',
    flag: 'idle-seconds',
    description: 'how long an upload may stand still, in seconds',
    fallback: 60,
    least: 1,
    most: 3600,
  }),
  stopSeconds: amount({
    variable: 'REPROSCHEMA_BACKEND_STOP_SECONDS',
    flag: 'stop-seconds',
    description: 'how long a stop waits for uploads under way, in seconds',
    fallback: 30,
    least: 0,
    most: 3600,
  }),
  isDevelopment: setting({
    variable: 'DEV8dac6d02a913',
    placeholder: '1',
    description: 'development mode: the console shows everything, local callbacks are allowed',
    fallback: 'not set',
    allowed: 'anything',
    parse: () => true,
    otherwise: () => false,
  }),
}

function parseToken(text: string): string | undefined {
  return /^[\x21-\x7e]{8,200}$/.test(text) ? text : undefined
}

function readToken(path: string): string | undefined {
  try {
    return parseToken(readFileSync(path, 'utf8').trim())
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return undefined
  }
}

function parseOrigins(text: string): readonly string[] | '*' | undefined {
  if (text.trim() === '*') return '*'
  const origins = text.split(/[\s,]+/).filter((origin) => origin !== '')
  return origins.length > 0 && origins.every(isOrigin) ? Object.freeze(origins) : undefined
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && /^https?:/.test(text) && new URL(text).origin === text
}
