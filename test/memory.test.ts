import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import { request as openRequest, type ClientRequest } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { newIdentity } from '../lib/crypt/keys.ts'
import type { ReceiptFile } from '../lib/store/receipt.ts'
import { issueToken, openStored, startEncrypting } from './encrypting.ts'
import { listStaged } from './evidence.ts'
import { askToken, isSoak, listUploads, readReceipts, startServer, until, type Running } from './harness.ts'
import { sha256Of } from './sha256.ts'
import { assertAccepted, BOUNDARY, formatMultipart, FORMATS, MULTIPART, post, textPart } from './submission.ts'

const MB = 1_000_000
const MOST_GROWTH_BYTES = 200 * MB
const CRUMBS = 18_000 // bytes, each sent by itself
const LARGE_BYTES = (isSoak ? 400 : 210) * MB // more than may be held

/** Reads how much memory a process has at most had at once, or has now. */
async function memoryOf(server: Running, what: 'VmHWM' | 'VmRSS'): Promise<number> {
  const text = await readFile(`/proc/${server.process.pid}/status`, 'utf8')
  return Number(new RegExp(`^${what}:\\s*(\\d+) kB$`, 'm').exec(text)?.[1]) * 1024
}

async function assertGrowsLittle(server: Running, work: () => Promise<void>): Promise<void> {
  const before = await memoryOf(server, 'VmRSS')
  await work()
  const growth = (await memoryOf(server, 'VmHWM')) - before
  assert.ok(growth < MOST_GROWTH_BYTES, `grew by ${Math.round(growth / MB)} MB`)
}

const PIECE = randomBytes(MB / 2)

/** An upload of one file that can be sent in parts; the file's content is `PIECE` again and again. */
class Upload {
  readonly #request: ClientRequest
  readonly #answer: Promise<number | undefined>

  constructor(server: Running, authToken: string, filename = 'voice.wav') {
    const headers = { 'content-type': MULTIPART, authorization: `Bearer ${authToken}` }
    this.#request = openRequest({ port: server.port, path: '/submit', method: 'POST', headers, agent: false })
    this.#answer = new Promise((resolve, reject) => {
      this.#request.on('response', (response) => resolve(response.resume().statusCode)).on('error', reject)
    })
    this.#request.write(`--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="${filename}"\r\n\r\n`)
  }

  async send(bytes: number): Promise<void> {
    for (let left = bytes; left > 0; left -= PIECE.length) {
      if (!this.#request.write(PIECE.subarray(0, left))) await once(this.#request, 'drain')
    }
  }

  /** Sends a chunk for each byte. */
  async crumble(bytes: number): Promise<void> {
    for (let count = 0; count < bytes; count++) if (!this.#request.write('a')) await once(this.#request, 'drain')
  }

  finish(): Promise<number | undefined> {
    this.#request.end(`\r\n--${BOUNDARY}--\r\n`)
    return this.#answer
  }
}

async function assertWhole(server: Running, bytes: number, count: number): Promise<void> {
  const hash = createHash('sha256')
  for (let left = bytes; left > 0; left -= PIECE.length) hash.update(PIECE.subarray(0, left))
  const sha256 = hash.digest('hex')
  const files = (await readReceipts(server.basedir, 'study')).flatMap((receipt) => receipt['files'] as { stored_as: string; sha256: string }[])
  assert.equal(files.length, count)
  assert.deepEqual(new Set(files.map((file) => file.sha256)), new Set([sha256]))
  for (const file of files) {
    assert.equal((await stat(join(server.basedir, 'uploads/responses/study', file.stored_as))).size, bytes)
  }
  const stored = await readFile(join(server.basedir, 'uploads/responses/study', files[0]?.stored_as ?? ''))
  assert.equal(sha256Of(stored), sha256)
}

test('memory does not grow with the size of an upload', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  await assertGrowsLittle(server, async () => {
    const upload = new Upload(server, authToken)
    await upload.send(LARGE_BYTES)
    assert.equal(await upload.finish(), 200)
  })
  await assertWhole(server, LARGE_BYTES, 1)
})

test('memory stays bounded with 100 uploads at once', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  await assertGrowsLittle(server, async () => {
    const uploads = Array.from({ length: 100 }, (_, index) => new Upload(server, authToken, `${index}.wav`))
    await Promise.all(uploads.map((upload) => upload.send(2.5 * MB)))
    assert.deepEqual(new Set(await Promise.all(uploads.map((upload) => upload.finish()))), new Set([200]))
  })
  await assertWhole(server, 2.5 * MB, 100)
})

test('memory stays bounded with 250 uploads that stand still half-way', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  await assertGrowsLittle(server, async () => {
    const uploads = Array.from({ length: 250 }, (_, index) => new Upload(server, authToken, `${index}.wav`))
    await Promise.all(uploads.map((upload) => upload.send(MB / 2)))
    await until('all of them have begun', async () => (await listUploads(server.basedir)).length === 250)
    await Promise.all(uploads.map((upload) => upload.send(MB / 2)))
    assert.deepEqual(new Set(await Promise.all(uploads.map((upload) => upload.finish()))), new Set([200]))
  })
  const receipts = await readReceipts(server.basedir, 'study')
  assert.equal(receipts.length, 250)
})

test('memory stays bounded with large answers in every media type, and with a chunk for each byte', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const answers = JSON.stringify('a'.repeat(4 * MB))
  await assertGrowsLittle(server, async () => {
    for (const { contentType, format } of FORMATS) {
      const body = format([['auth_token', authToken], ['responses', answers], ['note', 'b'.repeat(MB)]])
      const sent = Array.from({ length: 5 }, () => post(server, body, { headers: { 'content-type': contentType } }))
      for (const answer of await Promise.all(sent)) assert.equal(assertAccepted(answer).length, 2)
    }
  })
  const small = formatMultipart([textPart('auth_token', authToken), textPart('responses', '"a"'), textPart('note', 'c'.repeat(100_000))])
  await assertGrowsLittle(server, async () => {
    const upload = openRequest({ port: server.port, path: '/submit', method: 'POST', headers: { 'content-type': MULTIPART }, agent: false })
    const answered = new Promise<number | undefined>((resolve, reject) => {
      upload.on('response', (response) => resolve(response.resume().statusCode)).on('error', reject)
    })
    for (const byte of small) if (!upload.write(Buffer.of(byte))) await once(upload, 'drain')
    upload.end()
    assert.equal(await answered, 200)
  })
})

test('memory stays bounded with uploads that are encrypted: a large one, 200 at once that stand still, and one of crumbs', async (t) => {
  const identity = newIdentity()
  const server = await startEncrypting(t, [identity])
  const authToken = await issueToken(server.basedir)
  const large = new Upload(server, authToken)
  await assertGrowsLittle(server, async () => {
    await large.send(LARGE_BYTES)
    assert.equal(await large.finish(), 200)
  })
  await assertGrowsLittle(server, async () => {
    const uploads = Array.from({ length: 200 }, (_, index) => new Upload(server, authToken, `${index}.zip`))
    await Promise.all(uploads.map((upload) => upload.send(MB / 2)))
    await until('all of them have begun', async () => (await listStaged(server.basedir)).length === 200)
    await Promise.all(uploads.map((upload) => upload.send(MB / 2)))
    assert.deepEqual(new Set(await Promise.all(uploads.map((upload) => upload.finish()))), new Set([200]))
  })
  await assertGrowsLittle(server, async () => {
    const uploads = Array.from({ length: 8 }, () => new Upload(server, authToken, 'crumbs.wav'))
    for (let count = 0; count < CRUMBS; count += 60) await Promise.all(uploads.map((upload) => upload.crumble(60)))
    assert.deepEqual(new Set(await Promise.all(uploads.map((upload) => upload.finish()))), new Set([200]))
  })
  const files = (await readReceipts(server.basedir, 'study')).flatMap((receipt) => receipt['files'] as ReceiptFile[])
  assert.deepEqual(new Set(files.map(({ plain }) => plain?.bytes)), new Set([LARGE_BYTES, MB, CRUMBS]))
  for (const file of [files[0], files[1], files.at(-1)]) if (file !== undefined) await openStored(server.basedir, file, identity)
})
