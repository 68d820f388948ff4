/** The texts of one refusal. `status` is what the seed server said, where it had a word for it. */
interface Refusal {
  readonly http: number
  readonly status: string
  readonly message: string
}

const refused = (http: number, message: string): Refusal => ({ http, status: 'refused', message })
const failed = (http: number, message: string): Refusal => ({ http, status: 'failed', message })

/** Every refusal this server knows, by its machine code. Codes are for ever: never reused, never given a new meaning. */
const REFUSALS = {
  // Requests that are not HTTP as RFC 9110 and RFC 9112 define it.
  malformed_request: refused(400, 'This request is not valid HTTP. Please update the app that sent it.'),
  malformed_target: refused(400, 'The address of this request cannot be decoded. Check the percent-encoding in it.'),
  incomplete_body: refused(400, 'The upload ended before all of it had arrived. Please send it again.'),
  request_timeout: refused(408, 'The upload stopped for too long. Check the connection and send it again.'),
  header_too_large: refused(431, 'The address or the header of this request is too large.'),
  expectation_failed: refused(417, 'The only expectation this server meets is 100-continue.'),
  not_found: refused(404, 'There is nothing at this address. The routes are /, /token, /register, /submit, /livez, /readyz and /metrics.'),
  method_not_allowed: refused(405, 'This address does not take that method. The Allow header lists those it takes.'),

  // Parameters of /token and /register.
  repeated_parameter: refused(400, 'A parameter stands in the query more than once. Send it once.'),
  invalid_project: refused(
    400,
    'project must be 1 to 100 characters of A-Z a-z 0-9 . _ - and begin with a letter, a digit or an underscore.',
  ),
  invalid_expiry_minutes: refused(400, 'expiry_minutes must be a whole number from 1 to 525600.'),
  invalid_participant_id: refused(400, 'participant_id must be 1 to 200 characters without control characters.'),
  missing_callback_url: refused(400, 'callback_url is missing. Give the address of the web app.'),
  invalid_callback_url: refused(
    400,
    'callback_url must be an absolute http: or https: address of at most 2000 characters, without user name or password, and without auth_token, expires and expiry_time.',
  ),

  // Permission. The words in `status` are the seed server's.
  not_authorized: { http: 403, status: 'not_authorized', message: 'The admin token is missing. Add ?token=TOKEN, or for /metrics the header Authorization: Bearer TOKEN.' },
  not_authorized_token: {
    http: 403,
    status: 'not_authorized_token',
    message: 'This is not the admin token of this server.',
  },
  not_authorized_url: {
    http: 403,
    status: 'not_authorized_url',
    message: 'callback_url points to a local or private address. That is allowed in development mode only.',
  },
  not_authorized_project: {
    http: 403,
    status: 'not_authorized',
    message: 'This client_id is registered for another project. Leave project out.',
  },
  unknown_client: { http: 403, status: 'not_authorized', message: 'This client_id is not registered. Use /register.' },
  unauthorized: {
    http: 403,
    status: 'Unauthorized',
    message: 'The auth_token is missing. Open the link that you were given again.',
  },
  unauthorized_token: {
    http: 403,
    status: 'Unauthorized token',
    message: 'This auth_token is not known here. Open the link that you were given again.',
  },
  token_expired: {
    http: 403,
    status: 'Token expired',
    message: 'This auth_token has expired. Ask the study team for a new link.',
  },
  conflicting_credentials: refused(400, 'Two different auth tokens came with this request. Send one.'),

  // The body of a submission.
  unsupported_media_type: refused(
    415,
    'Send multipart/form-data, application/x-www-form-urlencoded or application/json.',
  ),
  unsupported_content_encoding: refused(415, 'Send the body as it is, without Content-Encoding.'),
  malformed_form: refused(400, 'The form in this request cannot be read. Please send it again.'),
  malformed_json: refused(400, 'The body is not one JSON object. Check it and send it again.'),
  malformed_text: refused(400, 'A text field of the form is not UTF-8.'),
  invalid_responses: refused(400, 'The field responses is not exactly one JSON value. Check it and send it again.'),
  repeated_field: refused(400, 'The field auth_token or responses stands in the form more than once. Send it once.'),
  request_too_large: refused(413, 'This upload is larger than this server accepts.'),
  fields_too_large: refused(413, 'The text fields of this form are larger than this server accepts.'),
  too_many_parts: refused(413, 'This form has more parts than this server accepts.'),
  part_header_too_large: refused(413, 'The name or the header of a field of this form is too large.'),
  // 400 as the other ways to name a boundary that is not in the body: what its parser sees is a preamble without an end.
  preamble_too_large: refused(400, 'There is too much text before the first part of this form.'),

  unusable_project: failed(409, 'This study cannot take data now. Please keep your data and tell the study team.'),

  // What is our fault, or our limit.
  internal: failed(500, 'Something went wrong on our side. Please send it again in a few minutes.'),
  key_not_proven: failed(503, 'This study cannot take data yet: the key for its data is not ready. Please tell the study team.'),
  too_busy: failed(503, 'The server is busy. Please send it again in a minute.'),
  stopping: failed(503, 'The server is restarting. Please send it again in a minute.'),
  insufficient_storage: failed(507, 'The server has no room left. Please keep your data and tell the study team.'),
} satisfies Record<string, Refusal>

/** A machine code of a refusal. */
export type ErrorCode = keyof typeof REFUSALS

/**
 * The one error that crosses module boundaries: what a client is told.
 * `message` is for a participant; `detail` and `cause` are for the log only.
 */
export class HttpError extends Error {
  readonly code: ErrorCode
  readonly httpStatus: number
  readonly status: string
  readonly detail: string | undefined

  constructor(code: ErrorCode, options: { detail?: string; cause?: unknown } = {}) {
    const { http, status, message } = REFUSALS[code]
    super(message, { cause: options.cause })
    this.name = 'HttpError'
    this.code = code
    this.httpStatus = http
    this.status = status
    this.detail = options.detail
  }
}

const SYSTEM_ERRORS: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'insufficient_storage',
  EDQUOT: 'insufficient_storage',
  'Unknown system error -122': 'insufficient_storage', // what Node calls EDQUOT on Linux: libuv has no name for it
  EFBIG: 'insufficient_storage',
  EMFILE: 'too_busy',
  ENFILE: 'too_busy',
}

/** Turns whatever was thrown into the error the client is told of; what nobody foresaw becomes `internal`. */
export function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error
  return new HttpError(SYSTEM_ERRORS[systemCode(error) ?? ''] ?? 'internal', { cause: error })
}

/** The code of a system error, such as `ENOENT`, or undefined where `error` is none. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
