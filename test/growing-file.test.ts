import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { open, readdir, readFile, readlink, writeFile, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createFile } from '../lib/durable.ts'
import { BLOCK_BYTES, DirectWriter } from '../lib/store/direct-writer.ts'
import { Gathered } from '../lib/store/gathered.ts'
import { GrowingFile } from '../lib/store/growing-file.ts'
import type { Slab } from '../lib/store/slab.ts'
import { checkKept } from './evidence.ts'
import { askToken, needs, startServer, submitForm, temporaryDirectory, until } from './harness.ts'
import { chooseSeed, makeChance } from './seeded.ts'
import { startTraced } from './trace.ts'

const KiB = 1024
const SLAB_BYTES = 512 * KiB
const random = makeChance(chooseSeed())

const share = (direct?: DirectWriter): Gathered => new Gathered(direct)

async function begin(t: TestContext, gathered: Gathered): Promise<GrowingFile> {
  return new GrowingFile(join(await temporaryDirectory(t), '0.part'), gathered, createFile)
}

async function send(file: GrowingFile, content: Buffer, mostBytes: number): Promise<void> {
  for (let at = 0; at < content.length; ) {
    const end = at + 1 + random(mostBytes)
    await file.write(content.subarray(at, end))
    at = end
  }
}

/** A writer that has found out that the file system has no such writes: it was made to write beside the blocks. */
async function refusedWriter(t: TestContext): Promise<DirectWriter> {
  const direct = new DirectWriter()
  const path = join(await temporaryDirectory(t), 'file')
  await writeFile(path, '')
  const [handle, slab] = [await direct.open(path), direct.take()]
  assert.ok(handle !== undefined && slab !== undefined, 'this file system has direct writes')
  slab.add(Buffer.alloc(BLOCK_BYTES))
  assert.equal(await direct.write(handle, slab.content, 1), false)
  direct.give(slab)
  await handle.close()
  assert.deepEqual([await direct.open(path), direct.take()], [undefined, undefined])
  return direct
}

const sizes = [
  ...[0, 1, BLOCK_BYTES, 128 * KiB, 128 * KiB + BLOCK_BYTES].flatMap((size) => [size, size + 1]),
  ...[1, 2, 3].flatMap((count) => [-1, 0, 1, BLOCK_BYTES].map((more) => 128 * KiB + count * SLAB_BYTES + more)),
  5_000_000,
]
for (const kind of ['past the page cache', 'by the page cache']) {
  test(`a file is on disk as it came, ${kind}`, async (t) => {
    const gathered = share(kind === 'by the page cache' ? await refusedWriter(t) : undefined)
    for (const size of sizes) {
      for (const mostBytes of [100, 64 * KiB, 700_000]) {
        if (mostBytes === 100 && size > 1_000_000) continue
        const content = randomBytes(size)
        const file = await begin(t, gathered)
        await send(file, content, mostBytes)
        await (await file.end()).sync()
        await file.close()
        assert.ok((await readFile(file.path)).equals(content), `${size} bytes in chunks of at most ${mostBytes}`)
        assert.equal(gathered.bytes, 0)
      }
    }
  })
}

test('more files at once than there is memory to gather them are whole too', async (t) => {
  const gathered = share()
  const contents = Array.from({ length: 60 }, () => randomBytes(1_500_000 + random(100_000)))
  const files = await Promise.all(contents.map(async (content) => {
    const file = await begin(t, gathered)
    await send(file, content, 64 * KiB)
    return file
  }))
  for (const [index, file] of files.entries()) {
    await file.end()
    await file.close()
    assert.ok((await readFile(file.path)).equals(contents[index] ?? Buffer.alloc(0)), `file ${index}`)
  }
})

test('memory is given back by files that end, that are discarded and that cannot be written', async (t) => {
  const direct = new DirectWriter()
  const all = takeAll(direct)
  for (const slab of all) direct.give(slab)
  for (let count = 0; count < all.length; count++) {
    const file = await begin(t, share(direct))
    await send(file, randomBytes(1_000_000), 64 * KiB)
    if (count % 2 === 0) await file.end()
    await file.discard()
    assert.deepEqual(await readdir(dirname(file.path)), [])
  }
  const readOnly = new GrowingFile(join(await temporaryDirectory(t), '0.part'), share(direct), async (path) => {
    await writeFile(path, '')
    return open(path, 'r')
  })
  await assert.rejects(send(readOnly, randomBytes(3_000_000), 64 * KiB), { code: 'EBADF' })
  await assert.rejects(readOnly.end(), { code: 'EBADF' })
  await readOnly.discard()
  assert.equal(takeAll(direct).length, all.length)
})

function takeAll(direct: DirectWriter): Slab[] {
  const taken: Slab[] = []
  for (let slab = direct.take(); slab !== undefined; slab = direct.take()) taken.push(slab)
  return taken
}

/** A disk that becomes slow. */
class SlowWriter extends DirectWriter {
  override async write(handle: FileHandle, blocks: Buffer, position: number): Promise<boolean> {
    await sleep(1000)
    return super.write(handle, blocks, position)
  }
}

test('a file that came fast and comes slowly now gathers no more than others do', async (t) => {
  const gathered = share(new SlowWriter())
  const file = await begin(t, gathered)
  const content = randomBytes(4_000_000)
  let most = 0
  for (let at = 0; at < content.length; at += 50_000) {
    await file.write(content.subarray(at, at + 50_000))
    most = Math.max(most, gathered.bytes)
    if (at === 1_200_000) await sleep(1500) // the first large piece is on disk then, the second is half full
  }
  assert.ok(most < SLAB_BYTES, `${most} bytes waited`)
  await file.end()
  await file.close()
  assert.ok((await readFile(file.path)).equals(content))
})

test('a file that came fast and comes slowly now has one descriptor again', async (t) => {
  const content = randomBytes(2_000_000)
  let most = 0
  for (let count = 0; count < 20 && most < 2; count++) { // a busy machine may hold a file up before its first piece is written
    const file = await begin(t, share(new SlowWriter()))
    for (let at = 0; at < content.length; at += 50_000) {
      await file.write(content.subarray(at, at + 50_000))
      if (at > 800_000) most = Math.max(most, await countOpen(file.path))
    }
    await until('it has one', async () => (await countOpen(file.path)) === 1, 20)
    await file.end()
    await file.close()
    assert.equal(await countOpen(file.path), 0)
  }
  assert.equal(most, 2)
})

test('few files at once have a descriptor for direct writes beside their own', async (t) => {
  const direct = new DirectWriter()
  const path = join(await temporaryDirectory(t), 'file')
  await writeFile(path, '')
  const openAll = async () => {
    const opened: FileHandle[] = []
    for (let handle = await direct.open(path); handle !== undefined; handle = await direct.open(path)) {
      opened.push(handle)
      assert.ok(opened.length < 100) // of 200 that `doctor` adds to two for each connection
    }
    return opened
  }
  const opened = await openAll()
  for (const handle of opened) await direct.close(handle)
  assert.equal(await countOpen(path), 0)
  for (let count = 0; count < 100; count++) assert.equal(await direct.open(`${path}-none`), undefined)
  const again = await openAll()
  for (const handle of again) await direct.close(handle)
  assert.equal(again.length, opened.length)
})

/** How many descriptors of this process are of a file. */
async function countOpen(path: string): Promise<number> {
  const targets = (await readdir('/proc/self/fd')).map((entry) => readlink(`/proc/self/fd/${entry}`).catch(() => 'closed since'))
  return (await Promise.all(targets)).filter((target) => target === path).length
}

test('what comes fast goes past the page cache', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const server = await startTraced(t)
  const authToken = await askToken(server)
  for (let count = 0; count < 10; count++) {
    const answer = await submitForm(server, [['auth_token', authToken], ['f', randomBytes(5_000_000), `${count}.wav`]])
    assert.equal(answer.status, 200)
  }
  const opened = (await server.calls()).filter(({ name, text }) => name === 'openat' && text.includes('O_DIRECT'))
  assert.ok(opened.length > 0, 'one of ten uploads at least was not held up by other tests')
})

test('a burst of what waited in a connection does not pass for a fast sender', async (t) => {
  const direct = new DirectWriter()
  const most = takeAll(direct).length
  const gathered = share(new DirectWriter())
  const file = await begin(t, gathered)
  for (let count = 0; count < 4; count++) {
    await send(file, randomBytes(60_000), 64 * KiB)
    await sleep(1) // what is enough is on disk then
  }
  assert.equal(takeAll(gathered.direct).length, most, 'it has no memory for large pieces')
  await file.discard()
})

test('without WebAssembly what comes fast is stored as all else', async (t) => {
  const server = await startServer(t, { env: { NODE_OPTIONS: '--jitless' } }) // as it runs where no memory may be made executable
  const authToken = await askToken(server)
  for (let count = 0; count < 5; count++) {
    await checkKept(server.basedir, await submitForm(server, [['auth_token', authToken], ['f', randomBytes(3_000_000), `${count}.wav`]]))
  }
})

const crowds: { name: string; others: number; bytes: number; waits: boolean }[] = [
  { name: 'alone, a piece is written while the next one comes', others: 0, bytes: 128 * KiB, waits: false },
  { name: 'in a crowd, the sender waits for its piece', others: 9_000_000, bytes: 32 * KiB, waits: true },
  { name: 'in a crowd, less than a piece is only gathered', others: 9_000_000, bytes: 31 * KiB, waits: false },
]
for (const { name, others, bytes, waits } of crowds) {
  test(name, async (t) => {
    const gathered = share()
    gathered.bytes = others
    const file = await begin(t, gathered)
    const wait = file.write(randomBytes(bytes))
    assert.equal(wait !== undefined, waits)
    assert.equal(gathered.bytes, others + bytes, 'what is on its way to the disk is in memory too')
    await wait
    await file.end()
    await file.close()
    assert.equal(gathered.bytes, others)
  })
}
