// Measures the commands on large data, which is made on disk as the server writes it: 2 GB of recordings in one session, and
// 100,000 submissions; the same encrypted, with fewer submissions. Prints figures; fails where one is out of bounds. `npm run soak-dataset [directory]`.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream, mkdtempSync, readFileSync } from 'node:fs'
import { mkdir, open, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from '../lib/archive/crc32.ts'
import type { Identity } from '../lib/crypt/keys.ts'
import { makeIdentity, store } from './encrypted.ts'
import { PROGRAM } from './harness.ts'
import { sha256Of } from './sha256.ts'
import { activityUpload, answer, finalZip, makeWav, openApp, SLICE_BYTES, type Sent } from './web-app.ts'
import { writeZip } from './zip-writer.ts'

const RECORDINGS = 40
const RECORDING_BYTES = 50_000_000
const SUBMISSIONS = [25_000, 50_000, 100_000]
const ENCRYPTED_SUBMISSIONS = [25_000]
const HEAP_MEGABYTES = 256 // Node takes more where there is more; this is what 100,000 submissions need
const MOST_MEMORY = 450_000_000

/** Writes files and receipts as the server does. */
class Writer {
  readonly #directory: string
  readonly #receipts: ReturnType<typeof createWriteStream>
  readonly #reader: Identity | undefined
  #previous: string | null = null
  #count = 0

  constructor(basedir: string, reader: Identity | undefined) {
    this.#reader = reader
    this.#directory = join(basedir, 'uploads', 'responses', 'study')
    this.#receipts = createWriteStream(join(basedir, 'receipts', 'study', '20240101T000000.000000Z-00000000.ndjson'))
  }

  static async open(basedir: string, reader: Identity | undefined): Promise<Writer> {
    await mkdir(join(basedir, 'uploads', 'responses', 'study'), { recursive: true })
    await mkdir(join(basedir, 'receipts', 'study'), { recursive: true })
    return new Writer(basedir, reader)
  }

  async add(participant: string, field: string, { name, content }: Sent): Promise<void> {
    const receivedAt = new Date(Date.UTC(2024, 0, 1) + this.#count++ * 20_000).toISOString().replace('Z', '000Z')
    const storedAs = `${receivedAt.replace(/[-:]/g, '')}-${name}`
    const files = [{ field, name, ...(await this.#store(storedAs, content)) }]
    const receipt = { id: randomBytes(16).toString('hex'), received_at: receivedAt, project: 'study', token_sha256: sha256Of(participant), participant, fields: [], files }
    const line = JSON.stringify({ ...receipt, previous: this.#previous })
    this.#previous = sha256Of(line)
    if (!this.#receipts.write(`${line}\n`)) await once(this.#receipts, 'drain')
  }

  async #store(storedAs: string, content: Buffer): Promise<object> {
    if (this.#reader !== undefined) return store(this.#directory, storedAs, content, [this.#reader])
    await writeFile(join(this.#directory, storedAs), content)
    return { stored_as: storedAs, bytes: content.length, sha256: sha256Of(content) }
  }

  async close(): Promise<void> {
    this.#receipts.end()
    await once(this.#receipts, 'close')
  }
}

const root = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'reproschema-soak-'))
void soak().finally(() => rm(root, { recursive: true, force: true }))

async function soak(): Promise<void> {
  const reader = await makeIdentity(join(root, 'key'))
  await soakRecordings(join(root, 'large'))
  await soakRecordings(join(root, 'large-encrypted'), reader)
  await soakSubmissions(join(root, 'many'), SUBMISSIONS)
  await soakSubmissions(join(root, 'many-encrypted'), ENCRYPTED_SUBMISSIONS, reader)
}

async function soakRecordings(basedir: string, reader?: Identity): Promise<void> {
  const key = reader === undefined ? [] : ['--identity', join(root, 'key')]
  const writer = await Writer.open(basedir, reader)
  const archive = join(basedir, 'session.zip')
  const stem = await writeLargeArchive(archive)
  const { size } = await stat(archive)
  const handle = await open(archive)
  for (let at = 0; at < size; at += SLICE_BYTES) {
    const content = Buffer.alloc(Math.min(SLICE_BYTES, size - at))
    await handle.read(content, 0, content.length, at)
    await writer.add('anna', 'file', { name: `${stem}.zip.00${at / SLICE_BYTES}`, content })
  }
  await handle.close()
  await writer.close()
  await rm(archive)
  console.log(`one session of ${size} bytes in ${Math.ceil(size / SLICE_BYTES)} slices${reader === undefined ? '' : ', encrypted'}`)
  if (reader !== undefined) for (const command of ['status', 'verify']) await measure([command, '--basedir', basedir])
  await measure(['status', 'study', '--basedir', basedir, ...key])
  await measure(['verify', '--basedir', basedir, ...key])
  await measure(['export', 'study', join(root, 'out'), '--basedir', basedir, ...key])
  await measure(['export', 'study', join(root, 'out'), '--basedir', basedir, ...key, '--resume'])
  await rm(join(root, 'out'), { recursive: true })
}

// One recording after another: the archive is never in memory whole here either.
async function writeLargeArchive(path: string): Promise<string> {
  const stem = `${randomUUID()}-anna`
  const sitting = openApp('anna')
  const content = makeWav((RECORDING_BYTES - 44) / 2)
  const { given } = answer(sitting, 'voice', Object.fromEntries(Array.from({ length: RECORDINGS }, (_, index) => [`say${index}`, content])))
  const head = [{ name: `${stem}/activity_0.jsonld`, content: JSON.stringify(given.flatMap(({ elements }) => elements)) }]
  const recordings = given.flatMap(({ recording }) => (recording === undefined ? [] : [{ name: `${stem}/${recording.name}`, content }]))
  const handle = await open(path, 'wx')
  const directory: Buffer[] = []
  let offset = 0
  for (const entry of [...head, ...recordings]) {
    const single = writeZip([entry])
    const directoryAt = single.readUInt32LE(single.length - 6)
    const central = Buffer.from(single.subarray(directoryAt, single.length - 22))
    central.writeUInt32LE(offset, 42)
    directory.push(central)
    await handle.write(single.subarray(0, directoryAt))
    offset += directoryAt
  }
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(directory.length, 8)
  end.writeUInt16LE(directory.length, 10)
  end.writeUInt32LE(Buffer.concat(directory).length, 12)
  end.writeUInt32LE(offset, 16)
  await handle.write(Buffer.concat([...directory, end]))
  await handle.close()
  assert.equal(crc32(Buffer.from('123456789'), 0), 0xcbf43926)
  return stem
}

async function soakSubmissions(basedir: string, counts: readonly number[], reader?: Identity): Promise<void> {
  const key = reader === undefined ? [] : ['--identity', join(root, 'key')]
  const writer = await Writer.open(basedir, reader)
  const wav = makeWav(500)
  let written = 0
  for (const submissions of counts) {
    for (; written < submissions; written += 5) {
      for (const uid of [`p${written}`, `p${written}b`]) {
        const sitting = openApp(uid)
        answer(sitting, 'voice', { say: wav, mood: 3, text: 'a few words of an answer' })
        const { name, content } = finalZip(sitting)
        await writer.add(uid, 'file', activityUpload(sitting, 0))
        await writer.add(uid, 'file', { name: `${name}.000`, content })
      }
      await writer.add(`p${written}`, 'responses', { name: 'messages.json', content: Buffer.from('[]') })
    }
    console.log(`${submissions} submissions${reader === undefined ? '' : ', encrypted'}`)
    await new Promise((done) => setTimeout(done, 2000)) // the receipts are written
    await measure(['status', 'study', '--basedir', basedir])
    if (reader !== undefined) await measure(['status', 'study', '--basedir', basedir, ...key])
  }
  await writer.close()
  await measure(['verify', '--basedir', basedir, ...key])
  await measure(['export', 'study', join(root, 'out'), '--basedir', basedir, ...key])
  await rm(join(root, 'out'), { recursive: true })
}

async function measure(args: readonly string[]): Promise<void> {
  const began = performance.now()
  const child = spawn(process.execPath, [`--max-old-space-size=${HEAP_MEGABYTES}`, PROGRAM, ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
  let memory = 0
  const timer = setInterval(() => (memory = Math.max(memory, peakMemory(child.pid))), 20)
  const [code] = (await once(child, 'exit')) as [number | null]
  clearInterval(timer)
  const flags = ['--identity', '--resume'].filter((flag) => args.includes(flag)).map((flag) => ` ${flag}`).join('')
  console.log(`  ${args[0]}${flags}: ${((performance.now() - began) / 1000).toFixed(1)} s, ${(memory / 1e6).toFixed(0)} MB of memory at most`)
  assert.equal(code, 0)
  assert.ok(memory < MOST_MEMORY)
}

function peakMemory(pid: number | undefined): number {
  try {
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
  } catch {
    return 0 // it has just ended
  }
}
