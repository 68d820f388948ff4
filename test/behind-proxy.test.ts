import assert from 'node:assert/strict'
import { execFile, spawn, spawnSync } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { request as httpsRequest } from 'node:https'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { startActivated, type Activated } from './activated.ts'
import { ADMIN_TOKEN, after, askToken, filesOf, listFiles, listUploads, needs, request, ROOT, startServer, temporaryDirectory, until, type Answer } from './harness.ts'
import { sha256Of } from './sha256.ts'
import { fileStart, formBody, submission, submitHead, Wire } from './wire.ts'

const DEPLOY = join(ROOT, 'deploy')
const CLIENT = '127.0.0.5' // what the server is to take for the client, and no proxy
const HOSTS = ['study.example.org', 'lab.example.org'] as const

interface Scene {
  readonly server: Activated
  readonly directory: string
  readonly port: number
  readonly socketPath: string
  /** Everything that the proxy has printed or written. */
  logs(): Promise<string>
}

/** Where the files of a test lie. */
interface Places {
  readonly directory: string
  readonly port: number
  readonly socketPath: string
}

interface Proxy {
  readonly name: string
  readonly program: string
  readonly debianPackage: string
  /** Writes the configuration that we ship, with the paths and the port of a test, and gives the command. */
  readonly prepare: (places: Places) => Promise<readonly string[]>
}

const proxies: Proxy[] = [
  {
    name: 'nginx',
    program: 'nginx',
    debianPackage: 'nginx-light',
    async prepare({ directory, port, socketPath }) {
      const shipped = await readFile(join(DEPLOY, 'nginx.conf'), 'utf8')
      const site = shipped
        .replaceAll('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
        .replaceAll(/^ *listen \[::\]:443.*\n/gm, '')
        .replaceAll(/\/etc\/letsencrypt\/live\/[^/]*\//g, `${directory}/`)
        .replaceAll('/var/log/nginx/', `${directory}/`)
        .replaceAll('/run/reproschema-backend.sock', socketPath)
      const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${directory}/${kind};`)
      const user = process.getuid?.() === 0 ? 'user root;' : '' // who may enter the directory of a test
      const main = `daemon off; pid ${directory}/pid; error_log stderr; ${user} events {} http { access_log off; ${paths.join(' ')} include ${directory}/site.conf; }`
      await writeFile(join(directory, 'site.conf'), site)
      await writeFile(join(directory, 'nginx.conf'), main)
      return ['nginx', '-c', join(directory, 'nginx.conf'), '-e', 'stderr']
    },
  },
  {
    name: 'Caddy',
    program: 'caddy',
    debianPackage: 'caddy',
    async prepare({ directory, port, socketPath }) {
      const shipped = await readFile(join(DEPLOY, 'Caddyfile'), 'utf8')
      const files = `tls ${directory}/fullchain.pem ${directory}/privkey.pem`
      const site = shipped
        .replace(/^\{\n/m, '{\n\tadmin off\n\tauto_https disable_redirects\n')
        .replaceAll(/^(\w+\.example\.org) \{\n/gm, `https://$1:${port} {\n\tbind 127.0.0.1\n\t${files}\n`)
        .replaceAll('/run/reproschema-backend.sock', socketPath)
      await writeFile(join(directory, 'Caddyfile'), site)
      return ['caddy', 'run', '--adapter', 'caddyfile', '--config', join(directory, 'Caddyfile')]
    },
  },
]

for (const proxy of proxies) {
  describe(`behind ${proxy.name}`, () => {
    for (const [host, base] of [[HOSTS[0], ''], [HOSTS[1], '/vb']] as const) {
      test(`on ${base === '' ? 'a host of its own' : 'the path /vb/ of another host'}`, async (t) => {
        if (![['systemd-socket-activate', 'systemd'], ['curl', 'curl'], ['openssl', 'openssl'], [proxy.program, proxy.debianPackage]].every(([program = '', name = '']) => needs(t, program, name))) return
        const scene = await startBehind(t, proxy)
        await checkEverything(t, scene, host, base)
      })
    }
  })
}

test('a proxy that leaves its path in front is understood, and asking beside it too', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_BASE_PATH: '/vb' } })
  for (const path of ['/vb/', '/vb', '/', '//vb//']) assert.deepEqual((await request(`${server.url}${path}`)).json, { hello: 'world' }, path)
  assert.equal((await request(`${server.url}/vb/token?token=${ADMIN_TOKEN}`)).status, 200)
  assert.equal((await request(`${server.url}/other/token?token=${ADMIN_TOKEN}`)).status, 404)
})

for (const isTrusted of [true, false]) {
  test(`the allowance of an address is ${isTrusted ? 'that of whom a trusted proxy names' : 'that of a proxy which is not trusted'}`, async (t) => {
    const trust = isTrusted ? { REPROSCHEMA_BACKEND_TRUSTED_PROXIES: '127.0.0.0/8' } : {}
    const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_MAX_SUBMISSIONS: '8', ...trust } }) // of which one address has two
    const authToken = await askToken(server)
    for (let count = 0; count < 2; count++) {
      const wire = await Wire.open(server.port)
      await wire.write(submitHead('Content-Length: 1000000', 'X-Forwarded-For: 198.51.100.1'))
      await wire.write(Buffer.concat([fileStart(), Buffer.alloc(500_000)]))
    }
    await until('both are being received', async () => (await listUploads(server.basedir)).length === 2)
    for (const [address, expected] of [['198.51.100.1', 503], ['198.51.100.2', isTrusted ? 200 : 503]] as const) {
      const wire = await Wire.open(server.port)
      await wire.write(submission(authToken, 'voice', `X-Forwarded-For: ${address}`))
      const [answer] = await wire.answers(1)
      assert.equal(answer?.status, expected, `${address}: ${answer?.text}`)
    }
  })
}

async function checkEverything(t: TestContext, scene: Scene, host: string, base: string): Promise<void> {
  const url = `https://${host}:${scene.port}${base}`
  const ask = (...args: readonly string[]) => curl(scene, host, args)
  const token = await ask(`${url}/token?token=${ADMIN_TOKEN}&project=study`)
  const authToken = String(token.json['auth_token'])
  const large = join(scene.directory, 'large.wav')
  const content = randomBytes(60_000_000)
  await writeFile(large, content)

  await t.test('the server answers', async () => {
    assert.deepEqual((await ask(`${url}/`)).json, { hello: 'world' })
  })
  await t.test('metrics are not for the public', async () => {
    for (const path of ['/metrics', '/metrics/', '//metrics', '/%6detrics']) {
      assert.equal((await ask(`${url}${path}`, '--path-as-is', '--header', `Authorization: Bearer ${ADMIN_TOKEN}`)).status, 404, path)
    }
    assert.doesNotMatch(await readFile(join(scene.server.basedir, 'logs', 'access.log'), 'utf8'), /metrics/)
  })
  for (const version of ['--http1.1', '--http2']) {
    await t.test(`60 MB arrive, with ${version}`, async () => {
      const answer = await ask(version, `${url}/submit`, '--form', `file=@${large};filename=${version}.wav`, '--form', `auth_token=${authToken}`)
      assert.equal(answer.status, 200, answer.text)
      assert.equal(filesOf(answer)[0]?.sha256, sha256Of(content))
    })
    await t.test(`a page can read the refusal of a large upload, with ${version}`, async () => {
      const headers = ['--header', 'Origin: https://ui.example.org', '--header', 'Authorization: Bearer study-guessed']
      const answer = await ask(version, `${url}/submit`, ...headers, '--form', `file=@${large}`)
      assert.equal(answer.status, 403, answer.text)
      assert.deepEqual([answer.json['code'], answer.headers.get('access-control-allow-origin')], ['unauthorized_token', '*'])
    })
  }
  await t.test('a slash too many makes no difference', async () => {
    const answer = await ask(`${url}//submit`, '--form', `auth_token=${authToken}`, '--form', 'responses=[]')
    assert.equal(answer.status, 200, answer.text)
  })
  await t.test('a slow upload goes to the server as it comes', async () => {
    const body = formBody(authToken, Buffer.alloc(3_000_000, 'slow '))
    const half = body.length / 2
    const before = await stagedBytes(scene.server)
    const { finish, answer } = await beginUpload(scene, { host, path: `${base}/submit` }, body.length)
    await finish(body.subarray(0, half), false)
    await until('what was sent is staged', async () => (await stagedBytes(scene.server)) - before > half * 0.5)
    await finish(body.subarray(half), true)
    assert.equal(await answer, 200)
  })
  await t.test('the log shows the address of the client, whatever it claims', async () => {
    await ask(`${url}/nothing-here`, '--header', 'X-Forwarded-For: 198.51.100.77')
    const log = () => readFile(join(scene.server.basedir, 'logs', 'access.log'), 'utf8')
    await until('the line is there', async () => /nothing-here/.test(await log()))
    const addresses = (await log()).split('\n').slice(0, -1).map((line) => line.split(' ')[0])
    assert.deepEqual(new Set(addresses), new Set([CLIENT]))
    assert.doesNotMatch(await readFile(join(scene.server.basedir, 'logs', 'console.log'), 'utf8'), /unencrypted|not among the trusted/)
  })
  await t.test('a page can read that the server is gone, and no log of the proxy has a token', async () => {
    await scene.server.end()
    const answer = await ask(`${url}/token?token=${ADMIN_TOKEN}`, '--header', `Referer: https://ui.example.org/?auth_token=${authToken}`)
    assert.deepEqual([answer.status, answer.json['code'], answer.headers.get('access-control-allow-origin')], [503, 'unavailable', '*'])
    assert.equal(answer.headers.get('retry-after'), '60')
    const logs = await scene.logs()
    assert.ok(!logs.includes(ADMIN_TOKEN) && !logs.includes(authToken), logs)
  })
}

async function startBehind(t: TestContext, proxy: Proxy): Promise<Scene> {
  const directory = await temporaryDirectory(t)
  const socketPath = join(directory, 'socket')
  const server = await startActivated(t, { sockets: [socketPath], env: { REPROSCHEMA_BACKEND_TRUSTED_PROXIES: 'unix' } })
  makeCertificate(directory)
  for (;;) {
    const port = randomInt(20_000, 30_000)
    const [command = '', ...args] = await proxy.prepare({ directory, port, socketPath })
    await mkdir(join(directory, 'home'), { recursive: true })
    const child = spawn(command, args, { env: { PATH: process.env['PATH'] ?? '', HOME: join(directory, 'home') }, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
    const ended = new Promise((done) => child.once('exit', done))
    after(t, () => {
      child.kill('SIGTERM')
      return ended
    })
    const logs = async () => {
      const written = (await listFiles(directory)).filter((path) => path.endsWith('.log'))
      return output + (await Promise.all(written.map((path) => readFile(join(directory, path), 'utf8')))).join('')
    }
    const scene = { server, directory, port, socketPath, logs }
    await until(`${proxy.name} answers`, async () => child.exitCode !== null || (await curl(scene, HOSTS[0], [`https://${HOSTS[0]}:${port}/`])).status === 200, 60)
    if (child.exitCode === null) return scene
    if (!/address already in use/i.test(output)) throw new Error(output)
  }
}

function makeCertificate(directory: string): void {
  const names = HOSTS.map((host) => `DNS:${host}`).join()
  const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=test', '-addext', `subjectAltName=${names}`]
  const { status, stderr } = spawnSync('openssl', [...args, '-keyout', join(directory, 'privkey.pem'), '-out', join(directory, 'fullchain.pem')], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
}

function curl(scene: Places, host: string, args: readonly string[]): Promise<Answer> {
  const common = ['--silent', '--show-error', '--include', '--max-time', '120', '--interface', CLIENT, '--header', 'Expect:']
  const trust = ['--cacert', join(scene.directory, 'fullchain.pem'), '--resolve', `${host}:${scene.port}:127.0.0.1`]
  return new Promise((done) => {
    execFile('curl', [...common, ...trust, ...args], { encoding: 'utf8', maxBuffer: 1e8 }, (_error, stdout, stderr) => done(parseAnswer(stdout || stderr)))
  })
}

function parseAnswer(text: string): Answer {
  const [head = '', ...rest] = text.replace(/^HTTP\/[\d.]+ 100[^]*?\r\n\r\n/, '').split('\r\n\r\n')
  const [first = '', ...lines] = head.split('\r\n')
  const body = rest.join('\r\n\r\n')
  const headers = new Headers(lines.filter((line) => line.includes(':')).map((line): [string, string] => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]))
  const json = body.startsWith('{') ? (JSON.parse(body) as Record<string, unknown>) : {}
  return { status: Number(/^HTTP\/[\d.]+ (\d{3})/.exec(first)?.[1] ?? 0), headers, text: body || text, json }
}

async function stagedBytes(server: Activated): Promise<number> {
  const directory = join(server.basedir, 'uploads', 'staging')
  const sizes = await Promise.all((await listFiles(directory)).map((path) => stat(join(directory, path)).then(({ size }) => size, () => 0)))
  return sizes.reduce((sum, size) => sum + size, 0)
}

async function beginUpload(scene: Scene, { host, path }: { host: string; path: string }, bytes: number) {
  const headers = { Host: host, 'Content-Type': 'multipart/form-data; boundary=the-boundary', 'Content-Length': bytes }
  const ca = await readFile(join(scene.directory, 'fullchain.pem'))
  const asked = httpsRequest({ host: '127.0.0.1', port: scene.port, servername: host, ca, agent: false, method: 'POST', path, headers, localAddress: CLIENT })
  const answer = new Promise<number>((done, fail) => {
    asked.on('error', fail)
    asked.on('response', (response) => {
      response.resume()
      done(response.statusCode ?? 0)
    })
  })
  answer.catch(() => undefined)
  const finish = (piece: Buffer, isLast: boolean) => new Promise<void>((done) => (isLast ? asked.end(piece, () => done()) : asked.write(piece, () => done())))
  return { finish, answer }
}
