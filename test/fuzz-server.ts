import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { listUploads, request, sendRaw, until, type StoredFile } from './harness.ts'
import { makeChance, type Chance } from './seeded.ts'
import { sha256Of } from './sha256.ts'

const HEADS = [
  'Content-Type: multipart/form-data; boundary=BOUNDARY',
  'Content-Type: multipart/form-data; boundary="BOUNDARY"; charset=utf-8',
  'Content-Type: application/json',
  'Content-Type: application/x-www-form-urlencoded',
  'Content-Type: text/plain',
  'Content-Encoding: gzip',
  'Content-Length: 5',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: gzip, chunked',
  'Expect: 100-continue',
  'Authorization: Bearer TOKEN',
  'Authorization: Basic dXNlcjpwYXNz',
  'Host: other',
  ' folded: line',
  'X-Long: LONG',
]
const NAMES = ['a.wav', '../../etc/passwd', '..', '', 'a"b', 'ä😀.wav', 'messages.json', 'x'.repeat(300), '__proto__', 'C:\\a.wav']
const ANSWERS = ['[1, 2]', '{"a": 1e400}', '"\\ud800"', 'nul', '{"a":', '', '[1,]', '12345678901234567890']

interface Made {
  readonly bytes: Buffer
  /** The SHA-256 of what must be stored where the request is accepted, or undefined where it was changed on the way. */
  readonly expected: string[] | undefined
}

/**
 * Sends random submissions, whole, changed and cut, in random pieces over real sockets; after each, what was answered
 * with 200 is on disk as it was sent and nothing else is.
 * @returns the number of requests
 */
export async function fuzzServer(
  server: { url: string; port: number; basedir: string },
  authToken: string,
  seconds: number,
  seed: number,
): Promise<number> {
  const chance = makeChance(seed)
  const endMs = Date.now() + seconds * 1000
  let requests = 0
  let stored = 0
  while (Date.now() < endMs) {
    requests++
    const message = `FUZZ_SEED=${seed}, request ${requests}`
    const { bytes, expected } = makeRequest(chance, authToken)
    const answer = await sendRaw(server.port, cutAtRandom(chance, bytes), { half: true })
    const files = checkAnswer(answer, expected, message)
    for (const file of files) await checkStored(server.basedir, file, message)
    stored += files.length
    await until(`${message}: nothing else is on disk`, async () => (await listUploads(server.basedir)).length === stored)
  }
  assert.equal((await request(`${server.url}/`)).status, 200)
  return requests
}

/** Checks every answer that came, and gives the files that they promise. */
function checkAnswer(text: string, expected: string[] | undefined, message: string): StoredFile[] {
  const bodies = text.split(/HTTP\/1\.1 (?=\d{3})/).filter((part) => part !== '' && !part.startsWith('100'))
  const files: StoredFile[] = []
  for (const body of bodies) {
    const status = Number(body.slice(0, 3))
    assert.ok(status === 200 || (status >= 400 && status < 500), `${message}: ${body}`)
    assert.match(body, /^Access-Control-Allow-Origin: \*\r$/im, message)
    const json = JSON.parse(Buffer.from(body.slice(body.indexOf('\r\n\r\n') + 4), 'latin1').toString()) as { status: string; message?: string; files?: StoredFile[] }
    assert.equal(json.status === 'accepted', status === 200, message)
    if (status !== 200) assert.ok(json.message, message)
    files.push(...(json.files ?? []))
  }
  if (expected !== undefined) assert.deepEqual(files.map((file) => file.sha256).toSorted(), expected.toSorted(), `${message}: ${text}`)
  return files
}

async function checkStored(basedir: string, file: StoredFile, message: string): Promise<void> {
  const content = await readFile(join(basedir, 'uploads', 'responses', 'study', file.stored_as))
  assert.equal(content.length, file.bytes, message)
  assert.equal(sha256Of(content), file.sha256, message)
}

function makeRequest(chance: Chance, authToken: string): Made {
  const boundary = pick(chance, ['b', '----WebKitFormBoundary7MA4YWxkTrZu0gW', 'a_b'])
  const { body, contents } = makeBody(chance, boundary, authToken)
  const head = (lines: readonly string[]) => Buffer.from(`POST /submit HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  const type = `Content-Type: multipart/form-data; boundary=${boundary}`
  switch (chance(4)) {
    case 0:
      return { bytes: Buffer.concat([head([type, `Content-Length: ${body.length}`]), body]), expected: contents }
    case 1:
      return { bytes: Buffer.concat([head([type, 'Transfer-Encoding: chunked']), inChunks(chance, body)]), expected: contents }
    case 2: {
      const changed = mutate(chance, body)
      return { bytes: Buffer.concat([head([type, `Content-Length: ${changed.length}`]), changed]), expected: undefined }
    }
    default: {
      const fill = (line: string) => line.replace('BOUNDARY', boundary).replace('TOKEN', authToken).replace('LONG', 'x'.repeat(chance(20_000)))
      const lines = Array.from({ length: chance(4) }, () => fill(pick(chance, HEADS)))
      const whole = Buffer.concat([head([...lines, `Content-Length: ${body.length}`]), body])
      return { bytes: chance(2) === 0 ? whole : mutate(chance, whole), expected: undefined }
    }
  }
}

function makeBody(chance: Chance, boundary: string, authToken: string): { body: Buffer; contents: string[] } {
  const contents: Buffer[] = []
  const files = Array.from({ length: chance(4) }, (_, index) => {
    const content = makeContent(chance, boundary)
    contents.push(content)
    const name = `${index}${pick(chance, NAMES)}`.replaceAll('"', '%22')
    return part(boundary, `name="file"; filename="${name}"`, content)
  })
  const token = part(boundary, 'name="auth_token"', Buffer.from(authToken))
  const answers = Buffer.from(pick(chance, ANSWERS.slice(0, 3)))
  contents.push(answers)
  const parts = [...files, token, part(boundary, 'name="responses"', answers)].toSorted(() => chance(2) - 0.5)
  return { body: Buffer.concat([...parts, Buffer.from(`--${boundary}--\r\n`)]), contents: contents.map(sha256Of) }
}

function part(boundary: string, disposition: string, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n`), content, Buffer.from('\r\n')])
}

// Bytes like those of a delimiter, so that a search that is wrong somewhere is found out.
function makeContent(chance: Chance, boundary: string): Buffer {
  const pieces = ['\r', '\n', '\r\n', '-', '--', `\r\n--${boundary.slice(0, -1)}`, `\n--${boundary}\r\n`, 'abc', '\0', `\r\n-${boundary}`]
  const length = chance(40) === 0 ? 100_000 : chance(60)
  let content = Array.from({ length }, () => pick(chance, pieces)).join('')
  while (content.includes(`\r\n--${boundary}`)) content = content.replaceAll(`\r\n--${boundary}`, '') // its own delimiter
  return Buffer.from(content, 'latin1')
}

function mutate(chance: Chance, bytes: Buffer): Buffer {
  const at = chance(bytes.length)
  switch (chance(5)) {
    case 0:
      return bytes.subarray(0, at)
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + chance(20))])
    case 2:
      return Buffer.concat([bytes.subarray(0, at), Buffer.from([chance(256)]), bytes.subarray(at)])
    case 3:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(chance(bytes.length))])
    default: {
      const changed = Buffer.from(bytes)
      changed[at] = chance(256)
      return changed
    }
  }
}

function inChunks(chance: Chance, body: Buffer): Buffer {
  const chunks = cutAtRandom(chance, body).map((chunk) => Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]))
  return Buffer.concat([...chunks, Buffer.from('0\r\n\r\n')])
}

function cutAtRandom(chance: Chance, bytes: Buffer): Buffer[] {
  const places = Array.from({ length: chance(6) }, () => chance(bytes.length)).toSorted((a, b) => a - b)
  const edges = [0, ...places, bytes.length]
  return edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge)).filter((piece) => piece.length > 0)
}

function pick<Value>(chance: Chance, values: readonly Value[]): Value {
  const value = values[chance(values.length)]
  if (value === undefined) throw new Error('nothing to pick from')
  return value
}
