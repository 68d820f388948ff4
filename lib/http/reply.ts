import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { HttpError } from '../errors.ts'

/** An answer before it is sent; `body` is sent as JSON, or `text` as it stands. */
export interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: object
  readonly text?: { readonly mediaType: string; readonly content: string }
}

/** Header fields: each name, and its value behind it. An object put together for each answer takes longer, and is more garbage. */
export type Fields = readonly string[]

/** Of every answer. No answer is to be kept: some hold tokens, and none is worth a stale copy. */
export const COMMON_FIELDS: Fields = ['Cache-Control', 'no-store', 'X-Content-Type-Options', 'nosniff']

/** Gives header fields as a list. */
export function toFields(headers: Reply['headers']): Fields {
  return headers === undefined ? [] : Object.entries(headers).flat()
}

/** Makes the id of a request, 8 hex digits, as its answer and the log name it. Chance is taken from the system once for many. */
export function newRequestId(): string {
  return randomUUID().slice(0, 8)
}

/** Makes the answer to a request that is refused, or that failed. */
export function formatRefusal(error: HttpError, requestId: string): Reply {
  return {
    status: error.httpStatus,
    ...(error.httpStatus === 503 ? { headers: { 'Retry-After': '60' } } : {}), // RFC 9110 §10.2.3, in seconds
    body: { status: error.status, code: error.code, message: error.message, request_id: requestId },
  }
}

/** Gives the bytes of an answer's body and their media type, or undefined where it has none. */
export function encodeBody({ body, text }: Reply): { bytes: Buffer; mediaType: string } | undefined {
  if (text !== undefined) return { bytes: Buffer.from(text.content), mediaType: text.mediaType }
  return body === undefined ? undefined : { bytes: Buffer.from(JSON.stringify(body)), mediaType: 'application/json' }
}

/** Writes a whole answer as it goes over the line, for connections that have no request to answer; it closes them. */
export function formatRawReply(reply: Reply, fields: Fields): string {
  const body = JSON.stringify(reply.body ?? {})
  const all = [
    ...fields,
    ...toFields(reply.headers),
    ...['Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(body))],
    ...['Date', new Date().toUTCString(), 'Connection', 'close'],
  ]
  const lines = all.flatMap((name, index) => (index % 2 === 0 ? [`${name}: ${all[index + 1]}`] : []))
  return [`HTTP/1.1 ${reply.status} ${STATUS_CODES[reply.status] ?? ''}`, ...lines, '', body].join('\r\n')
}
