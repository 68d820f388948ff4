import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { chmod, chown, cp, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer, request as requestOf, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { existsSync, readFileSync } from 'node:fs'
import { createServer as createPlainServer } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { newIdentity } from '../lib/crypt/keys.ts'
import { settingsFor } from './encrypting.ts'
import { runCommand } from './commanded.ts'
import { after, askToken, listData, listFiles, needs, runAside, startServer, submitForm, temporaryDirectory, until, type Ended, type Running } from './harness.ts'
import { asOtherUser, OTHER_USER } from './other-user.ts'
import { ONLY_TRACED } from './trace.ts'

const examine = (basedir: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}) => runCommand(['doctor', `--basedir=${basedir}`, ...args], env)

// Not `runProgram`: the proxies below live in this process and must go on meanwhile.
const examineAside = (basedir: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}, through: readonly string[] = []) =>
  runAside(['doctor', `--basedir=${basedir}`, ...args], env, through)

/** The lines that are not `ok`, but for those that depend on the machine of the test. */
function troubles({ stdout }: Ended): string[] {
  const usual = /^warning {2}(TLS: none: this address is on this machine|file system: (tmpfs|overlayfs)|unit|inodes|free space)/
  return stdout.split('\n').filter((line) => line !== '' && !line.startsWith('ok ') && !usual.test(line))
}

async function assertNothingLeft(basedir: string): Promise<void> {
  const left = [...(await listFiles(basedir)), ...(await readdir(join(basedir, 'uploads/responses'))), ...(await readdir(join(basedir, 'receipts')))]
  assert.deepEqual(left.filter((path) => path.includes('doctor-')), [])
  assert.deepEqual(await readdir(join(basedir, 'tokens')), [])
}

test('`doctor` finds nothing wrong with a good server, and leaves nothing behind', async (t) => {
  const server = await startServer(t)
  const examined = await examineAside(server.basedir, [`--url=${server.url}/`, '--slow-seconds=1'])
  assert.deepEqual([examined.status, examined.stderr, troubles(examined)], [0, '', []], examined.stdout)
  const subjects = examined.stdout.split('\n').map((line) => line.slice(9).split(':')[0]).filter((subject) => subject !== '')
  for (const subject of ['configuration', 'owner', 'modes', 'file system', 'free space', 'inodes', 'storing', 'Node', 'clock', 'server', 'open files', 'unit']) {
    assert.ok(subjects.includes(subject), subject)
  }
  for (const subject of ['TLS', 'path prefix', 'CORS', 'submission', 'large upload', 'slow upload']) assert.ok(subjects.includes(subject), subject)
  for (const line of examined.stdout.trimEnd().split('\n')) assert.match(line, /^(ok {7}|warning {2}|FAILED {3})[^:]+: \S/)
  await assertNothingLeft(server.basedir)
})

test('`doctor` sees uploads that are stored encrypted come little by little', async (t) => {
  const env = settingsFor([newIdentity()])
  const server = await startServer(t, { env })
  const examined = await examine(server.basedir, [`--url=${server.url}`, '--slow-seconds=2'], env)
  assert.match(examined.stdout, /^ok {7}slow upload: \d+ s were accepted, and passed on as they came$/m)
  await assertNothingLeft(server.basedir)
})

test('`doctor` leaves what participants sent as it is', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  await submitForm(server, [['file', Buffer.from('voice'), 'voice.wav'], ['auth_token', authToken]])
  const before = await listData(server.basedir)
  assert.equal((await examine(server.basedir, [`--url=${server.url}`, '--slow-seconds=0'])).status, 0)
  assert.deepEqual(await listData(server.basedir), before)
})

test('`doctor` without a URL examines the machine alone, also where no server runs', async (t) => {
  const server = await startServer(t)
  await server.stop()
  const examined = await examine(server.basedir)
  assert.equal(examined.status, 0, examined.stdout)
  const change = existsSync('/run/systemd/system') ? 'systemctl start reproschema-backend.service' : 'start the server'
  assert.ok(examined.stdout.includes(`\nwarning  server: none runs on this base directory on this machine. Change: ${change}\n`), examined.stdout)
  assert.doesNotMatch(examined.stdout, /TLS/)
})

test('`doctor` does not take the server of a base directory for one of its copy', async (t) => {
  for (const env of [{}, { REPROSCHEMA_BACKEND_WORKERS: '2' }]) {
    const server = await startServer(t, { env })
    const directory = await temporaryDirectory(t)
    const [copy, link] = [join(directory, 'copy'), join(directory, 'link')]
    await cp(server.basedir, copy, { recursive: true })
    await symlink(server.basedir, link)
    assert.match((await examine(copy)).stdout, /^warning {2}server: none runs on this base directory on this machine\./m)
    for (const same of [server.basedir, link]) assert.match((await examine(same)).stdout, /^ok {7}server: runs, pid \d/m)
  }
})

const settings = [
  { name: 'a setting that is not allowed', env: { PORT: 'http' }, says: /^FAILED {3}configuration: PORT="http" is not allowed: use / },
  { name: 'a token file that is not there', env: { REPROSCHEMA_BACKEND_TOKEN_FILE: '/no/such' }, says: /^FAILED {3}configuration: REPROSCHEMA_BACKEND_TOKEN_FILE="\/no\/such" is not allowed: / },
  { name: 'a reserve larger than the disk', env: { REPROSCHEMA_BACKEND_RESERVE_BYTES: '1125899906842624' }, says: /^FAILED {3}free space: .*: uploads are refused\. Change: move the base directory /m },
  { name: 'more connections than files may be open', env: { REPROSCHEMA_BACKEND_MAX_CONNECTIONS: '1000000' }, says: /^FAILED {3}open files: pid \d+ may open \d+, and 1000000 connections need 2000200\. Change: systemd: LimitNOFILE=2000200; / },
]
test('`doctor` says what to change', async (t) => {
  const server = await startServer(t)
  for (const { name, env, says } of settings) {
    await t.test(`about ${name}`, async () => {
      const examined = await examine(server.basedir, [], env)
      assert.equal(examined.status, 1)
      assert.match(troubles(examined).join('\n'), says)
    })
  }
})

const faults: readonly { name: string; make: (basedir: string) => Promise<unknown>; says: RegExp; status?: number }[] = [
  { name: 'a base directory that is not there', make: (basedir) => rm(basedir, { recursive: true }), says: /^FAILED {3}base directory: .* cannot be used: ENOENT\. Change: start the server once/ },
  { name: 'a base directory of nobody', make: (basedir) => rm(join(basedir, 'uploads'), { recursive: true }), says: /^FAILED {3}base directory: \S+\/copy is not the base directory of a server: it has no directory uploads\/responses\. Change: start the server once/ },
  { name: 'a copy without what was being received', make: (basedir) => rm(join(basedir, 'uploads/staging'), { recursive: true }), says: /^warning {2}storing: not tried: there is no uploads\/staging, as in a copy, and before a server was first started here$/m, status: 0 },
  { name: 'directories that others may read', make: (basedir) => openTo(basedir, '.', 'receipts'), says: /^warning {2}modes: other users of this machine may read \S+\/receipts\. Change: chmod -R go= \S+$/m, status: 0 },
  { name: 'a directory that its owner may not write', make: (basedir) => chmod(join(basedir, 'receipts'), 0o500), says: /^FAILED {3}modes: the server may not read and write \S+\/receipts\. Change: chmod u\+rwx \S+\/receipts$/m },
]
async function openTo(basedir: string, ...paths: readonly string[]): Promise<void> {
  for (const path of paths) await chmod(join(basedir, path), 0o755)
}

test('`doctor` finds', async (t) => {
  const server = await startServer(t)
  await server.stop()
  for (const { name, make, says, status = 1 } of faults) {
    await t.test(name, async (t) => {
      const basedir = join(await temporaryDirectory(t), 'copy')
      await cp(server.basedir, basedir, { recursive: true })
      await make(basedir)
      const examined = await examine(basedir)
      assert.equal(examined.status, status, examined.stdout)
      assert.match(examined.stdout.split('\n').filter((line) => !line.startsWith('ok')).join('\n'), says)
    })
  }
})

test('`doctor` finds a token that belongs to another user', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('only root can give a file to another user')
  const server = await startServer(t)
  await askToken(server)
  const [file = ''] = await readdir(join(server.basedir, 'tokens'))
  await chown(join(server.basedir, 'tokens', file), OTHER_USER, OTHER_USER)
  const examined = await examine(server.basedir)
  assert.equal(examined.status, 1)
  assert.match(examined.stdout, /^FAILED {3}owner: \S+\/tokens\/\S+\.json belongs to another user than \S+\. Change: chown -RH \d+:\d+ \S+$/m)
})

const foreign = ['uploads/responses/study', 'receipts/study', 'keys', 'keys/proofs', 'servers']
test('`doctor` finds a directory that belongs to another user, and what it says mends that', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('only root can give a directory to another user')
  const server = await startServer(t)
  await submitForm(server, [['file', Buffer.from('voice'), 'voice.wav'], ['auth_token', await askToken(server, { project: 'study' })]])
  await mkdir(join(server.basedir, 'keys/proofs'), { recursive: true, mode: 0o700 })
  const basedir = join(await temporaryDirectory(t), "the lab's link")
  await symlink(server.basedir, basedir)
  for (const path of foreign) {
    await chown(join(basedir, path), OTHER_USER, OTHER_USER)
    const examined = await examine(basedir)
    assert.equal(examined.status, 1, path)
    const [, named, command = ''] = /^FAILED {3}owner: (.+) belongs to another user than .+\. Change: (chown -RH .+)$/m.exec(examined.stdout) ?? []
    assert.equal(named, join(basedir, path), examined.stdout)
    assert.equal(spawnSync('sh', ['-c', command]).status, 0, command)
    assert.match((await examine(basedir)).stdout, /^ok {7}owner: .* and its directories belong to user 0$/m)
  }
})

test('`doctor` does not take for open what is behind a door that is closed', async (t) => {
  const server = await startServer(t)
  await openTo(server.basedir, 'uploads', 'receipts')
  assert.match((await examine(server.basedir)).stdout, /^ok {7}modes: only the server may read what it keeps$/m)
  await openTo(server.basedir, '.')
  assert.match((await examine(server.basedir)).stdout, /^warning {2}modes: other users of this machine may read \S+\/uploads and 1 more\./m)
})

test('`doctor` goes on where its user may list a directory and not enter it', async (t) => {
  const through = await asOtherUser(t)
  if (through === undefined) return
  const server = await startServer(t)
  await server.stop()
  assert.equal(spawnSync('chown', ['-R', `${OTHER_USER}`, server.basedir]).status, 0)
  await mkdir(join(server.basedir, 'keys/lists'), { recursive: true })
  for (const path of ['keys', 'logs']) {
    await chown(join(server.basedir, path), OTHER_USER, OTHER_USER)
    await chmod(join(server.basedir, path), 0o600)
  }
  const examined = await examineAside(server.basedir, [], {}, through)
  assert.deepEqual([examined.status, examined.stderr], [1, ''])
  const [trouble, ...others] = troubles(examined)
  assert.match(String(trouble), /^FAILED {3}modes: the server may not read and write \S+\/logs and 1 more\. Change: chmod u\+rwx /)
  assert.deepEqual(others.map((line) => line.slice(9).split(':')[0]), ['server', 'recipients'])
})

test('`doctor` tells a user who may not look so', async (t) => {
  const through = await asOtherUser(t)
  if (through === undefined) return
  const server = await startServer(t)
  const examined = await examineAside(server.basedir, [], {}, through)
  assert.equal(examined.status, 1)
  assert.match(examined.stdout, /^FAILED {3}base directory: .*EACCES\. Change: run doctor as root, or as the user that runs the server$/m)
})

test('`doctor` finds a file system that has no hard links', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const server = await startServer(t)
  for (const [error, says] of [['EPERM', 'this file system has no hard links'], ['EXDEV', 'uploads/staging and uploads/responses are on different file systems']] as const) {
    const examined = await examineAside(server.basedir, [], {}, ['strace', '-f', ONLY_TRACED, '-qq', '-o', '/dev/null', '-e', 'trace=link,linkat', '-e', `inject=link,linkat:error=${error}`])
    assert.equal(examined.status, 1)
    assert.ok(examined.stdout.includes(`FAILED   storing: ${says}. Change: `), examined.stdout)
    await assertNothingLeft(server.basedir)
  }
})

type Handle = (request: IncomingMessage, response: ServerResponse, pass: (path?: string, body?: Buffer) => void) => void

/** Puts a proxy before a server; `handle` may pass a request on, or spoil it. */
async function startProxy(t: TestContext, target: Running, handle: Handle): Promise<string> {
  const proxy = createServer((request, response) => {
    request.on('error', () => undefined)
    handle(request, response, (path = request.url ?? '/', body) => {
      const onward = requestOf({ port: target.port, host: '127.0.0.1', method: request.method, path, headers: request.headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(response)
      })
      onward.on('error', () => response.destroy())
      if (body === undefined) request.pipe(onward)
      else onward.end(body)
    })
  }).listen(0, '127.0.0.1')
  after(t, () => {
    proxy.closeAllConnections()
    proxy.close()
  })
  await until('the proxy listens', () => proxy.listening)
  const address = proxy.address()
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
}

// What comes is read to its end: a connection that is closed before may take the answer with it.
function refuse(request: IncomingMessage, response: ServerResponse, status: number): void {
  response.writeHead(status).end('<html>')
  request.resume()
}

const lengthOf = (request: IncomingMessage) => Number(request.headers['content-length'] ?? 0)
const isUpload = (request: IncomingMessage, bytes: number) => request.method === 'POST' && lengthOf(request) > bytes
const SLOW = ['--slow-seconds=2']
const proxies: readonly { name: string; path?: string; args?: readonly string[]; status?: number; handle: Handle; says: RegExp }[] = [
  {
    name: 'that takes a megabyte',
    handle: (request, response, pass) => (isUpload(request, 1_000_000) ? refuse(request, response, 413) : pass()),
    says: /^FAILED {3}large upload: 11 MB were refused with 413 by the proxy, which the page cannot even read\. Change: nginx: client_max_body_size 0;$/m,
  },
  {
    name: 'that cuts what takes long',
    args: SLOW,
    handle: (request, _response, pass) => (isUpload(request, 100_000) && lengthOf(request) < 1_000_000 ? void request.once('data', () => request.socket.resetAndDestroy()) : pass()),
    says: /^FAILED {3}slow upload: the connection was cut after \d+ s: .*\. Change: nginx: client_body_timeout 1h; /m,
  },
  {
    name: 'that gives up on what takes long',
    args: SLOW,
    handle: (request, response, pass) => (isUpload(request, 100_000) && lengthOf(request) < 1_000_000 ? refuse(request, response, 504) : pass()),
    says: /^FAILED {3}slow upload: it was refused with 504 after \d+ s\. Change: nginx: client_body_timeout 1h; /m,
  },
  {
    name: 'that reads all of an upload first',
    args: SLOW,
    status: 0,
    handle: (request, _response, pass) => {
      if (!isUpload(request, 100_000)) return pass()
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        pass(request.url, Buffer.concat(chunks))
      })
    },
    says: /^warning {2}slow upload: the proxy keeps all of an upload .*\. Change: nginx: proxy_request_buffering off;$/m,
  },
  {
    name: 'that keeps the prefix',
    path: '/vb',
    handle: (_request, _response, pass) => pass(),
    says: /^FAILED {3}path prefix: \S+\/vb\/ is answered with 404 by something else\. Change: nginx: location \/vb\/ \{ proxy_pass /m,
  },
  {
    name: 'that takes the CORS header away',
    handle: (request, response, pass) => {
      const write = response.writeHead.bind(response)
      response.writeHead = ((status: number, headers: Record<string, string>) => {
        const { 'access-control-allow-origin': _gone, ...rest } = headers
        return write(status, rest)
      }) as typeof response.writeHead
      pass(request.url)
    },
    says: /^FAILED {3}CORS: a page cannot read a refusal: Access-Control-Allow-Origin is gone\. Change: /m,
  },
  {
    name: 'that has pages of its own for refusals',
    handle: (request, response, pass) => (request.headers.authorization?.endsWith('0'.repeat(32)) === true ? void response.writeHead(403).end('<html>') : pass()),
    says: /^FAILED {3}CORS: a refusal came as 403 from something else\. Change: nginx: no error_page/m,
  },
]

test('`doctor` finds a proxy', async (t) => {
  const server = await startServer(t)
  for (const { name, path = '', args = ['--slow-seconds=0'], status = 1, handle, says } of proxies) {
    await t.test(name, async (t) => {
      const url = await startProxy(t, server, handle)
      const examined = await examine(server.basedir, [`--url=${url}${path}`, ...args])
      assert.equal(examined.status, status, examined.stdout)
      assert.match(examined.stdout, says)
      assert.equal(troubles(examined).length, 1, examined.stdout)
      await until('nothing is left', async () => !(await readdir(join(server.basedir, 'uploads/responses'))).some((each) => each.startsWith('doctor-')))
      await assertNothingLeft(server.basedir)
    })
  }
})

test('`doctor` finds that the prefix is stripped where it is right', async (t) => {
  const server = await startServer(t)
  const url = await startProxy(t, server, (request, _response, pass) => pass((request.url ?? '').replace(/^\/vb/, '')))
  const examined = await examine(server.basedir, [`--url=${url}/vb/`, '--slow-seconds=0'])
  assert.deepEqual([examined.status, troubles(examined)], [0, []], examined.stdout)
})

test('`doctor` finds that the server behind the URL has another base directory', async (t) => {
  const [server, other] = [await startServer(t), await startServer(t)]
  const examined = await examine(server.basedir, [`--url=${other.url}`, '--slow-seconds=0'])
  assert.equal(examined.status, 1)
  assert.match(examined.stdout, /^FAILED {3}base directory: the server behind the public URL has another one\. Change: proxy_pass to the right port/m)
  await assertNothingLeft(server.basedir)
})

test('`doctor` finds that nobody answers at the URL', async (t) => {
  const server = await startServer(t)
  const port = await freePort()
  const examined = await examine(server.basedir, [`--url=http://127.0.0.1:${port}`])
  assert.equal(examined.status, 1)
  assert.match(examined.stdout, /^FAILED {3}public URL: no answer from http:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/m)
})

test('`doctor` finds a clock that is wrong', async (t) => {
  const server = await startServer(t)
  const url = await startProxy(t, server, (request, response, pass) => {
    response.sendDate = false
    const write = response.writeHead.bind(response)
    response.writeHead = ((status: number, headers: Record<string, string>) => write(status, { ...headers, date: new Date(Date.now() + 3600_000).toUTCString() })) as typeof response.writeHead
    pass(request.url)
  })
  const examined = await examine(server.basedir, [`--url=${url}`, '--slow-seconds=0'])
  assert.equal(examined.status, 1)
  assert.match(examined.stdout, /^FAILED {3}clock: the public URL and this machine are 3[56]\d\d s apart\. Change: timedatectl set-ntp true/m)
})

test('`doctor` looks at the certificate of the public URL', async (t) => {
  if (!needs(t, 'openssl', 'openssl')) return
  const server = await startServer(t)
  const directory = await temporaryDirectory(t)
  for (const { days, says, isTrusted } of [
    { days: 90, isTrusted: true, says: /^ok {7}TLS: the certificate is valid for (89|90) days, until \d{4}-\d\d-\d\d$/m },
    { days: 10, isTrusted: true, says: /^warning {2}TLS: the certificate is valid for (9|10) days only, until [\d-]{10}\. Change: certbot renew/m },
    { days: 90, isTrusted: false, says: /^FAILED {3}public URL: no answer from \S+: self-signed certificate\. Change: renew the certificate/m },
  ]) {
    const [key, certificate] = [join(directory, `key-${days}`), join(directory, `certificate-${days}`)]
    makePair(certificate, key, days)
    const proxy = createSecureServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (request, response) => {
      const onward = requestOf({ port: server.port, host: '127.0.0.1', method: request.method, path: request.url, headers: request.headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(response)
      })
      request.pipe(onward)
    }).listen(0, 'localhost')
    after(t, () => proxy.close())
    await until('the proxy listens', () => proxy.listening)
    const address = proxy.address()
    const url = `https://localhost:${typeof address === 'object' ? address?.port : ''}`
    const examined = await examineAside(server.basedir, [`--url=${url}`, '--slow-seconds=0'], isTrusted ? { NODE_EXTRA_CA_CERTS: certificate } : {})
    assert.equal(examined.status, isTrusted ? 0 : 1, examined.stdout)
    assert.match(examined.stdout, says)
  }
})

test('`doctor` looks at the certificate and the key of the settings, as a start does', async (t) => {
  if (!needs(t, 'openssl', 'openssl')) return
  const server = await startServer(t)
  const directory = await temporaryDirectory(t)
  const pathOf = (name: string) => join(directory, name)
  for (const days of [10, 90]) makePair(pathOf(`${days}.crt`), pathOf(`${days}.key`), days)
  await writeFile(pathOf('garbage'), 'garbage')
  for (const { name, cert, key, status, says } of [
    { name: 'a good pair', cert: '90.crt', key: '90.key', status: 0, says: /^ok {7}certificate: the certificate is valid for (89|90) days, until [\d-]{10}$/m },
    { name: 'one that ends soon', cert: '10.crt', key: '10.key', status: 0, says: /^warning {2}certificate: the certificate is valid for (9|10) days only, until [\d-]{10}\. Change: certbot renew/m },
    { name: 'a key of another certificate', cert: '90.crt', key: '10.key', status: 1, says: /^FAILED {3}certificate: Cannot use the certificate \S+ with the key \S+: .*key values mismatch\. Change: /m },
    { name: 'a certificate that is none', cert: 'garbage', key: '10.key', status: 1, says: /^FAILED {3}certificate: Cannot use the certificate \S+ with the key \S+: .*\. Change: /m },
    { name: 'a file that is not there', cert: 'none', key: '10.key', status: 1, says: /^FAILED {3}certificate: Cannot use the certificate \S+ with the key \S+: ENOENT.*\. Change: /m },
  ]) {
    await t.test(name, async () => {
      const examined = await examine(server.basedir, [`--tls-cert=${pathOf(cert)}`, `--tls-key=${pathOf(key)}`])
      assert.equal(examined.status, status, examined.stdout)
      assert.match(examined.stdout, says)
      assert.match(examined.stdout, /^ok {7}owner: /m)
    })
  }
})

function makePair(certificate: string, key: string, days: number): void {
  spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', certificate, '-days', String(days), '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'])
}

test('`doctor` finds what nginx does when nobody tells it otherwise', async (t) => {
  if (!needs(t, 'nginx', 'nginx-light')) return
  const [server, prefix, port] = [await startServer(t), await temporaryDirectory(t), await freePort()]
  const start = async (more: string) => {
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${prefix}/${name};`).join(' ')
    const site = `server { listen 127.0.0.1:${port}; ${more} location / { proxy_pass http://127.0.0.1:${server.port}; } }`
    await writeFile(join(prefix, 'nginx.conf'), `${process.getuid?.() === 0 ? 'user root;' : ''} daemon off; pid ${prefix}/pid; error_log ${prefix}/error.log; events {} http { access_log off; ${paths} ${site} }`)
    const nginx = spawn('nginx', ['-p', prefix, '-e', join(prefix, 'error.log'), '-c', join(prefix, 'nginx.conf')], { stdio: 'ignore' })
    const ended = new Promise((done) => nginx.once('exit', done))
    const stop = () => (nginx.kill('SIGTERM'), ended)
    after(t, stop)
    await until('nginx answers', async () => (await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined))?.status === 200)
    return stop
  }
  const stop = await start('')
  const examined = await examine(server.basedir, [`--url=http://127.0.0.1:${port}`, ...SLOW])
  assert.equal(examined.status, 1)
  assert.deepEqual(troubles(examined).map((line) => line.split('. Change: ')[1]), ['nginx: client_max_body_size 0;', 'nginx: proxy_request_buffering off;'], examined.stdout)
  await stop()
  await start('client_max_body_size 0; proxy_request_buffering off;')
  const again = await examine(server.basedir, [`--url=http://127.0.0.1:${port}`, ...SLOW])
  assert.deepEqual([again.status, troubles(again)], [0, []], again.stdout)
})

const usages = [
  { name: 'an address that is none', args: ['--url=localhost'], says: /^--url="localhost" is not allowed: use an address such as / },
  { name: 'an address of another scheme', args: ['--url', 'ftp://x/'], says: /^--url="ftp:\/\/x\/" is not allowed: / },
  { name: 'a time that is none', args: ['--slow-seconds=long'], says: /^--slow-seconds="long" is not allowed: use a whole number from 0 to 3600\.\n$/ },
]
for (const { name, args, says } of usages) {
  test(`\`doctor\` with ${name} ends with 2 and a line that says so`, async (t) => {
    const { status, stdout, stderr } = await examine(await temporaryDirectory(t), args)
    assert.deepEqual([status, stdout], [2, ''])
    assert.match(stderr, says)
  })
}

// A port that was free a moment ago.
async function freePort(): Promise<number> {
  const server = createPlainServer().listen(0, '127.0.0.1')
  await until('the port is known', () => server.listening)
  const address = server.address()
  await new Promise((done) => server.close(done))
  return typeof address === 'object' ? (address?.port ?? 0) : 0
}
