import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { readConfig } from '../lib/config.ts'
import { Pause } from '../lib/workers/pause.ts'
import { shareOf } from '../lib/workers/share.ts'
import { consoleOf, countOf, startFleet, workersOf } from './fleet.ts'
import {
  ADMIN_TOKEN,
  after,
  askToken,
  filesOf,
  listUploads,
  needs,
  readReceipts,
  request,
  runProgram,
  sleep,
  startServer,
  submitForm,
  temporaryDirectory,
  until,
  type Running,
} from './harness.ts'
import { ONLY_TRACED } from './trace.ts'
import { formBody, submitHead, Wire } from './wire.ts'

const PREFIX = 'REPROSCHEMA_BACKEND_'
const MEGABYTE = 1_000_000

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test('several processes serve one port, and print and log one start and one stop', async (t) => {
  const server = await startFleet(t, { workers: 3, env: { [`${PREFIX}TOKEN`]: '' } })
  await until('the token is printed', () => /^TOKEN=.*\n/m.test(server.output()))
  assert.equal((await workersOf(server)).length, 3)
  assert.equal((await readdir(join(server.basedir, 'uploads', 'staging'))).length, 3)
  const token = /^TOKEN=([0-9a-f]{32})$/m.exec(server.output())?.[1] ?? ''
  for (let count = 0; count < 12; count++) {
    const { status } = await request(`${server.url}/token?token=${token}`, { headers: { connection: 'close' } })
    assert.equal(status, 200)
  }
  assert.equal(await server.stop(), 0)
  const expected = [`Listening on ${server.url}`, `Data goes to ${server.basedir}`, `TOKEN=${token}`, 'Stopping: uploads under way may finish', 'Stopped', '']
  assert.deepEqual(server.output().split('\n'), expected)
  const lines = (await consoleOf(server.basedir)).split('\n').filter((line) => !/^\d{4}-.* INFO /.test(line))
  assert.deepEqual(lines, expected)
  assert.equal(countOf(await readFile(join(server.basedir, 'logs', 'access.log'), 'utf8'), /"GET \/token HTTP\/1\.1" 200 /g), 12)
  assert.deepEqual(await readdir(join(server.basedir, 'uploads', 'staging')), [])
})

const tokens = [
  { name: 'made at the start', env: { [`${PREFIX}TOKEN`]: '' }, args: [] },
  { name: 'from the environment', env: {}, args: [] },
  { name: 'from a file that the environment names', env: { [`${PREFIX}TOKEN`]: '', [`${PREFIX}TOKEN_FILE`]: 'FILE' }, args: [] },
  { name: 'from a file that an argument names', env: { [`${PREFIX}TOKEN`]: '' }, args: ['--token-file', 'FILE'] },
  { name: 'from a file that an argument names, in one word', env: { [`${PREFIX}TOKEN`]: '' }, args: ['--token-file=FILE'] },
]
test('no worker has the admin token in its arguments or environment, and one that comes later has it', { concurrency: tokens.length }, async (t) => {
  const told = tokens.map(({ name, env, args }) =>
    t.test(`a token ${name}`, async (t) => {
      const file = join(await temporaryDirectory(t), 'token')
      await writeFile(file, ADMIN_TOKEN)
      const named = Object.fromEntries(Object.entries(env).map(([key, value]) => [key, value.replace('FILE', file)]))
      const server = await startFleet(t, { env: named, args: args.map((arg) => arg.replace('FILE', file)) })
      await until('it has said all', () => server.output().includes('Data goes to') && (name !== 'made at the start' || /^TOKEN=.*\n/m.test(server.output())))
      const token = /^TOKEN=(.*)$/m.exec(server.output())?.[1] ?? ADMIN_TOKEN
      const before = await workersOf(server)
      for (const pid of before) {
        const seen = `${await readFile(`/proc/${pid}/environ`, 'latin1')}${await readFile(`/proc/${pid}/cmdline`, 'latin1')}`
        assert.ok(!seen.includes(token) && !seen.includes(file), seen)
      }
      await rm(file)
      for (const [index, pid] of before.entries()) {
        process.kill(pid, 'SIGKILL') // one after another: port 0 is the same one only while somebody has it
        await until('it is replaced', async () => countOf(await consoleOf(server.basedir), /worker replaced/g) === index + 1)
      }
      assert.ok((await workersOf(server)).every((pid) => !before.includes(pid)), 'one is left')
      assert.equal((await request(`${server.url}/token?token=${token}`)).status, 200)
    }),
  )
  await Promise.all(told)
})

test('a worker that ends is replaced after a pause that grows, and the others go on', async (t) => {
  const server = await startFleet(t)
  const [steady, first = 0] = await workersOf(server)
  let last = first
  for (let count = 1; count <= 3; count++) {
    process.kill(last, 'SIGKILL')
    await until('it is replaced', async () => countOf(await consoleOf(server.basedir), /worker replaced/g) === count)
    last = Number([...(await consoleOf(server.basedir)).matchAll(/worker replaced pid=\d+ by=(\d+)/g)].at(-1)?.[1])
    assert.deepEqual((await workersOf(server)).toSorted(), [steady, last].toSorted())
    assert.equal((await request(`${server.url}/`)).status, 200)
  }
  const pauses = [...(await consoleOf(server.basedir)).matchAll(/worker ended pid=\d+ pause_seconds=([\d.]+)/g)].map((match) => Number(match[1]))
  assert.ok((pauses[0] ?? 0) < (pauses[1] ?? 0) && (pauses[1] ?? 0) < (pauses[2] ?? 0), pauses.join(' '))
  assert.equal(await server.stop(), 0)
})

const pauses = [
  { name: 'doubles at each end', ran: [10, 10, 10], expected: [250, 500, 1000] },
  { name: 'grows to half a minute and no further', ran: Array.from({ length: 9 }, () => 0), expected: [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] },
  { name: 'is short again after one that ran well', ran: [0, 0, 60_000, 0], expected: [250, 500, 250, 500] },
]
for (const { name, ran, expected } of pauses) {
  test(`the pause before a worker is replaced ${name}`, () => {
    const pause = new Pause()
    assert.deepEqual(ran.map((ms) => pause.after(ms)), expected)
  })
}

const GiB = 1024 ** 3
const shares = [
  { name: 'a part of each limit', args: ['--workers=4', '--max-request-bytes=1000'], expected: { maxConnections: 1250, maxSubmissions: 500, maxUnknownBytes: 6 * GiB, maxUnknownBytesPerAddress: 1.5 * GiB } },
  { name: 'rounded up', args: ['--workers=3', '--max-connections=4'], expected: { maxConnections: 2 } },
  { name: 'no fewer bytes than one largest request needs', args: ['--workers=16'], expected: { maxUnknownBytes: 6 * GiB, maxUnknownBytesPerAddress: 6 * GiB } },
  { name: 'no more bytes than are allowed to all', args: ['--workers=4', '--max-unknown-bytes-per-address=1000'], expected: { maxUnknownBytesPerAddress: 1000 } },
  { name: 'the rest as it is', args: ['--workers=2', '--port=8100'], expected: { port: 8100, maxRequestBytes: 5 * GiB, idleSeconds: 60 } },
]
for (const { name, args, expected } of shares) {
  test(`one of several processes takes ${name}`, () => {
    const share = shareOf(readConfig(args, {}))
    for (const [key, value] of Object.entries(expected)) assert.equal(share[key as keyof typeof share], value, key)
  })
}

interface Upload {
  readonly wire: Wire
  readonly finish: () => Promise<void>
}

async function beginUpload(server: Running, authToken: string): Promise<Upload> {
  const body = formBody(authToken, Buffer.alloc(MEGABYTE, 'voice '))
  const wire = await Wire.open(server.port)
  await wire.write(submitHead(`Content-Length: ${body.length}`))
  await wire.write(body.subarray(0, MEGABYTE))
  return { wire, finish: () => wire.write(body.subarray(MEGABYTE)) }
}

async function assertEnds(ended: Promise<number | string>, expected: number): Promise<void> {
  let code: number | string | undefined
  void ended.then((value) => (code = value))
  await until('the server has ended', () => code !== undefined)
  assert.equal(code, expected)
}

// As systemd and a terminal send it, to every process; and as `kill` does, to the primary alone.
for (const whom of ['every process', 'the primary alone'] as const) {
  test(`SIGTERM to ${whom}: uploads under way in every worker are accepted, new connections are not`, async (t) => {
    const server = await startFleet(t)
    const authToken = await askToken(server)
    const uploads = await Promise.all(Array.from({ length: 6 }, () => beginUpload(server, authToken)))
    await until('all are staged', async () => (await listUploads(server.basedir)).length === 6)
    const directories = new Set((await listUploads(server.basedir)).map((path) => path.split('/')[1]))
    assert.equal(directories.size, 2, 'both workers have some')
    const [workers, ended] = [await workersOf(server), new Promise<number | string>((done) => server.process.once('exit', (code, signal) => done(code ?? signal ?? '')))]
    if (whom === 'every process') void server.stop()
    else server.process.kill('SIGTERM')
    await until('new connections are refused', async () => (await fetch(`${server.url}/`, { headers: { connection: 'close' } }).catch(() => undefined)) === undefined)
    for (const { finish } of uploads) await finish()
    for (const { wire } of uploads) assert.equal((await wire.answers(1))[0]?.status, 200)
    await assertEnds(ended, 0)
    assert.ok(!workers.some(isRunning), 'a worker is left')
    assert.equal((await readReceipts(server.basedir, 'study')).length, 6)
    assert.deepEqual(await readdir(join(server.basedir, 'uploads', 'staging')), [])
  })
}

test('an upload that does not end is cut after the stop seconds', async (t) => {
  const server = await startFleet(t, { env: { [`${PREFIX}STOP_SECONDS`]: '0' } })
  await beginUpload(server, await askToken(server))
  await until('it is staged', async () => (await listUploads(server.basedir)).length > 0)
  await assertEnds(server.stop(), 0)
  assert.deepEqual(await readdir(join(server.basedir, 'uploads', 'staging')), [])
})

test('a second signal ends every process at once, and the next start removes what they left', async (t) => {
  const server = await startFleet(t)
  await beginUpload(server, await askToken(server))
  await until('it is staged', async () => (await listUploads(server.basedir)).length > 0)
  const workers = await workersOf(server)
  const ended = server.stop()
  await until('it is stopping', () => server.output().includes('Stopping'))
  await sleep(1100) // sooner it counts as the same request
  void server.stop()
  await assertEnds(ended, 1)
  await until('the workers have ended', () => !workers.some(isRunning))
  const next = await startFleet(t, { basedir: server.basedir })
  await until('nothing is left', async () => (await listUploads(next.basedir)).length === 0)
  await assertEnds(next.stop(), 0)
  assert.deepEqual(await readdir(join(server.basedir, 'uploads', 'staging')), [])
})

test('workers whose primary is killed end by themselves', async (t) => {
  const server = await startFleet(t)
  const workers = await workersOf(server)
  assert.equal(workers.length, 2)
  server.process.kill('SIGKILL')
  await until('the workers have ended', () => !workers.some(isRunning))
})

test('a worker that is killed during a stop makes the exit code 1', async (t) => {
  const server = await startFleet(t)
  await beginUpload(server, await askToken(server))
  await until('it is staged', async () => (await listUploads(server.basedir)).length > 0)
  const ended = server.stop()
  await until('one of them is left, with the upload', async () => server.output().includes('Stopping') && (await workersOf(server)).length === 1)
  for (const pid of await workersOf(server)) process.kill(pid, 'SIGKILL')
  await assertEnds(ended, 1)
})

const failedStarts = [
  { name: 'a certificate that is none', args: ['--tls-cert=/dev/null', '--tls-key=/dev/null'], says: /^Cannot use the certificate \/dev\/null with the key \/dev\/null: .*\n$/ },
  { name: 'a base directory below a file', args: ['--basedir=/dev/null/data'], says: /^Cannot use the base directory \/dev\/null\/data: .*\n$/ },
  { name: 'a base directory whose tokens are a file', args: ['--basedir=BASEDIR'], says: /^Cannot use the base directory .*\/tokens is not a directory, and links are not followed\n$/ },
  { name: 'a host that is not this machine', args: ['--host=192.0.2.1'], says: /^Cannot listen on 192\.0\.2\.1 port 0: .*\n$/ },
  { name: 'a host that does not exist', args: ['--host=no.such.invalid'], says: /^Cannot listen on no\.such\.invalid port 0: .*\n$/ },
]
for (const { name, args, says } of failedStarts) {
  test(`the start of several processes ends with 1 and one line at ${name}`, async (t) => {
    const basedir = await temporaryDirectory(t)
    await writeFile(join(basedir, 'tokens'), '')
    const ended = runProgram(['--workers=3', '--port=0', ...args.map((arg) => arg.replace('BASEDIR', basedir))], {}, await temporaryDirectory(t))
    assert.deepEqual([ended.status, ended.stdout], [1, ''])
    assert.match(ended.stderr, says)
  })
}

test('a taken port stops the start of several processes with one line, and nothing is left in staging', async (t) => {
  const other = createServer().listen(0, '127.0.0.1')
  t.after(() => other.close())
  await until('the port is taken', () => other.listening)
  const address = other.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const basedir = await temporaryDirectory(t)
  const ended = runProgram(['--workers=3', '--host=127.0.0.1', `--port=${port}`, `--basedir=${basedir}`])
  assert.deepEqual([ended.status, ended.stdout], [1, ''])
  assert.equal(ended.stderr, `Port ${port} on 127.0.0.1 is taken by another program. Set PORT or --port to a free one.\n`)
  assert.deepEqual(await readdir(join(basedir, 'uploads', 'staging')), [])
})

test('several processes end together where it cannot be noted which recipients they began with', async (t) => {
  const basedir = await temporaryDirectory(t)
  await mkdir(join(basedir, 'keys', 'lists', '20241101T110000000Z-0123abcd'), { recursive: true })
  const ended = runProgram(['--workers=2', '--host=127.0.0.1', '--port=0', `--basedir=${basedir}`])
  assert.deepEqual([ended.status, ended.stdout], [1, ''])
  assert.match(ended.stderr, /^Cannot use the base directory .*: EISDIR: illegal operation on a directory, read\n$/)
  assert.deepEqual(await readdir(join(basedir, 'uploads', 'staging')), [])
})

test('a bad number of workers is refused', () => {
  for (const workers of ['0', '65', 'x']) {
    const { status, stderr } = runProgram([`--workers=${workers}`])
    assert.deepEqual([status, stderr], [2, `--workers="${workers}" is not allowed: use a whole number from 1 to 64.\n`])
  }
})

test('sockets of systemd with several processes are refused with a sentence', async (t) => {
  const server = startFleet(t, { through: ['sh', '-c', 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', 'sh'] })
  await assert.rejects(server, /ended with 2:\nSockets of systemd and several processes cannot be used together: .*\n$/)
})

test('one process loads no code for several', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const trace = join(await temporaryDirectory(t), 'trace')
  const server = await startServer(t, { through: ['strace', '-f', ONLY_TRACED, '-e', 'trace=openat', '-o', trace] })
  assert.equal(await server.stop(), 0)
  const opened = new Set([...(await readFile(trace, 'utf8')).matchAll(/\/dist\/lib\/(?:workers\/)?(\w+\.js)"/g)].map((match) => match[1]))
  assert.ok(opened.has('app.js'), [...opened].join(' '))
  assert.deepEqual([...opened].filter((file) => /^(primary|place|worker|share|pause|message|tally|census|lookout)\.js$/.test(file ?? '')), [])
})

test('logs of an earlier week are turned once, and no line is lost', async (t) => {
  const basedir = await temporaryDirectory(t)
  await mkdir(join(basedir, 'logs'))
  const lastWeek = new Date(Date.now() - 8 * 24 * 3600 * 1000)
  for (const name of ['console.log', 'access.log']) {
    await writeFile(join(basedir, 'logs', name), 'old\n')
    await utimes(join(basedir, 'logs', name), lastWeek, lastWeek)
  }
  const server = await startFleet(t, { workers: 4, basedir })
  const most = 400
  await Promise.all(Array.from({ length: most }, () => request(`${server.url}/`, { headers: { connection: 'close' } })))
  assert.equal(await server.stop(), 0)
  const files = await readdir(join(basedir, 'logs'))
  for (const name of ['console.log', 'access.log']) {
    const turned = files.filter((file) => file.startsWith(`${name}.`))
    assert.equal(turned.length, 1, files.join(' '))
    assert.equal(await readFile(join(basedir, 'logs', turned[0] ?? ''), 'utf8'), 'old\n')
  }
  const lines = (await readFile(join(basedir, 'logs', 'access.log'), 'utf8')).split('\n')
  assert.equal(lines.filter((line) => /^127\.0\.0\.1 - - \[.*\] "GET \/ HTTP\/1\.1" 200 17 "-" ".*"$/.test(line)).length, most)
  assert.equal(lines.length, most + 1)
})

test('SIGHUP and SIGUSR2 begin the log files anew, and end nothing', async (t) => {
  const server = await startFleet(t)
  const log = join(server.basedir, 'logs', 'access.log')
  for (const signal of ['SIGHUP', 'SIGUSR2'] as const) {
    await request(`${server.url}/?before`)
    await until('it is logged', async () => (await readFile(log, 'utf8').catch(() => '')) !== '')
    await rename(log, `${log}.moved-${signal}`)
    process.kill(-(server.process.pid ?? 0), signal)
    await until('a new file is there', async () => (await readdir(join(server.basedir, 'logs'))).includes('access.log'))
    assert.equal((await request(`${server.url}/livez`)).status, 200)
    await until('it is logged there', async () => (await readFile(log, 'utf8')).includes('"GET /livez '))
  }
  assert.equal((await workersOf(server)).length, 2)
  assert.equal(await server.stop(), 0)
})

test('workers that are killed under load, and a restart, lose no submission that was accepted', async (t) => {
  const server = await startFleet(t)
  const authToken = await askToken(server)
  const promised = new Map<string, string>()
  let isOver = false
  after(t, () => (isOver = true)) // a test that fails is not to go on sending
  const clients = Array.from({ length: 8 }, async (_, client) => {
    for (let count = 0; !isOver; count++) {
      const text = `voice ${client}-${count} `.repeat(2000)
      const form = [['file', Buffer.from(text), 'voice.wav'], ['auth_token', authToken], ['responses', '[]']] as const
      const answer = await submitForm(server, form, { connection: 'close' }).catch(() => undefined) // its worker was killed
      for (const file of answer?.status === 200 ? filesOf(answer) : []) {
        promised.set(file.stored_as, file.name === 'voice.wav' ? text : '[]')
      }
    }
  })
  for (let kills = 1; kills <= 2; kills++) {
    const before = promised.size
    await until('some were accepted', () => promised.size > before + 20)
    const [victim = 0] = await workersOf(server)
    process.kill(victim, 'SIGKILL')
    await until('it is replaced', async () => countOf(await consoleOf(server.basedir), /worker replaced/g) === kills)
  }
  const before = promised.size
  await until('some more were accepted', () => promised.size > before + 20)
  const ended = server.stop()
  await assertEnds(ended, 0)
  isOver = true
  await Promise.all(clients)
  const next = await startFleet(t, { basedir: server.basedir })
  assert.equal(await next.stop(), 0)
  for (const [storedAs, text] of promised) {
    assert.equal(await readFile(join(server.basedir, 'uploads/responses/study', storedAs), 'utf8'), text, storedAs)
  }
  const verified = runProgram(['verify', `--basedir=${server.basedir}`])
  assert.equal(verified.status, 0, verified.stdout)
  assert.doesNotMatch(verified.stdout, /without a receipt/)
  const receipts = await readReceipts(server.basedir, 'study')
  const received = new Set(receipts.flatMap((receipt) => (receipt['files'] as { stored_as: string }[]).map((file) => file.stored_as)))
  for (const storedAs of promised.keys()) assert.ok(received.has(storedAs), storedAs)
  assert.deepEqual(await readdir(join(server.basedir, 'uploads', 'staging')), [])
})
