import type { HttpError } from './errors.ts'
import type { Answered } from './http/answered.ts'
import type { Log } from './log.ts'

/** Says whether a request failed through no fault of its sender. */
export function isOurFault({ code }: HttpError): boolean {
  return code === 'internal' || code === 'unusable_project'
}

/** Writes what became of a request into the access log, and into the log what it was refused for, or failed of. */
export function logAnswer(log: Log, { requestId, request, client, path, status, bytes, answeredAtMs, error }: Answered): void {
  log.access({
    answeredAtMs,
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
