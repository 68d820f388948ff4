import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { ReadinessCheck, type Readiness } from '../lib/health/readiness.ts'
import { after, askToken, listFiles, needs, request, startServer, submitForm, until, type Answer, type Running } from './harness.ts'

const ALL_WELL = { space: 'ok', write: 'ok', sync: 'ok' }

test('/livez and /readyz answer, leave nothing behind, and say nothing to the log while all is well', async (t) => {
  const server = await startServer(t)
  assert.deepEqual((await request(`${server.url}/livez`)).json, { status: 'alive' })
  for (let count = 0; count < 3; count++) {
    const ready = await request(`${server.url}/readyz`)
    assert.deepEqual([ready.status, ready.json], [200, { status: 'ready', checks: ALL_WELL }])
  }
  assert.equal((await request(`${server.url}/readyz`, { method: 'HEAD' })).status, 200)
  assert.equal((await request(`${server.url}/readyz`, { method: 'POST' })).status, 405)
  assert.deepEqual((await listFiles(join(server.basedir, 'uploads'))).filter((path) => !path.endsWith('owner.json')), [])
  assert.equal(await server.stop(), 0)
  assert.doesNotMatch(await readFile(join(server.basedir, 'logs', 'console.log'), 'utf8'), /ready/)
})

test('/readyz refuses, with CORS and Retry-After, while there is no room above the reserve', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_RESERVE_BYTES: '1000000000000000' } })
  const answer = await request(`${server.url}/readyz`)
  assert.equal(answer.status, 503)
  assert.deepEqual([answer.json['status'], answer.json['code']], ['failed', 'not_ready'])
  assert.equal(answer.headers.get('retry-after'), '60')
  assert.equal(answer.headers.get('access-control-allow-origin'), '*')
  const { space, ...others } = answer.json['checks'] as Record<string, string>
  assert.match(space ?? '', /^\d+ bytes are free, and the reserve is 1000000000000000$/)
  assert.deepEqual(others, { write: 'ok', sync: 'ok' })
  assert.equal((await request(`${server.url}/livez`)).status, 200)
})

test('/readyz refuses while the staging directory cannot be written, and is ready again after that', async (t) => {
  const server = await startServer(t)
  const staging = join(server.basedir, 'uploads', 'staging')
  await rename(staging, `${staging}-away`)
  await writeFile(staging, '')
  await until('it is not ready', async () => (await request(`${server.url}/readyz`)).status === 503)
  const answer = await request(`${server.url}/readyz`)
  assert.deepEqual(answer.json['checks'], { space: 'ok', write: 'ENOTDIR', sync: 'not tried' })
  assert.doesNotMatch(answer.text, /staging|tmp/)
  await rm(staging)
  await rename(`${staging}-away`, staging)
  await until('it is ready again', async () => (await request(`${server.url}/readyz`)).status === 200)
  assert.equal(await server.stop(), 0)
  const log = await readFile(join(server.basedir, 'logs', 'console.log'), 'utf8')
  assert.equal(log.match(/ INFO not ready space=ok write=ENOTDIR sync="not tried"$/gm)?.length, 1)
  assert.equal(log.match(/ INFO ready again /g)?.length, 1)
})

test('a sync that fails is told', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const server = await startServer(t)
  await tamperWithSyncs(t, server, await firstProbe(server), 'error=EIO')
  const answer = await request(`${server.url}/readyz`)
  assert.deepEqual([answer.status, answer.json['checks']], [503, { space: 'ok', write: 'ok', sync: 'EIO' }])
})

test('a sync that hangs: who asks is told in bounded time, one probe runs for all of them, and all else goes on', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const server = await startServer(t)
  const probe = await firstProbe(server)
  await tamperWithSyncs(t, server, probe, 'delay_enter=3600000000') // an hour, as on a mount whose server is gone
  const ask = () => request(`${server.url}/readyz`)
  const answers: Answer[] = await Promise.all(Array.from({ length: 20 }, ask))
  for (let count = 0; count < 20; count++) answers.push(await ask())
  for (const answer of answers) {
    assert.deepEqual([answer.status, answer.json['checks']], [503, { sync: 'not done after 5 seconds' }])
  }
  assert.equal((await request(`${server.url}/livez`)).status, 200)
  const sent = await submitForm(server, [['auth_token', await askToken(server)], ['file', Buffer.from('x'), 'x.wav']])
  assert.equal(sent.status, 200, sent.text)
  assert.deepEqual((await listFiles(dirname(probe))).filter((path) => path.endsWith('.probe')), ['0.probe'])
})

async function firstProbe(server: Running): Promise<string> {
  const staging = join(server.basedir, 'uploads', 'staging')
  const [owner = ''] = await listFiles(staging)
  return join(staging, owner.replace('owner.json', '0.probe'))
}

/** Does something to each sync of this one file from now on. */
async function tamperWithSyncs(t: TestContext, server: Running, path: string, what: string): Promise<void> {
  const args = ['-f', '-o', '/dev/null', '-P', path, '-e', 'trace=fsync', '-e', `inject=fsync:${what}`, '-p', String(server.process.pid)]
  const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  strace.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  after(t, () => strace.kill('SIGKILL'))
  await until('strace is attached', () => {
    if (strace.exitCode !== null) throw new Error(said)
    return said.includes(' attached')
  })
}

function checkOf(probe: (onLook: (look: string) => void) => Promise<Record<string, string>>, limitMs: number, keepMs: number) {
  const changes: Readiness[] = []
  return { changes, check: new ReadinessCheck({ probe, limitMs, keepMs, onChange: (readiness) => changes.push(readiness) }) }
}

test('what was found is given again while it is fresh, and looked for again after that', async () => {
  let count = 0
  const fresh = checkOf(async () => ({ write: `${++count}` }), 60_000, 3_600_000).check
  assert.deepEqual([await fresh.ask(), await fresh.ask()].map(({ looks }) => looks['write']), ['1', '1'])
  const stale = checkOf(async () => ({ write: `${++count}` }), 60_000, 0).check
  assert.deepEqual([await stale.ask(), await stale.ask()].map(({ looks }) => looks['write']), ['2', '3'])
})

test('a probe that hangs is not begun again; when it ends at last the next who asks is told what it found', async () => {
  let began = 0
  let release: (looks: Record<string, string>) => void = () => undefined
  const probe = (onLook: (look: string) => void) => {
    began++
    onLook('write')
    return new Promise<Record<string, string>>((resolve) => (release = resolve))
  }
  const { check, changes } = checkOf(probe, 50, 3_600_000)
  const asked = await Promise.all([check.ask(), check.ask(), check.ask()])
  const expected = Array.from({ length: 4 }, () => 'not done after 0.05 seconds')
  assert.deepEqual([...asked, await check.ask()].map(({ looks }) => looks['write']), expected)
  assert.equal(began, 1)
  release({ write: 'ok' })
  await until('it is ready', async () => (await check.ask()).isReady)
  assert.equal(began, 1)
  assert.deepEqual(changes.map(({ isReady }) => isReady), [false, true])
})

test('a probe that throws is a finding', async () => {
  const { check } = checkOf(
    async (onLook) => {
      onLook('space')
      throw new Error('no')
    },
    60_000,
    0,
  )
  assert.deepEqual(await check.ask(), { isReady: false, looks: { space: 'no' } })
})
