import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import { connect as connectPlain, type Socket } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { ADMIN_TOKEN, needs, readAll, readReceipts, runProgram, startServer, temporaryDirectory, until, type Running } from './harness.ts'
import { fileStart, formBody, parseAnswers, submitHead } from './wire.ts'

interface Scene {
  readonly server: Running
  readonly cert: string
  readonly key: string
}

async function start(t: TestContext, env: Readonly<Record<string, string>> = {}): Promise<Scene> {
  const directory = await temporaryDirectory(t)
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
  makePair(cert, key, 'first')
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_TLS_CERT: cert, REPROSCHEMA_BACKEND_TLS_KEY: key, ...env } })
  return { server, cert, key }
}

test('with a certificate the server speaks TLS, and keeps what comes', async (t) => {
  if (!needs(t, 'openssl', 'openssl')) return
  const { server, cert } = await start(t)
  assert.match(server.output(), /^Listening on https:\/\/127\.0\.0\.1:\d+$/m)
  const { json } = await ask(server, cert, `/token?token=${ADMIN_TOKEN}&project=study`)
  const body = formBody(String(json['auth_token']), Buffer.alloc(3_000_000, 'voice '))
  const headers = { 'Content-Type': 'multipart/form-data; boundary=the-boundary', 'Content-Length': body.length }
  const answer = await ask(server, cert, '/submit', { method: 'POST', headers }, body)
  assert.deepEqual([answer.status, answer.json['status']], [200, 'accepted'])
  assert.equal((await readReceipts(server.basedir, 'study')).length, 1)
  assert.doesNotMatch(await readFile(join(server.basedir, 'logs', 'console.log'), 'utf8'), /unencrypted/)
  assert.equal(await server.stop(), 0)
})

test('a refusal in mid-upload arrives over TLS too', async (t) => {
  if (!needs(t, 'openssl', 'openssl')) return
  const { server } = await start(t)
  const socket = await open(server)
  const received = readAll(socket)
  socket.write(submitHead('Content-Length: 9000000', 'Authorization: Bearer study-guessed', 'Origin: https://ui.example.org'))
  for (let count = 0; count < 9; count++) socket.write(count === 0 ? fileStart() : Buffer.alloc(1_000_000))
  socket.end(Buffer.alloc(9_000_000 - 8_000_000 - fileStart().length))
  const [answer] = parseAnswers(Buffer.from(await received, 'latin1'))
  assert.deepEqual([answer?.status, answer?.json['code'], answer?.headers['access-control-allow-origin']], [403, 'unauthorized_token', '*'])
})

const versions = [
  { version: 'TLSv1.1', expected: undefined },
  { version: 'TLSv1.2', expected: 'TLSv1.2' },
  { version: 'TLSv1.3', expected: 'TLSv1.3' },
] as const
test('TLS 1.2 is the oldest that is spoken, after a renewal too', async (t) => {
  if (!needs(t, 'openssl', 'openssl')) return
  const scene = await start(t)
  for (const turn of ['at the start', 'after a renewal']) {
    for (const { version, expected } of versions) {
      // At its security level 1 OpenSSL does not speak TLS 1.1 at all, and nothing would be shown.
      const spoken = await open(scene.server, { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' }).then(
        (socket) => {
          const protocol = socket.getProtocol()
          socket.destroy()
          return protocol
        },
        () => undefined,
      )
      assert.equal(spoken, expected, `${version} ${turn}`)
    }
    await renew(scene, /INFO certificate read expires=/)
  }
})

test('SIGHUP reads a new certificate; connections that are open stay', async (t) => {
  if (!needs(t, 'openssl', 'openssl')) return
  const scene = await start(t)
  const kept = await open(scene.server)
  assert.equal(nameOf(kept), 'first')
  makePair(scene.cert, scene.key, 'second')
  await renew(scene, /INFO certificate read expires=/)
  const next = await open(scene.server)
  assert.equal(nameOf(next), 'second')
  const received = readAll(kept)
  kept.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  assert.match(await received, /^HTTP\/1\.1 200 /)
  next.destroy()
})

test('SIGHUP reads a new certificate in every one of several processes', async (t) => {
  if (!needs(t, 'openssl', 'openssl')) return
  const scene = await start(t, { REPROSCHEMA_BACKEND_WORKERS: '3' })
  makePair(scene.cert, scene.key, 'second')
  await renew(scene, /INFO certificate read expires=/, 3)
  for (let count = 0; count < 6; count++) {
    const socket = await open(scene.server)
    assert.equal(nameOf(socket), 'second')
    socket.destroy()
  }
  assert.equal(await scene.server.stop(), 0)
})

const badPairs = [
  { name: 'a key of another certificate', reason: /key values mismatch/, spoil: ({ key }: Scene, other: { key: string }) => copyFile(other.key, key) },
  { name: 'a certificate that is none', reason: /PEM|no start line/i, spoil: ({ cert }: Scene) => writeFile(cert, 'nonsense') },
  { name: 'an empty key', reason: /PEM|no start line|DECODER|unsupported/i, spoil: ({ key }: Scene) => writeFile(key, '') },
  { name: 'half a certificate', reason: /PEM|bad end line/i, spoil: async ({ cert }: Scene) => writeFile(cert, (await readFile(cert)).subarray(0, 300)) },
]
for (const { name, reason, spoil } of badPairs) {
  test(`${name}: SIGHUP keeps the old pair and says so, a start does not begin`, async (t) => {
    if (!needs(t, 'openssl', 'openssl')) return
    const scene = await start(t)
    const directory = await temporaryDirectory(t)
    const other = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') }
    makePair(other.cert, other.key, 'other')
    await spoil(scene, other)
    await renew(scene, /ERROR certificate not renewed /)
    const socket = await open(scene.server)
    assert.equal(nameOf(socket), 'first')
    socket.destroy()
    const { status, stdout, stderr } = runProgram(['--port=0', `--basedir=${directory}/base`, `--tls-cert=${scene.cert}`, `--tls-key=${scene.key}`])
    assert.deepEqual([status, stdout], [1, ''])
    assert.ok(stderr.startsWith(`Cannot use the certificate ${scene.cert} with the key ${scene.key}: `), stderr)
    assert.match(stderr, reason)
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
  })
}

test('without a certificate SIGHUP changes nothing', async (t) => {
  const server = await startServer(t)
  server.process.kill('SIGHUP')
  assert.equal((await fetch(server.url)).status, 200)
  assert.equal(await server.stop(), 0)
})

test('a handshake that stands still, or is none, does not delay the end', async (t) => {
  if (!needs(t, 'openssl', 'openssl')) return
  const { server } = await start(t)
  const silent = Array.from({ length: 5 }, () => connectPlain(server.port, '127.0.0.1'))
  const closed = silent.map((socket) => readAll(socket))
  for (const socket of silent.slice(3)) socket.write(Buffer.from('16030100', 'hex')) // a record that begins
  const plain = connectPlain(server.port, '127.0.0.1')
  const received = readAll(plain)
  plain.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await received // whatever is said to one who speaks no TLS, the connection is closed
  const idle = await open(server)
  const idleClosed = readAll(idle)
  assert.equal(await server.stop(), 0)
  await Promise.all([...closed, idleClosed])
})

test('handshakes under way are limited in their number; connections that are open do not count among them', async (t) => {
  if (!needs(t, 'openssl', 'openssl')) return
  const { server, cert } = await start(t, { REPROSCHEMA_BACKEND_MAX_CONNECTIONS: '3' })
  const kept: TLSSocket[] = []
  for (let count = 0; count < 3; count++) {
    const socket = await open(server)
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await once(socket, 'data')
    kept.push(socket)
  }
  assert.equal((await ask(server, cert, '/')).status, 503) // it has come so far as to be told
  for (const socket of kept) socket.destroy()
  const silent: Socket[] = []
  await until('one more is cut', () => {
    silent.push(connectPlain(server.port, '127.0.0.1').on('error', () => undefined))
    return open(server).then((socket) => (socket.destroy(), false), () => true)
  })
  for (const socket of silent) socket.destroy()
  await until('there is room again', async () => (await ask(server, cert, '/').catch(() => undefined))?.status === 200)
})

function makePair(cert: string, key: string, name: string): void {
  const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1']
  const { status, stderr } = spawnSync('openssl', [...args, '-keyout', key, '-out', cert], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
}

/** Sends SIGHUP and waits for one more line of each process in the log that tells what became of it. */
async function renew({ server }: Scene, line: RegExp, processes = 1): Promise<void> {
  const count = async () => (await readFile(join(server.basedir, 'logs', 'console.log'), 'utf8')).split('\n').filter((each) => line.test(each)).length
  const before = await count()
  server.process.kill('SIGHUP')
  await until(`the log says ${line}`, async () => (await count()) >= before + processes)
}

function open(server: Running, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((done, fail) => {
    const socket = connect({ host: '127.0.0.1', port: server.port, rejectUnauthorized: false, ...options })
    socket.once('secureConnect', () => done(socket))
    socket.once('error', fail)
    socket.once('close', () => fail(new Error('closed')))
  })
}

function nameOf(socket: TLSSocket): string | undefined {
  return String(socket.getPeerCertificate().subject.CN)
}

async function ask(server: Running, cert: string, path: string, options: RequestOptions = {}, body?: Buffer): Promise<{ status: number; json: Record<string, unknown> }> {
  const ca = await readFile(cert)
  return new Promise((done, fail) => {
    const asked = httpsRequest({ host: '127.0.0.1', port: server.port, path, ca, agent: false, ...options }, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (piece: string) => (text += piece))
      answer.on('end', () => done({ status: answer.statusCode ?? 0, json: JSON.parse(text) as Record<string, unknown> }))
    })
    asked.on('error', fail)
    asked.end(body)
  })
}
