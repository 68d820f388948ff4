import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { ADMIN_TOKEN, after, askToken, needs, PROGRAM, request, startServer, submitForm, temporaryDirectory, until, type Running } from './harness.ts'

const NO_TOKEN = { REPROSCHEMA_BACKEND_TOKEN: '' } // the server makes one, and prints it
const SERVERS = [
  { by: 'of one process', env: NO_TOKEN },
  { by: 'of several processes', env: { ...NO_TOKEN, REPROSCHEMA_BACKEND_WORKERS: '2' } },
]

const logOf = (server: { basedir: string }, name: string) => readFile(join(server.basedir, 'logs', name), 'utf8').catch(() => '')

/** What was kept of a log, by its number among those of this week. */
async function turnedOf(server: Running, name: string): Promise<number[]> {
  const entries = await readdir(join(server.basedir, 'logs'))
  const found = entries.map((entry) => new RegExp(`^${name}\\.\\d{4}-\\d\\d-\\d\\d(?:-(\\d+))?$`).exec(entry))
  return found.flatMap((match) => (match === null ? [] : [Number(match[1] ?? '1')])).toSorted((a, b) => a - b)
}

async function adminTokenOf(server: Running): Promise<string> {
  await until('the token is printed', () => /^TOKEN=.*\n/m.test(server.output()))
  return /^TOKEN=(.*)$/m.exec(server.output())?.[1] ?? ''
}

for (const { by, env } of SERVERS) {
  test(`a log ${by} that is too large is turned, ten are kept, and the token that was made at the start is found in the newest`, async (t) => {
    const server = await startServer(t, { env: { ...env, REPROSCHEMA_BACKEND_LOG_BYTES: '1000' } })
    const token = await adminTokenOf(server)
    await until('more than ten were turned', async () => {
      for (let count = 0; count < 20; count++) assert.equal((await request(`${server.url}/token?token=${token}`)).status, 200)
      const newest = [await turnedOf(server, 'console.log'), await turnedOf(server, 'access.log')].map((turned) => turned.at(-1) ?? 0)
      return Math.min(...newest) >= 12
    }, 120)
    assert.equal(await server.stop(), 0)
    for (const name of ['console.log', 'access.log']) {
      const turned = await turnedOf(server, name)
      const newest = turned.at(-1) ?? 0
      assert.deepEqual(turned, Array.from({ length: 10 }, (_, index) => newest - 9 + index))
    }
    const entries = (await readdir(join(server.basedir, 'logs'))).filter((entry) => entry.startsWith('console.log'))
    for (const entry of entries) {
      const lines = (await logOf(server, entry)).split('\n')
      assert.deepEqual([lines.indexOf(`TOKEN=${token}`), lines.lastIndexOf(`TOKEN=${token}`)], [0, 0], entry)
    }
  })
}

test('a log that was not too large is not turned', async (t) => {
  const server = await startServer(t)
  for (let count = 0; count < 20; count++) await askToken(server)
  assert.equal(await server.stop(), 0)
  assert.deepEqual(await turnedOf(server, 'console.log'), [])
  assert.doesNotMatch(await logOf(server, 'console.log'), /TOKEN=/)
})

for (const { signal, by, env } of SERVERS.flatMap((server) => (['SIGHUP', 'SIGUSR2'] as const).map((signal) => ({ signal, ...server })))) {
  test(`after ${signal} a log ${by} that was moved away is begun anew, with the token at its head, and nothing is lost`, async (t) => {
    const server = await startServer(t, { env })
    const token = await adminTokenOf(server)
    const logs = join(server.basedir, 'logs')
    await request(`${server.url}/before`)
    await until('the lines are there', async () => /before/.test(await logOf(server, 'access.log')) && / INFO refused /.test(await logOf(server, 'console.log')))
    for (const name of ['console.log', 'access.log']) await rename(join(logs, name), join(logs, `${name}.1`))
    process.kill(server.process.pid ?? 0, signal)
    await until('there is a new one', async () => (await logOf(server, 'console.log')) === `TOKEN=${token}\n`)
    await until('of each', async () => (await readdir(logs)).includes('access.log'))
    assert.equal((await readdir(logs)).includes('error.log'), false)
    await request(`${server.url}/later`)
    await until('the line is there', async () => /later/.test(await logOf(server, 'access.log')))
    assert.equal(await server.stop(), 0)
    const moved = await logOf(server, 'access.log.1')
    assert.deepEqual([/before/.test(moved), /later/.test(moved)], [true, false])
    assert.match(await logOf(server, 'console.log'), /^TOKEN=.*\nS?[^]*Stopped\n$/)
  })
}

test('many signals at any time end nothing', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  for (let count = 0; count < 50; count++) {
    process.kill(server.process.pid ?? 0, count % 2 === 0 ? 'SIGHUP' : 'SIGUSR2')
    const answer = await submitForm(server, [['auth_token', authToken], ['responses', '[1]']])
    assert.equal(answer.status, 200, answer.text)
  }
  assert.equal(await server.stop(), 0)
  assert.equal((await logOf(server, 'access.log')).match(/"POST \/submit HTTP/g)?.length, 50)
})

test('logrotate turns the logs of a running server', async (t) => {
  if (!needs(t, 'logrotate', 'logrotate')) return
  const server = await startServer(t, { env: NO_TOKEN })
  await request(`${server.url}/before`)
  await until('the line is there', async () => /before/.test(await logOf(server, 'access.log')))
  const directory = await temporaryDirectory(t)
  const configuration = `${server.basedir}/logs/console.log ${server.basedir}/logs/access.log ${server.basedir}/logs/error.log {
  rotate 5
  missingok
  nocreate
  sharedscripts
  postrotate
    kill -HUP ${server.process.pid}
  endscript
}
`
  await writeFile(join(directory, 'configuration'), configuration, { mode: 0o600 })
  const run = spawnSync('logrotate', ['--force', '--state', join(directory, 'state'), join(directory, 'configuration')], { encoding: 'utf8' })
  assert.deepEqual([run.status, run.stderr], [0, ''])
  await until('there is a new one', async () => /^TOKEN=/.test(await logOf(server, 'console.log')))
  await request(`${server.url}/later`)
  await until('the line is there', async () => /later/.test(await logOf(server, 'access.log')))
  assert.match(await logOf(server, 'access.log.1'), /before/)
  assert.doesNotMatch(await logOf(server, 'access.log'), /before/)
})

test('goaccess reads every line of the access log', async (t) => {
  if (!needs(t, 'goaccess', 'goaccess')) return
  const server = await startServer(t)
  const authToken = await askToken(server)
  assert.equal((await submitForm(server, [['auth_token', authToken], ['file', Buffer.alloc(1000), 'a.wav']], { 'User-Agent': 'Mozilla/5.0 "odd" \\' })).status, 200)
  await request(`${server.url}/nothing?secret`, { headers: { Referer: 'https://ui.example.org/x?y' } })
  await request(`${server.url}/`, { method: 'OPTIONS', headers: { 'User-Agent': '' } })
  assert.equal(await server.stop(), 0)
  const lines = (await logOf(server, 'access.log')).split('\n').length - 1
  assert.equal(lines, 4)
  const report = join(await temporaryDirectory(t), 'report.json')
  const args = [join(server.basedir, 'logs', 'access.log'), '--log-format=COMBINED', '--no-global-config', '-o', report]
  const run = spawnSync('goaccess', args, { encoding: 'utf8' })
  assert.equal(run.status, 0, run.stderr)
  const { general } = JSON.parse(await readFile(report, 'utf8')) as { general: Record<string, number> }
  assert.deepEqual([general['total_requests'], general['valid_requests'], general['failed_requests']], [4, 4, 0])
})

test('with REPROSCHEMA_BACKEND_LOG=stdout every line goes to standard output too', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_LOG: 'stdout' } })
  await askToken(server)
  await request(`${server.url}/nothing`)
  assert.equal(await server.stop(), 0)
  const logged = `${await logOf(server, 'console.log')}${await logOf(server, 'access.log')}`.split('\n')
  assert.match(logged.join('\n'), / INFO refused [^]*"GET \/nothing /)
  assert.deepEqual(server.output().split('\n').toSorted().filter((line) => line !== ''), logged.toSorted().filter((line) => line !== ''))
})

test('submissions go on while nobody reads the standard output that the lines go to; what was lost is counted', async (t) => {
  const basedir = await temporaryDirectory(t)
  const args = [PROGRAM, '--port=0', '--host=127.0.0.1', `--basedir=${basedir}`, '--log=stdout']
  const env = { PATH: process.env['PATH'] ?? '', REPROSCHEMA_BACKEND_TOKEN: ADMIN_TOKEN }
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'ignore'] })
  const exited = once(child, 'exit')
  after(t, () => child.kill('SIGKILL'))
  const heard = async () => /^Listening on (.*)$/m.exec(await logOf({ basedir }, 'console.log'))?.[1]
  await until('it listens', async () => (await heard()) !== undefined)
  const server = { url: (await heard()) ?? '' }
  const authToken = await askToken(server)
  const headers = { 'User-Agent': 'x'.repeat(500) }
  for (let count = 0; count < 1600; count++) await request(`${server.url}/${'y'.repeat(400)}`, { headers }) // a pipe takes 64 KiB
  assert.equal((await submitForm(server, [['auth_token', authToken], ['responses', '[1]']])).status, 200)
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  await until('the lost lines are counted', async () => {
    await request(server.url)
    return /^\S+ WARNING \d+ lines were lost$/m.test(output)
  })
  child.kill('SIGTERM')
  assert.deepEqual(await exited, [0, null])
})
