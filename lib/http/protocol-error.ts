import { HttpError, systemCode } from '../errors.ts'

/** Turns an error of Node's HTTP parser into the refusal it is told with; undefined where nobody is left to be told. */
export function toProtocolError(error: Error): HttpError | undefined {
  const code = systemCode(error) ?? ''
  if (code === 'ECONNRESET' || code === 'EPIPE') return undefined
  if (code === 'HPE_HEADER_OVERFLOW') return new HttpError('header_too_large')
  if (code === 'HPE_INVALID_EOF_STATE') return new HttpError('incomplete_body')
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new HttpError('request_timeout')
  return new HttpError('malformed_request', { cause: error })
}
