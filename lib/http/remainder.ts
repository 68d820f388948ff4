import type { IncomingMessage } from 'node:http'
import type { HttpError } from '../errors.ts'

/** Says whether what stands behind a refused body, or a head that two readers may read in two ways, may be no request at all. */
export function isSuspect(request: IncomingMessage, error: HttpError | undefined): boolean {
  const hasBody = request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined
  return hasBody || error?.code === 'malformed_request'
}

/** Says whether nothing more is to come: of a client that stood still, or that waits for our 100 (Continue). */
export function isStalled(request: IncomingMessage, error: HttpError | undefined): boolean {
  return error?.code === 'request_timeout' || request.headers.expect !== undefined
}
