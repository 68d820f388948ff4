import { randomBytes } from 'node:crypto'
import { open, readdir, rm } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemCode } from '../errors.ts'
import { findStats } from '../identity.ts'
import type { Layout } from '../store/layout.ts'
import { examineValidity } from './certificate.ts'
import { failed, ok, warning, type Finding } from './finding.ts'
import { visit, type Visited } from './visit.ts'

const LARGE_BYTES = 11_000_000 // more than a slice of reproschema-ui, which many a proxy refuses
const PIECE_BYTES = 64 * 1024
const SLOW_PIECE_BYTES = 200_000
const SLOW_PIECE_MS = 1000
const NO_HEADER = '\0'.repeat(32)
const [WARN_SECONDS, FAIL_SECONDS] = [30, 300]
const BOUNDARY = 'reproschema-backend-doctor'

/** What the examination from outside works with. */
export interface PublicParts {
  /** The address that participants' browsers use, without a slash at its end. */
  readonly url: string
  readonly layout: Layout
  /** A project of its own, which is removed afterwards. */
  readonly project: string
  readonly authToken: string
  /** A web page's origin that may use the server. */
  readonly origin: string
  readonly slowSeconds: number
  /** Is told of each finding when it is known. */
  readonly tell: (finding: Finding) => void
}

/** Looks at the server as a participant's browser does, through whatever stands in front of it. */
export async function examinePublic(parts: PublicParts): Promise<void> {
  try {
    if (!(await meet(parts))) return
    await refuse(parts)
    if (!(await submitSmall(parts))) return
    await submitLarge(parts)
    await submitSlowly(parts)
  } finally {
    for (const path of [parts.layout.responsesOf(parts.project), parts.layout.receiptsOf(parts.project)]) {
      await rm(path, { recursive: true, force: true }) // ours alone, of random name: no participant has sent anything to it
    }
  }
}

async function meet({ url, tell }: PublicParts): Promise<boolean> {
  let answer: Visited
  try {
    answer = await visit(new URL(`${url}/`))
  } catch (error) {
    tell(failed('public URL', `no answer from ${url}: ${describe(error)}`, isCertificate(error) ? 'renew the certificate, with its whole chain (certbot renew; nginx: ssl_certificate fullchain.pem)' : 'check the name, the firewall and the proxy'))
    return false
  }
  tell(examineTls(url, answer))
  const isOurs = answer.status === 200 && answer.json['hello'] === 'world'
  const prefix = new URL(url).pathname
  const change = prefix === '/' ? 'nginx: proxy_pass http://127.0.0.1:8000;' : `nginx: location ${prefix}/ { proxy_pass http://127.0.0.1:8000/; }, with the slash at the end`
  tell(isOurs ? ok('path prefix', `${url}/ reaches the server`) : failed('path prefix', `${url}/ is answered with ${answer.status} by something else`, change))
  const date = Date.parse(answer.headers.date ?? '')
  if (!Number.isNaN(date)) tell(examineClock((Date.now() - date) / 1000))
  return isOurs
}

function examineTls(url: string, { certificateEnds }: Visited): Finding {
  if (certificateEnds === undefined) {
    const { hostname } = new URL(url)
    const isHere = hostname === 'localhost' || hostname === '[::1]' || (isIP(hostname) === 4 && hostname.startsWith('127.'))
    const says = isHere ? 'none: this address is on this machine, and shows nothing of the way of participants' : 'none: what participants send can be read on its way'
    return warning('TLS', says, 'use an https:// address, with a certificate in the proxy')
  }
  return examineValidity('TLS', certificateEnds)
}

function examineClock(seconds: number): Finding {
  const off = Math.abs(Math.round(seconds))
  const says = `the public URL and this machine are ${off} s apart`
  if (off <= WARN_SECONDS) return ok('clock', says)
  return (off <= FAIL_SECONDS ? warning : failed)('clock', says, 'timedatectl set-ntp true, on both')
}

async function refuse(parts: PublicParts): Promise<void> {
  const answer = await attempt(parts, 'CORS', { 'Content-Type': 'application/x-www-form-urlencoded', 'Content-Length': '0' }, [], `${parts.project}-${'0'.repeat(32)}`)
  if (answer === undefined) return
  const isReadable = allowsOrigin(answer, parts.origin)
  if (answer.json['code'] !== 'unauthorized_token') parts.tell(failed('CORS', `a refusal came as ${answer.status} from something else`, 'nginx: no error_page and no proxy_intercept_errors'))
  else if (isReadable) parts.tell(ok('CORS', 'a page can read a refusal'))
  else parts.tell(failed('CORS', 'a page cannot read a refusal: Access-Control-Allow-Origin is gone', 'nginx: no proxy_hide_header; and REPROSCHEMA_BACKEND_CORS_ORIGINS with the origin of the app'))
}

function allowsOrigin({ headers }: Visited, origin: string): boolean {
  const allowed = headers['access-control-allow-origin']
  return allowed === '*' || allowed === origin
}

async function submitSmall(parts: PublicParts): Promise<boolean> {
  const { layout, project, tell } = parts
  const answer = await submit(parts, 'submission', [Buffer.from('doctor\n')], 7)
  if (answer === undefined) return false
  const says = `${answer.status} ${String(answer.json['code'] ?? '')}`.trim()
  if (answer.status !== 200) {
    const isOther = answer.json['code'] === 'unauthorized_token'
    tell(isOther ? failed('base directory', 'the server behind the public URL has another one', 'proxy_pass to the right port, or the right --basedir') : failed('submission', `it was answered with ${says}`, 'see logs/error.log'))
    return false
  }
  const stored = (answer.json['files'] as readonly { stored_as: string }[] | undefined)?.[0]?.stored_as ?? ''
  const found = await findStats(join(layout.responsesOf(project), stored))
  tell(found?.isFile() === true ? ok('submission', 'it was stored in this base directory') : failed('base directory', 'the submission was accepted, and is not in this one', 'the right --basedir'))
  return found?.isFile() === true
}

async function submitLarge(parts: PublicParts): Promise<void> {
  const pieces = Array.from({ length: Math.ceil(LARGE_BYTES / PIECE_BYTES) }, () => Buffer.alloc(PIECE_BYTES, 'doctor '))
  const answer = await submit(parts, 'large upload', pieces, pieces.length * PIECE_BYTES, 'nginx: client_max_body_size 0;')
  if (answer === undefined) return
  if (answer.status === 200) return parts.tell(ok('large upload', '11 MB were accepted'))
  const isOurs = typeof answer.json['code'] === 'string'
  const change = isOurs ? 'a larger REPROSCHEMA_BACKEND_MAX_REQUEST_BYTES' : 'nginx: client_max_body_size 0;'
  const unseen = allowsOrigin(answer, parts.origin) ? '' : ', which the page cannot even read'
  const other = isOurs ? 'see logs/error.log, and the free space above' : 'see the logs of the proxy'
  parts.tell(failed('large upload', `11 MB were refused with ${answer.status} by ${isOurs ? 'the server' : 'the proxy'}${unseen}`, answer.status === 413 ? change : other))
}

async function submitSlowly(parts: PublicParts): Promise<void> {
  const { slowSeconds, tell } = parts
  if (slowSeconds === 0) return
  const count = Math.max(2, Math.ceil((slowSeconds * 1000) / SLOW_PIECE_MS))
  const mark = randomBytes(16).toString('hex')
  const known = new Set(await readdir(parts.layout.staging, { recursive: true }))
  const began = performance.now()
  let isStreamed = false
  async function* pieces() {
    for (let index = 0; index < count; index++) {
      yield Buffer.from(mark.repeat(SLOW_PIECE_BYTES / mark.length))
      await sleep(SLOW_PIECE_MS)
      isStreamed ||= await isStaged(parts.layout, mark, known) // before all of it is sent
    }
  }
  const timeouts = 'nginx: client_body_timeout 1h; proxy_send_timeout 1h; proxy_read_timeout 1h;'
  const answer = await submit(parts, 'slow upload', pieces(), count * SLOW_PIECE_BYTES, timeouts)
  if (answer === undefined) return
  const seconds = Math.round((performance.now() - began) / 1000)
  if (answer.status !== 200) tell(failed('slow upload', `it was refused with ${answer.status} after ${seconds} s`, answer.status === 413 ? 'nginx: client_max_body_size 0;' : timeouts))
  else if (isStreamed) tell(ok('slow upload', `${seconds} s were accepted, and passed on as they came`))
  else tell(warning('slow upload', 'the proxy keeps all of an upload before it passes it on: twice the disk and twice the time', 'nginx: proxy_request_buffering off;'))
}

// A file that is encrypted begins with nothing until all of it has come: one that has come meanwhile is taken for ours.
async function isStaged(layout: Layout, mark: string, known: ReadonlySet<string>): Promise<boolean> {
  for (const entry of await readdir(layout.staging, { recursive: true })) {
    if (!entry.endsWith('.part') || known.has(entry)) continue
    if ([mark, NO_HEADER].includes(await startOf(join(layout.staging, entry)))) return true
  }
  return false
}

async function startOf(path: string): Promise<string> {
  try {
    const handle = await open(path, 'r')
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(32), 0, 32, 0).finally(() => handle.close())
    return buffer.toString('latin1', 0, bytesRead)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return '' // published or discarded at this moment
    throw error
  }
}

/** Submits one file, the token in the head as well, so that a bad one would be refused at once. */
function submit(parts: PublicParts, subject: string, pieces: Iterable<Buffer> | AsyncIterable<Buffer>, bytes: number, change?: string): Promise<Visited | undefined> {
  const head = Buffer.from(`--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="doctor.bin"\r\n\r\n`)
  const tail = Buffer.from(`\r\n--${BOUNDARY}--\r\n`)
  async function* body() {
    yield head
    yield* pieces
    yield tail
  }
  const headers = { 'Content-Type': `multipart/form-data; boundary=${BOUNDARY}`, 'Content-Length': String(head.length + bytes + tail.length) }
  return attempt(parts, subject, headers, body(), parts.authToken, change)
}

async function attempt(
  { url, origin, tell }: PublicParts,
  subject: string,
  headers: Readonly<Record<string, string>>,
  body: Iterable<Buffer> | AsyncIterable<Buffer>,
  authToken: string,
  change = 'see the logs of the proxy',
): Promise<Visited | undefined> {
  const began = performance.now()
  try {
    return await visit(new URL(`${url}/submit`), { method: 'POST', headers: { ...headers, Origin: origin, Authorization: `Bearer ${authToken}` }, body })
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    tell(failed(subject, `the connection was cut after ${Math.round((performance.now() - began) / 1000)} s: ${describe(error)}`, change))
    return undefined
  }
}

function isCertificate(error: unknown): boolean {
  return /CERT|SIGNED|SIGNATURE|ISSUER|ALTNAME/.test(systemCode(error) ?? '')
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message || String(systemCode(error)) : String(error)
}
