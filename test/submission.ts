import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { filesOf, listUploads, request, until, type Answer, type Running, type StoredFile } from './harness.ts'

/** The boundary of the forms written here: with a dash and an underscore, as real ones have. */
export const BOUNDARY = '----form_boundary-7MA4YWxk'

/** The media type of the forms written here. */
export const MULTIPART = `multipart/form-data; boundary=${BOUNDARY}`

/** One part as it goes over the line: its header block without the empty line after it, and its content. */
export interface RawPart {
  readonly header: string | Buffer
  readonly content: string | Buffer
}

/** A text field as browsers write it. */
export function textPart(name: string, content: string | Buffer): RawPart {
  return { header: `Content-Disposition: form-data; name="${name}"`, content }
}

/** A file as browsers write it; the names go over the line as they are. */
export function filePart(name: string, filename: string, content: string | Buffer): RawPart {
  const disposition = `Content-Disposition: form-data; name="${name}"; filename="${filename}"`
  return { header: `${disposition}\r\nContent-Type: application/octet-stream`, content }
}

/** Writes a form. */
export function formatMultipart(parts: readonly RawPart[], boundary = BOUNDARY): Buffer {
  const pieces = parts.flatMap(({ header, content }) => [`--${boundary}\r\n`, header, '\r\n\r\n', content, '\r\n'])
  return Buffer.concat([...pieces, `--${boundary}--\r\n`].map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece)))
}

/** A field of a form, whatever its media type. */
export type Field = readonly [name: string, value: string | Buffer]

/** The media types that `/submit` takes, and how fields are written in each; `responses` is a JSON text in all of them. */
export const FORMATS = [
  {
    mediaType: 'multipart/form-data',
    contentType: MULTIPART,
    format: (fields: readonly Field[]) => formatMultipart(fields.map(([name, value]) => textPart(name, value))),
  },
  {
    mediaType: 'application/x-www-form-urlencoded',
    contentType: 'application/x-www-form-urlencoded',
    format: (fields: readonly Field[]) => Buffer.from(fields.map((field) => field.map(percentEncode).join('=')).join('&')),
  },
  { mediaType: 'application/json', contentType: 'application/json', format: formatJson },
] as const

function percentEncode(value: string | Buffer): string {
  return [...Buffer.from(value)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')
}

function formatJson(fields: readonly Field[]): Buffer {
  const members = fields.map(([name, value]) => {
    const text = name === 'responses' ? Buffer.from(value) : Buffer.from(JSON.stringify(value.toString()))
    return Buffer.concat([Buffer.from(`${JSON.stringify(name)}:`), text])
  })
  const pieces = members.flatMap((member, index) => (index === 0 ? [member] : [Buffer.from(','), member]))
  return Buffer.concat([Buffer.from('{'), ...pieces, Buffer.from('}')])
}

/** Sends a body to `/submit`, as a multipart form unless `headers` says otherwise. */
export function post(
  server: { url: string },
  body: string | Buffer,
  { headers = {}, query = '' }: { headers?: Readonly<Record<string, string>>; query?: string } = {},
): Promise<Answer> {
  return request(`${server.url}/submit${query}`, { method: 'POST', body, headers: { 'content-type': MULTIPART, ...headers } })
}

/** Checks that a submission was accepted, and gives what was stored. */
export function assertAccepted(answer: Answer): StoredFile[] {
  assert.equal(answer.status, 200, answer.text)
  assert.equal(answer.json['status'], 'accepted')
  assert.equal(answer.headers.get('access-control-allow-origin'), '*')
  return filesOf(answer)
}

/** Checks that a request was refused in words that its sender can read. */
export function assertRefused(answer: Answer, expected: { status: number; code: string }): void {
  assert.deepEqual({ status: answer.status, code: answer.json['code'] }, expected, answer.text)
  assert.equal(answer.headers.get('content-type'), 'application/json')
  assert.equal(answer.headers.get('access-control-allow-origin'), '*')
  assert.match(String(answer.json['message']), /^[A-Z].*\.$|^[a-z_]+ .*\.$/)
}

/**
 * Checks that others are answered while something goes on. Two seconds are what a participant would notice, and an answer
 * usually takes a few milliseconds; where the machine itself is that slow, none takes half of what goes on.
 */
export async function assertServesOthers(server: { url: string }, busy: Promise<unknown>): Promise<void> {
  let isOver = false
  void busy.finally(() => (isOver = true))
  const began = performance.now()
  let longestMs = 0
  do {
    const asked = performance.now()
    assert.equal((await request(`${server.url}/`)).status, 200)
    longestMs = Math.max(longestMs, performance.now() - asked)
  } while (!isOver)
  const wholeMs = performance.now() - began
  assert.ok(longestMs < 2000 || longestMs < wholeMs / 2, `an answer took ${longestMs} ms of ${wholeMs}`)
}

/** Waits until the server holds no more than what it held before. */
export async function nothingIsLeft(server: Running, before: readonly string[] = []): Promise<void> {
  await until('nothing of a refused upload is left', async () => sameList(await listUploads(server.basedir), before))
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index])
}

/** Reads what was stored under a name. */
export function readStored(server: Running, file: StoredFile | undefined, project = 'study'): Promise<Buffer> {
  return readFile(join(server.basedir, 'uploads', 'responses', project, file?.stored_as ?? ''))
}
