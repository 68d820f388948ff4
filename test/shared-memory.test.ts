import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { free } from '../lib/free.ts'
import { SharedMemory } from '../lib/store/shared-memory.ts'
import type { Slab } from '../lib/store/slab.ts'
import { checkKept } from './evidence.ts'
import { askToken, filesOf, startServer, submitForm } from './harness.ts'
import { chooseSeed, makeChance } from './seeded.ts'
import { sha256Of } from './sha256.ts'
import { fileStart, formBody, submitHead, Wire } from './wire.ts'

const KiB = 1024
const random = makeChance(chooseSeed())

const contentOf = (slabs: readonly Slab[]): Buffer => Buffer.concat(slabs.map(({ content }) => content))

test('bytes are gathered as they came, whatever they are cut into', () => {
  const memory = new SharedMemory()
  for (const size of [0, 1, 32 * KiB - 1, 32 * KiB, 32 * KiB + 1, 300_000]) {
    for (const mostBytes of [700, 64 * KiB]) {
      const content = randomBytes(size)
      const slabs: Slab[] = []
      for (let at = 0; at < size; ) {
        const end = at + 1 + random(mostBytes)
        memory.gather(slabs, content.subarray(at, end))
        at = end
      }
      assert.ok(contentOf(slabs).equals(content), `${size} bytes in pieces of at most ${mostBytes}`)
      for (const slab of slabs) memory.give(slab)
    }
  }
})

test('nobody is given memory that somebody has, and what was given back is used again', () => {
  const memory = new SharedMemory()
  const takeMany = () => {
    const slabs: Slab[] = []
    memory.gather(slabs, Buffer.alloc(20_000_000))
    return slabs
  }
  const first = takeMany()
  const placeOf = ({ memory: { buffer, byteOffset } }: Slab) => ({ buffer, byteOffset })
  for (const [index, slab] of first.entries()) slab.memory.fill(index % 251)
  for (const [index, { memory: bytes }] of first.entries()) assert.ok(bytes.every((byte) => byte === index % 251), `slab ${index}`)
  for (const slab of first) memory.give(slab)
  const isKept = (slab: Slab) => slab.memory.buffer instanceof SharedArrayBuffer
  const again = takeMany()
  assert.equal(again.filter(isKept).length, first.filter(isKept).length)
  assert.ok(again.some((slab) => !isKept(slab)), 'no more than a limit is kept')
  const known = new Set(first.map((slab) => placeOf(slab).buffer))
  assert.ok(again.filter(isKept).every((slab) => known.has(placeOf(slab).buffer)))
})

test('few bytes keep little memory, and go on in a slab where they become many', () => {
  const memory = new SharedMemory()
  const slabs: Slab[] = []
  const content = randomBytes(40 * KiB)
  for (let at = 0; at < content.length; at++) {
    memory.gather(slabs, content.subarray(at, at + 1))
    const memoryBytes = slabs.reduce((sum, slab) => sum + slab.memory.length, 0)
    if (at < 4095) assert.ok(memoryBytes <= 2 * (at + 1), `${at + 1} bytes keep ${memoryBytes}`)
    else assert.equal(memoryBytes, at < 32 * KiB ? 32 * KiB : 64 * KiB, `${at + 1} bytes`)
  }
  assert.ok(contentOf(slabs).equals(content))
})

const freed = [
  { what: 'all that is in their memory', bytes: Buffer.allocUnsafeSlow(64 * KiB), left: 0 },
  { what: 'a part of their memory', bytes: Buffer.allocUnsafeSlow(64 * KiB).subarray(1), left: 64 * KiB - 1 },
  { what: 'few', bytes: Buffer.allocUnsafeSlow(100), left: 100 },
  { what: 'in memory that threads share', bytes: Buffer.from(new SharedArrayBuffer(64 * KiB)), left: 64 * KiB },
]
for (const { what, bytes, left } of freed) {
  test(`bytes that are ${what} ${left === 0 ? 'are freed' : 'stay'}`, () => {
    free(bytes)
    assert.equal(bytes.length, left)
  })
}

test('what many send at one time is stored as each sent it, beside others that are refused or cut off', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const sendGood = async (): Promise<void> => {
    for (let count = 0; count < 15; count++) {
      const content = randomBytes(1 + random(140_000))
      const answer = await submitForm(server, [['auth_token', authToken], ['f', content, 'voice.wav']])
      assert.deepEqual(filesOf(answer).map((file) => file.sha256), [sha256Of(content)])
      await checkKept(server.basedir, answer)
    }
  }
  const sendBad = async (): Promise<void> => {
    for (let count = 0; count < 15; count++) {
      const wire = await Wire.open(server.port)
      const content = randomBytes(1 + random(140_000))
      if (count % 2 === 0) {
        const body = formBody(`study-${'0'.repeat(32)}`, content)
        await wire.write(submitHead(`Content-Length: ${body.length}`))
        await wire.write(body)
        assert.equal((await wire.answers(1))[0]?.status, 403)
      } else {
        await wire.write(submitHead('Content-Length: 1000000'))
        await wire.write(Buffer.concat([fileStart(), content]))
      }
      wire.socket.destroy()
    }
  }
  await Promise.all(Array.from({ length: 24 }, (_, index) => (index % 4 === 0 ? sendBad() : sendGood())))
})
