import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, readFile, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { decrypt } from '../lib/crypt/decryption.ts'
import { newIdentity, type Identity } from '../lib/crypt/keys.ts'
import { parseRecipientList } from '../lib/crypt/recipient-list.ts'
import { createReadable } from '../lib/durable.ts'
import { Gathered } from '../lib/store/gathered.ts'
import { SealedFile } from '../lib/store/sealed-file.ts'
import { temporaryDirectory } from './harness.ts'
import { chooseSeed, makeChance } from './seeded.ts'
import { sha256Of } from './sha256.ts'

const KiB = 1024
const [expected, other] = [newIdentity(), newIdentity()]
const listOf = (identity: Identity) => parseRecipientList(identity.recipient.text)
const look = async () => undefined

async function begin(t: TestContext, gathered = new Gathered()): Promise<SealedFile> {
  const path = join(await temporaryDirectory(t), '0.part')
  return new SealedFile(path, listOf(expected), gathered, createReadable)
}

async function send(file: SealedFile, content: Buffer, pieceBytes: (at: number) => number): Promise<void> {
  for (let at = 0; at < content.length; ) {
    const end = at + pieceBytes(at)
    await file.write(content.subarray(at, end))
    at = end
  }
}

async function open(stored: Buffer, identity: Identity): Promise<Buffer> {
  const source = (async function* () {
    yield stored
  })()
  const opened: Buffer[] = []
  for await (const bytes of decrypt(source, [identity])) opened.push(bytes)
  return Buffer.concat(opened)
}

const random = makeChance(chooseSeed())
const sizes = [0, 1, 64 * KiB, 64 * KiB + 1, 128 * KiB, 128 * KiB + 1, 300_000, 1_500_000]
for (const size of sizes) {
  for (const reader of [expected, other]) {
    for (const rests of [false, true]) {
      const name = `${size} bytes for ${reader === expected ? 'the expected' : 'another'} reader${rests ? ', closed meanwhile' : ''}`
      test(`what is told of an encrypted file is what is stored: ${name}`, async (t) => {
        const gathered = new Gathered()
        const file = await begin(t, gathered)
        const content = randomBytes(size)
        await send(file, content, () => 1 + random(100_000))
        const isHeld = file.hold()
        assert.equal(isHeld, size <= 128 * KiB)
        if (!isHeld || rests) await file.end()
        if (rests) await file.rest()
        const ends: Buffer[] = []
        const noted = { bytes: size, entries: [] }
        const told = await file.finish({ readers: listOf(reader), look: async (end) => (ends.push(Buffer.from(end)), noted) })
        const stored = told.held === undefined ? await readFile(file.path) : Buffer.concat(told.held)
        assert.deepEqual({ bytes: told.bytes, sha256: told.sha256 }, { bytes: stored.length, sha256: sha256Of(stored) })
        assert.deepEqual(told.plain, { bytes: size, sha256: sha256Of(content), zip: noted })
        assert.deepEqual(ends, [content.subarray(Math.max(0, size - 64 * KiB))])
        assert.deepEqual(await open(stored, reader), content)
        await assert.rejects(open(stored, reader === expected ? other : expected), /none of the given identities/)
        assert.equal(gathered.bytes, 0)
      })
    }
  }
}

const moments: [name: string, bring: (file: SealedFile) => Promise<unknown>][] = [
  ['before its first byte', async () => undefined],
  ['while it is small', async (file) => file.write(randomBytes(1000))],
  ['while it is written', async (file) => void file.write(randomBytes(500_000))],
  ['while it ends', async (file) => (await file.write(randomBytes(500_000)), void file.end().catch(() => undefined))],
  ['when it has ended', async (file) => (await file.write(randomBytes(500_000)), file.end())],
  ['while it is finished', async (file) => (await file.write(randomBytes(500_000)), await file.end(), void file.finish({ readers: listOf(other), look }).catch(() => undefined))],
]
for (const [name, bring] of moments) {
  test(`nothing is left of an encrypted file that is discarded ${name}`, async (t) => {
    const gathered = new Gathered()
    const file = await begin(t, gathered)
    await bring(file)
    await file.discard()
    await file.discard()
    assert.deepEqual(await readdir(join(file.path, '..')), [])
    assert.equal(gathered.bytes, 0)
  })
}

test('small files that are many do not all wait in memory, and are counted until they are held', async (t) => {
  const gathered = new Gathered()
  const files: SealedFile[] = []
  for (let count = 0; count < 100; count++) {
    const file = await begin(t, gathered)
    await send(file, randomBytes(100_000), () => 10_000)
    files.push(file)
  }
  assert.ok(gathered.bytes < 12_000_000, `${gathered.bytes} bytes wait`)
  const held = files.filter((file) => file.hold())
  assert.ok(held.length > 30 && held.length < 60, `${held.length} are held`)
  for (const file of files) await file.discard()
  assert.equal(gathered.bytes, 0)
})

test('an encrypted file that was cut on the disk is not promised to another reader', async (t) => {
  const file = await begin(t)
  await file.write(randomBytes(500_000))
  await file.end()
  await truncate(file.path, 450_000)
  await assert.rejects(file.finish({ readers: listOf(other), look }), /became shorter/)
  await file.discard()
})

test('files that have ended keep little memory until their form ends', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const ended: SealedFile[] = []
  const measure = async () => {
    for (let count = 0; count < 3; count++) {
      collect()
      await sleep(20) // what was found to be garbage is freed by another thread
    }
    return process.memoryUsage().arrayBuffers
  }
  const gathered = new Gathered()
  gathered.shared.gather([], randomBytes(140_000)) // it is made when it is first used
  const before = await measure()
  for (let count = 0; count < 50; count++) {
    const file = await begin(t, gathered)
    await send(file, randomBytes(140_000), () => 64 * KiB)
    await file.end()
    await file.rest()
    ended.push(file)
  }
  const keptBytes = ((await measure()) - before) / ended.length
  assert.ok(keptBytes < 16 * KiB, `each keeps ${keptBytes} bytes`)
  for (const file of ended) await file.discard()
})
