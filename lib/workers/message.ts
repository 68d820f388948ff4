import { RecipientsError } from '../access/recipients-error.ts'
import { CertificateError } from '../http/certificate-error.ts'
import type { LogName } from '../log-relay.ts'
import type { Family } from '../metrics/family.ts'

/** What the primary process tells a worker. The admin token travels here alone: never in arguments or an environment. */
export type ToWorker =
  | { readonly type: 'start'; readonly adminToken: string }
  | { readonly type: 'reload' }
  | { readonly type: 'stop' }
  | { readonly type: 'measure'; readonly question: number }
  | { readonly type: 'metrics'; readonly question: number; readonly families: readonly Family[] }

/** What a worker tells the primary process; `here` says that it can be told something now. */
export type FromWorker =
  | { readonly type: 'here' }
  | { readonly type: 'started'; readonly announced: readonly string[] }
  | { readonly type: 'failed'; readonly failure: Failure }
  | { readonly type: 'log'; readonly name: LogName; readonly line: string }
  | { readonly type: 'print'; readonly line: string }
  | { readonly type: 'submission failed'; readonly code: string; readonly requestId: string }
  | { readonly type: 'measured'; readonly question: number; readonly families: readonly Family[] }
  | { readonly type: 'metrics wanted'; readonly question: number }
  | { readonly type: 'stopped' }

/** Errors whose message says all: where a server cannot start, nothing is put in front of it. */
const KINDS = { certificate: CertificateError, recipients: RecipientsError } as const

/** An error on its way from one process to another. */
export interface Failure {
  readonly kind: keyof typeof KINDS | undefined
  readonly message: string
  readonly code: string | undefined
  readonly syscall: string | undefined
}

/** Describes an error for the other process. */
export function formatFailure(error: unknown): Failure {
  if (!(error instanceof Error)) return { kind: undefined, message: String(error), code: undefined, syscall: undefined }
  const { code, syscall } = error as { code?: unknown; syscall?: unknown }
  return { kind: kindOf(error), message: error.message, code: textOf(code), syscall: textOf(syscall) }
}

/** Makes an error of what the other process described. */
export function parseFailure({ kind, message, code, syscall }: Failure): Error {
  const error = kind === undefined ? new Error(message) : new KINDS[kind](message)
  return Object.assign(error, code === undefined ? {} : { code }, syscall === undefined ? {} : { syscall })
}

function kindOf(error: Error): Failure['kind'] {
  if (error instanceof CertificateError) return 'certificate'
  return error instanceof RecipientsError ? 'recipients' : undefined
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
