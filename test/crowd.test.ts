import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { askToken, countSockets, isSoak, listUploads, readReceipts, sleep, startServer, until, type Running } from './harness.ts'
import { fileStart, formEnd, submission, submitHead, Wire, type WireAnswer } from './wire.ts'

const MEGABYTE = 1_000_000
const MAX_GROWTH_BYTES = 200 * MEGABYTE
const BAD_TOKEN = `study-${'0'.repeat(32)}`

const LARGE = isSoak ? { count: 100, bytes: 20 * MEGABYTE } : { count: 30, bytes: 5 * MEGABYTE }
const SLOW = isSoak ? { count: 500, pieces: 200 } : { count: 150, pieces: 20 }
const REFUSED = isSoak ? 10_000 : 400

interface Upload {
  readonly authToken: string
  /** Content is made of it: two uploads with one seed are equal. */
  readonly seed: string
  readonly bytes: number
  readonly pieceBytes?: number
  readonly pauseMs?: number
  readonly fields?: readonly string[]
}

/** Sends a file that is made on the way; gives the answer and the SHA-256 of what was sent. */
async function upload(port: number, options: Upload): Promise<{ answer: WireAnswer | undefined; sha256: string }> {
  const { authToken, seed, bytes, pieceBytes = 65_536, pauseMs, fields = [] } = options
  const piece = Buffer.alloc(pieceBytes, `${seed} `)
  const start = fileStart(`${seed}.wav`)
  const end = formEnd(authToken)
  const hash = createHash('sha256')
  const wire = await Wire.open(port)
  await wire.write(submitHead(`Content-Length: ${start.length + bytes + end.length}`, ...fields))
  await wire.write(start)
  for (let sent = 0; sent < bytes; sent += pieceBytes) {
    const part = piece.subarray(0, Math.min(pieceBytes, bytes - sent))
    hash.update(part)
    await wire.write(part)
    if (pauseMs !== undefined) await sleep(pauseMs)
  }
  await wire.write(end)
  const [answer] = await wire.answers(1, 300)
  wire.socket.destroy()
  return { answer, sha256: hash.digest('hex') }
}

async function assertAccepted(uploading: ReturnType<typeof upload>): Promise<void> {
  const { answer, sha256 } = await uploading
  assert.equal(answer?.status, 200, answer?.text)
  assert.deepEqual((answer.json['files'] as { sha256: string }[]).map((file) => file.sha256), [sha256])
}

/** Does `work` `count` times, at most `atOnce` of them at the same time. */
async function repeat(count: number, atOnce: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

async function residentBytes(server: Running): Promise<number> {
  const status = await readFile(`/proc/${server.process.pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

async function descriptors(server: Running): Promise<number> {
  return (await readdir(`/proc/${server.process.pid}/fd`)).length
}

/** A server that has answered some requests, and what it needed then. */
async function start(t: TestContext): Promise<{ server: Running; authToken: string; descriptorsBefore: number; bytesBefore: number }> {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const socketsBefore = await countSockets(server)
  await repeat(20, 4, (index) => assertAccepted(upload(server.port, { authToken, seed: `first ${index}`, bytes: 100_000 })))
  await until('closed connections are let go of', async () => (await countSockets(server)) <= socketsBefore)
  await until('the record of access is open', async () => (await readdir(join(server.basedir, 'audit')).catch(() => [])).length > 0) // a tenth of a second after the token
  return { server, authToken, descriptorsBefore: await descriptors(server), bytesBefore: await residentBytes(server) }
}

/** Does `work` and gives the most that the server's memory grew meanwhile. */
async function growthDuring(server: Running, bytesBefore: number, work: () => Promise<unknown>): Promise<number> {
  let most = bytesBefore
  let isDone = false
  const watch = async (): Promise<void> => {
    while (!isDone) {
      most = Math.max(most, await residentBytes(server))
      await sleep(20)
    }
  }
  const watching = watch()
  await work().finally(() => (isDone = true))
  await watching
  return most - bytesBefore
}

async function assertSmallGrowth(t: TestContext, server: Running, bytesBefore: number, work: () => Promise<unknown>): Promise<void> {
  const growth = await growthDuring(server, bytesBefore, work)
  t.diagnostic(`memory grew by ${Math.round(growth / MEGABYTE)} MB`)
  assert.ok(growth < MAX_GROWTH_BYTES, `memory grew by ${growth} bytes`)
}

// That of `fetch` may be among those before, and gone after.
async function assertDescriptorsReturn(server: Running, before: number): Promise<void> {
  await until(`there are ${before} descriptors again`, async () => (await descriptors(server)) <= before)
}

const kept = (files: readonly string[]): string[] => files.filter((file) => file.startsWith('responses/'))

test('a file of 60 MB needs little memory', async (t) => {
  const { server, authToken, descriptorsBefore, bytesBefore } = await start(t)
  const work = () => assertAccepted(upload(server.port, { authToken, seed: 'large', bytes: 60 * MEGABYTE }))
  await assertSmallGrowth(t, server, bytesBefore, work)
  await assertDescriptorsReturn(server, descriptorsBefore)
})

test(`${LARGE.count} large uploads and ${SLOW.count} slow ones at the same time are all whole`, async (t) => {
  const { server, authToken, descriptorsBefore, bytesBefore } = await start(t)
  const large = (index: number) => upload(server.port, { authToken, seed: `large ${index}`, bytes: LARGE.bytes })
  const slow = (index: number) =>
    upload(server.port, { authToken, seed: `slow ${index}`, bytes: SLOW.pieces * 5000, pieceBytes: 5000, pauseMs: 100 })
  const work = () =>
    Promise.all([
      repeat(SLOW.count, SLOW.count, (index) => assertAccepted(slow(index))),
      repeat(LARGE.count, LARGE.count, (index) => assertAccepted(large(index))),
    ])
  await assertSmallGrowth(t, server, bytesBefore, work)
  assert.equal(kept(await listUploads(server.basedir)).length, 20 + LARGE.count + SLOW.count)
  assert.equal((await readReceipts(server.basedir, 'study')).length, 20 + LARGE.count + SLOW.count)
  await assertDescriptorsReturn(server, descriptorsBefore)
})

test(`${REFUSED} refused uploads of a megabyte leave nothing`, async (t) => {
  const { server, authToken, descriptorsBefore, bytesBefore } = await start(t)
  const kinds = [
    { name: 'a bad token after the file', status: 403, authToken: BAD_TOKEN },
    { name: 'a bad token before the file', status: 403, authToken, fields: [`Authorization: Bearer ${BAD_TOKEN}`] },
    { name: 'two tokens', status: 400, authToken: BAD_TOKEN, fields: [`Authorization: Bearer ${authToken}`] },
    { name: 'an expectation nobody knows', status: 417, authToken, fields: ['Expect: a-miracle'] },
  ]
  const refuse = async (index: number): Promise<void> => {
    const { status, name: _name, ...options } = kinds[index % kinds.length] ?? { status: 0, name: '', authToken }
    const { answer } = await upload(server.port, { seed: `refused ${index}`, bytes: MEGABYTE, ...options })
    assert.equal(answer?.status, status, answer?.text)
  }
  await assertSmallGrowth(t, server, bytesBefore, () => repeat(REFUSED, 20, refuse))
  await assertDescriptorsReturn(server, descriptorsBefore)
  await until('nothing is staged', async () => (await listUploads(server.basedir)).length === 20)
})

test('connections that are idle, dropped or reset hold up nobody and leave nothing', async (t) => {
  const { server, authToken, descriptorsBefore, bytesBefore } = await start(t)
  const idle: Wire[] = []
  const drop = async (): Promise<void> => void (await Wire.open(server.port)).socket.destroy()
  const reset = async (index: number): Promise<void> => {
    const wire = await Wire.open(server.port)
    await wire.write(submitHead('Content-Length: 2000000'))
    await wire.write(Buffer.concat([fileStart(), Buffer.alloc(MEGABYTE, `reset ${index}`)]))
    wire.socket.resetAndDestroy()
  }
  const submit = async (index: number): Promise<void> => {
    const wire = await Wire.open(server.port)
    await wire.write(submission(authToken, `in time ${index}`))
    assert.equal((await wire.answers(1, 30))[0]?.status, 200) // sooner than the idle ones are given up
    wire.socket.destroy()
  }
  await assertSmallGrowth(t, server, bytesBefore, async () => {
    await repeat(200, 20, async () => void idle.push(await Wire.open(server.port)))
    await Promise.all([repeat(300, 50, drop), repeat(60, 20, reset), repeat(40, 4, submit)])
    await repeat(40, 4, (index) => submit(100 + index))
  })
  assert.ok((await countSockets(server)) >= 200, 'the idle connections are still open')
  for (const wire of idle) wire.socket.destroy()
  await assertDescriptorsReturn(server, descriptorsBefore)
  await until('nothing is staged', async () => (await listUploads(server.basedir)).length === 20 + 80)
  await submit(1000)
})

test('a client that sends requests without end is held back', async (t) => {
  const { server, bytesBefore } = await start(t)
  const flood = Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(10_000))
  await assertSmallGrowth(t, server, bytesBefore, async () => {
    await repeat(20, 20, async () => {
      const wire = await Wire.open(server.port, { reads: false })
      for (let count = 0; count < 20 && !wire.isEnded; count++) await Promise.race([wire.write(flood), wire.closed, sleep(1000)])
      wire.socket.destroy()
    })
  })
  const wire = await Wire.open(server.port)
  await wire.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  assert.equal((await wire.answers(1))[0]?.status, 200)
})
