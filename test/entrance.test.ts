import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, open, readFile, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { newIdentity } from '../lib/crypt/keys.ts'
import { checkKept, checkReceipts } from './evidence.ts'
import { startFleet } from './fleet.ts'
import { ADMIN_TOKEN, askToken, freePort, listFiles, needs, request, runProgram, sleep, startServer, temporaryDirectory, until, type Answer, type Running, type StartOptions } from './harness.ts'
import { submission, Wire, type WireAnswer } from './wire.ts'

const ASK_TOKEN = `GET /token?token=${ADMIN_TOKEN}&project=study HTTP/1.1\r\nHost: localhost\r\n\r\n`
const ASK_ROOT = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'

/** A server that listens, and whose start waits for what only `goOn` gives. */
interface Held {
  readonly basedir: string
  readonly port: number
  /** Is settled as the start. */
  readonly starting: Promise<Running>
  readonly hasStarted: () => boolean
  readonly signal: (name: NodeJS.Signals) => Promise<void>
  /** Gives the start what it waits for, good or bad. */
  readonly goOn: (text?: string) => Promise<void>
}

/** Its note of the recipients that it began with last is a pipe: the start reads that when all else is open. */
async function startHeld(t: TestContext, basedir: string, options: StartOptions = {}): Promise<Held> {
  const lists = join(basedir, 'keys', 'lists')
  const [list, pidFile] = [join(lists, '20241101T120000000Z-0123abcd'), join(await temporaryDirectory(t), 'pid')]
  await mkdir(lists, { recursive: true })
  const { status, stderr } = spawnSync('mkfifo', [list], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  const port = await freePort()
  const through = ['sh', '-c', 'echo $$ > "$0"; exec "$@"', pidFile]
  const starting = startServer(t, { ...options, basedir, env: { PORT: String(port), ...options.env }, through })
  let hasStarted = false
  starting.then(() => (hasStarted = true), () => undefined)
  await until('it listens', () => isAnswered(port))
  return {
    basedir,
    port,
    starting,
    hasStarted: () => hasStarted,
    signal: async (name) => void process.kill(Number(await readFile(pidFile, 'utf8')), name),
    goOn: async (text = '# none\n') => {
      const pipe = await open(list, 'w')
      await pipe.writeFile(text)
      await pipe.close()
    },
  }
}

function isAnswered(port: number): Promise<boolean> {
  return request(`http://127.0.0.1:${port}/`).then(({ status }) => status === 200, () => false)
}

async function firstToken(t: TestContext, basedir: string): Promise<string> {
  const server = await startServer(t, { basedir })
  const authToken = await askToken(server)
  assert.equal(await server.stop(), 0)
  return authToken
}

const asAnswer = (answer: WireAnswer): Answer => ({ ...answer, headers: new Headers(answer.headers) })

test('while the server still starts `/` and `/livez` are answered; all else waits, is answered, and is kept', async (t) => {
  const basedir = await temporaryDirectory(t)
  const authToken = await firstToken(t, basedir)
  const { port, starting, hasStarted, goOn } = await startHeld(t, basedir, { env: { REPROSCHEMA_BACKEND_IDLE_SECONDS: '1' } })
  assert.deepEqual((await request(`http://127.0.0.1:${port}/livez`)).json, { status: 'alive' })
  assert.equal((await request(`http://127.0.0.1:${port}/elsewhere`)).status, 404)
  const [token, upload] = [await Wire.open(port), await Wire.open(port)]
  await token.write(ASK_TOKEN)
  void upload.write(submission(authToken, Buffer.alloc(50_000_000, 'voice ')))
  const waiting = ['/readyz', `/metrics?token=${ADMIN_TOKEN}`, '/register'].map((path) => request(`http://127.0.0.1:${port}${path}`))
  await sleep(2500) // longer than a client may stand still: here it is the server that has it wait
  for (let count = 0; count < 20; count++) assert.ok(await isAnswered(port))
  assert.deepEqual([token.received, upload.received, hasStarted()], ['', '', false])
  assert.ok(upload.socket.writableLength > 0, 'the sender waits')
  await goOn()
  const server = await starting
  assert.equal((await token.answers(1))[0]?.status, 200)
  const [answer] = await upload.answers(1)
  assert.equal(answer?.status, 200, answer?.text)
  await checkKept(basedir, asAnswer(answer))
  assert.equal((await checkReceipts(basedir, 'study')).length, 1)
  assert.deepEqual((await Promise.all(waiting)).map(({ status }) => status), [200, 200, 403])
  const { text } = await request(`${server.url}/metrics?token=${ADMIN_TOKEN}`)
  assert.equal(await server.stop(), 0)
  await checkCounted(basedir, text)
})

/** What came early is in the log as often as it is counted, at the time of its answer. */
async function checkCounted(basedir: string, metrics: string): Promise<void> {
  const lines = (await readFile(join(basedir, 'logs', 'access.log'), 'utf8')).split('\n')
  const second = lines.slice(lines.findIndex((line) => line.includes('"GET /token') && line.includes(' 200 ')) + 1) // of the second server
  const logged = (path: string) => second.filter((line) => line.includes(`"GET ${path} HTTP/1.1"`) || line.includes(`"POST ${path} HTTP/1.1"`))
  const expected = [['/livez', 'livez"', 1], ['/elsewhere', '(other)"', 1], ['/readyz', 'readyz"', 1], ['/token', 'token"', 1], ['/submit', 'submit"', 1]] as const
  const counted = (label: string) => Number(new RegExp(`^reproschema_backend_requests_total\\{route="/?${label.replace(/[()]/g, '\\$&')},status="\\d+"\\} (\\d+)$`, 'm').exec(metrics)?.[1])
  for (const [path, label, count] of expected) assert.deepEqual([path, logged(path).length, counted(label)], [path, count, count])
  assert.ok(logged('/').length > 20)
  assert.equal(counted('"'), logged('/').length)
  const secondsOf = (line = '') => /\[([^\]]+)\]/.exec(line)?.[1]
  assert.notEqual(secondsOf(logged('/livez')[0]), secondsOf(logged('/readyz')[0]))
}

test('of very many answers before the start is over the first are kept, and how many are missing is said', async (t) => {
  const { basedir, port, starting, goOn } = await startHeld(t, await temporaryDirectory(t))
  const wires = await Promise.all(Array.from({ length: 6 }, () => Wire.open(port)))
  await Promise.all(wires.map((wire) => wire.write(ASK_ROOT.repeat(200))))
  for (const wire of wires) assert.equal((await wire.answers(200)).length, 200)
  await goOn()
  assert.equal(await (await starting).stop(), 0)
  const lines = (await readFile(join(basedir, 'logs', 'access.log'), 'utf8')).split('\n').slice(0, -1)
  const missing = Number(/ INFO the start took long: .* missing=(\d+)$/m.exec(await readFile(join(basedir, 'logs', 'console.log'), 'utf8'))?.[1])
  assert.deepEqual([lines.length, missing >= 200], [1000, true])
})

test('a start that fails sends away who waits, leaves nothing, and ends with its sentence', async (t) => {
  const basedir = await temporaryDirectory(t)
  await mkdir(join(basedir, 'keys', 'lists', '20241101T110000000Z-0123abcd'), { recursive: true }) // is read after the pipe
  const { port, starting, goOn } = await startHeld(t, basedir)
  const [token, upload] = [await Wire.open(port), await Wire.open(port)]
  await token.write(ASK_TOKEN)
  await upload.write(submission('study-0123456789abcdef0123456789abcdef', 'voice'))
  assert.ok(await isAnswered(port))
  await goOn('cut off')
  for (const wire of [token, upload]) await checkSentAway(wire)
  await assert.rejects(starting, /ended with 1:\nCannot use the base directory .*: EISDIR: .*\n$/)
  assert.deepEqual((await listFiles(basedir)).filter((path) => /^(uploads|receipts|tokens)\//.test(path)), [])
})

test('a start that fails in its last step ends too', { timeout: 60_000 }, async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const [basedir, other] = [await temporaryDirectory(t), await temporaryDirectory(t)]
  const [proofs, port] = [join(basedir, 'keys', 'proofs'), await freePort()]
  const injection = ['-P', proofs, '-e', 'trace=openat', '-e', 'inject=openat:error=EIO', '-o', join(other, 'trace')]
  const starting = startServer(t, { basedir, env: { PORT: String(port) }, through: ['strace', '-f', ...injection] })
  await assert.rejects(starting, /ended with 1:\nCannot use the base directory .*: EIO: .*\n$/)
  assert.deepEqual((await listFiles(basedir)).filter((path) => /^uploads\//.test(path)), [])
})

test('a stop that is asked for during the start sends away who waits, at once, and ends with 0', async (t) => {
  const basedir = await temporaryDirectory(t)
  const { port, starting, hasStarted, signal, goOn } = await startHeld(t, basedir)
  const [token, upload] = [await Wire.open(port), await Wire.open(port)]
  await token.write(ASK_TOKEN)
  await upload.write(submission('study-0123456789abcdef0123456789abcdef', 'voice'))
  assert.ok(await isAnswered(port))
  await signal('SIGTERM')
  for (const wire of [token, upload]) await checkSentAway(wire)
  await assert.rejects(Wire.open(port), { code: 'ECONNREFUSED' })
  assert.equal(hasStarted(), false)
  await goOn()
  const { process: child } = await starting
  assert.equal(child.exitCode ?? (await once(child, 'exit'))[0], 0)
  assert.deepEqual((await listFiles(basedir)).filter((path) => /^(uploads|receipts|tokens)\//.test(path)), [])
})

async function checkSentAway(wire: Wire): Promise<void> {
  const [answer] = await wire.answers(1)
  assert.deepEqual([answer?.status, answer?.json['status'], answer?.json['code']], [503, 'failed', 'stopping'])
  assert.deepEqual([answer?.headers['retry-after'], answer?.headers['access-control-allow-origin']], ['60', '*'])
  await wire.closed
}

test('SIGHUP and SIGUSR2 during the start end nothing', async (t) => {
  const { basedir, starting, signal, goOn } = await startHeld(t, await temporaryDirectory(t))
  for (const name of ['SIGHUP', 'SIGUSR2'] as const) await signal(name)
  await goOn()
  const server = await starting
  assert.equal((await request(`${server.url}/readyz`)).status, 200)
  assert.equal(await server.stop(), 0)
  assert.doesNotMatch(await readFile(join(basedir, 'logs', 'console.log'), 'utf8'), /ERROR/)
})

const wrongStarts: { name: string; make: (basedir: string) => Promise<readonly string[]>; says: RegExp }[] = [
  { name: 'a base directory that is a file', make: async (basedir) => [`--basedir=${join(basedir, 'file')}`], says: /^Cannot use the base directory .*\/file: ENOTDIR: not a directory, scandir '.*\/file\/projects'\n$/ },
  { name: 'a base directory that nobody may make', make: async () => ['--basedir=/proc/data'], says: /^Cannot use the base directory \/proc\/data: \/proc\/data was removed/ },
  {
    name: 'a base directory that is a link to nothing',
    make: async (basedir) => {
      await symlink(join(basedir, 'gone'), join(basedir, 'link'))
      return [`--basedir=${join(basedir, 'link')}`]
    },
    says: /^Cannot use the base directory .*link is not a directory, and links are not followed/,
  },
  {
    name: 'recipients of a project and none of the server',
    make: async (basedir) => {
      await mkdir(join(basedir, 'projects', 'study'), { recursive: true })
      await writeFile(join(basedir, 'projects', 'study', 'recipients'), newIdentity().recipient.text)
      return [`--basedir=${basedir}`]
    },
    says: / names recipients, and the server has none: /,
  },
  {
    name: 'a certificate that is none',
    make: async (basedir) => [`--basedir=${basedir}`, `--tls-cert=${join(basedir, 'file')}`, `--tls-key=${join(basedir, 'file')}`],
    says: /^Cannot use the certificate /,
  },
]
for (const { name, make, says } of wrongStarts) {
  test(`who sets it up wrongly is told before it listens: ${name}`, async (t) => {
    if (!needs(t, 'strace', 'strace')) return
    const [basedir, other] = [await temporaryDirectory(t), await temporaryDirectory(t)]
    const trace = join(other, 'trace')
    await writeFile(join(basedir, 'file'), '')
    const args = await make(basedir)
    const { status, stderr } = runProgram(['--host=127.0.0.1', '--port=0', ...args], {}, other, ['strace', '-f', '-e', 'trace=listen,execve', '-o', trace])
    assert.equal(status, 1)
    assert.match(stderr, says)
    const calls = await readFile(trace, 'utf8')
    assert.match(calls, /execve\(/)
    assert.doesNotMatch(calls, /listen\(/)
  })
}

const takenPorts = [
  { name: 'of one process', below: '', args: [], left: /^$/ },
  { name: 'of one process that makes its base directory', below: 'new', args: [], left: /^(?!keys|servers)/ },
  { name: 'of several processes', below: '', args: ['--workers=2'], left: /^(?!keys|servers)/ },
]
for (const { name, below, args, left } of takenPorts) {
  test(`a start ${name} on a taken port does not change which recipients commands go by`, async (t) => {
    const other = createServer().listen(0, '127.0.0.1')
    t.after(() => other.close())
    await once(other, 'listening')
    const address = other.address()
    const port = typeof address === 'object' ? address?.port : undefined
    const parent = await temporaryDirectory(t)
    const basedir = join(parent, below)
    const { status, stderr } = runProgram([`--basedir=${basedir}`, '--host=127.0.0.1', `--port=${port}`, `--recipients=${newIdentity().recipient.text}`, ...args])
    assert.equal(status, 1)
    assert.match(stderr, /^Port \d+ on 127\.0\.0\.1 is taken by another program\./)
    assert.deepEqual((await listFiles(basedir)).filter((path) => !left.test(path)), [])
  })
}

test('before it listens the server loads only what its first answer needs, and before it says so all the rest', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const trace = join(await temporaryDirectory(t), 'trace')
  const server = await startServer(t, { through: ['strace', '-f', '-e', 'trace=openat,listen', '-o', trace] })
  const atStart = (await readFile(trace, 'utf8')).length
  const wire = await Wire.open(server.port)
  await wire.write(submission(await askToken(server), 'voice'))
  assert.equal((await wire.answers(1))[0]?.status, 200)
  await wire.write('nonsense\r\n\r\n')
  await wire.closed
  assert.equal(await server.stop(), 0)
  const text = await readFile(trace, 'utf8')
  const [early, late] = [modulesIn(text.slice(0, text.indexOf('listen('))), modulesIn(text.slice(atStart))]
  assert.deepEqual(late, [], 'loaded after the start')
  assert.ok(early.includes('serve.js') && early.includes('lib/entrance.js'), early.join(' '))
  assert.deepEqual(early.filter((path) => /^lib\/(service|log|durable|store\/store|access\/grants|routes\/submit|alerts\/.*|dataset\/.*|multipart\/.*)\.js$/.test(path)), [])
  assert.ok(modulesIn(text).length > 2 * early.length, early.join(' '))
})

test('one of several processes loads the service before it listens: till then the others are asked', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const trace = join(await temporaryDirectory(t), 'trace')
  const server = await startFleet(t, { through: ['strace', '-f', '-e', 'trace=openat,listen', '-o', trace] })
  assert.equal(await server.stop(), 0)
  const text = await readFile(trace, 'utf8')
  assert.ok(modulesIn(text.slice(0, text.indexOf('listen('))).includes('lib/service.js'))
})

/** The files of dist/ in the order in which they were opened. */
function modulesIn(trace: string): string[] {
  return [...trace.matchAll(/openat\([^,]*, "[^"]*\/dist\/([^"]+\.js)"/g)].map((match) => match[1] ?? '')
}
