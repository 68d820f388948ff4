import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { LogFile } from '../lib/log-file.ts'
import {
  ADMIN_TOKEN,
  askToken,
  filesOf,
  listFiles,
  needs,
  PROGRAM,
  request,
  sendRaw,
  sleep,
  startServer,
  submitForm,
  temporaryDirectory,
  until,
  type Entry,
} from './harness.ts'
import { ONLY_TRACED } from './trace.ts'

const LOGS = ['access.log', 'console.log', 'error.log']
const FIXED_TOKEN = 'our-lab.fixed~admin/token'
const ACCESS_LINE = /^\S+ - - \[\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000\] "[^"]*" \d{3} (\d+|-) "[^"]*" "[^"]*"$/
const EVENT_LINE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|ERROR) [a-z]/
const ANNOUNCED = /^(Listening on|Data goes to|Development mode:|Stopping:|Stopped|TOKEN=)/

async function linesOf(basedir: string, name: string): Promise<string[]> {
  const text = await readFile(join(basedir, 'logs', name), 'utf8').catch(() => '')
  return text.split('\n').slice(0, -1)
}

const entriesFor = (authToken: string): Entry[] => [
  ['file', Buffer.from('content-of-the-file'), 'filename-of-the-file.wav'],
  ['auth_token', authToken],
  ['responses', '{"answer":"words-of-a-participant"}'],
]

const targets = [
  { name: 'the path', target: '/', expected: 'GET / HTTP/1.1' },
  { name: 'the path without its query', target: '/nothing?secret=1', expected: 'GET /nothing HTTP/1.1' },
  { name: 'the path without a query that was encoded', target: '/token%3Ftoken=secret', expected: 'GET /token HTTP/1.1' },
  { name: 'the path without a query that was mistyped', target: '/token&token=secret', expected: 'GET /token HTTP/1.1' },
  { name: 'a path in which a token stands', target: `/study-${'ab'.repeat(16)}/x`, expected: 'GET /study-(hidden)/x HTTP/1.1' },
  { name: 'a path in which the admin token stands', target: `/x/${FIXED_TOKEN}/y`, expected: 'GET /x/(hidden)/y HTTP/1.1' },
  { name: 'a path with quotes as one field', target: '/a"b\\c', expected: 'GET /a?b?c HTTP/1.1' },
]
test('the access log has the combined format and shows', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_TOKEN: FIXED_TOKEN } })
  for (const { name, target, expected } of targets) {
    await t.test(name, async () => {
      const before = (await linesOf(server.basedir, 'access.log')).length
      await sendRaw(server.port, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
      await until('the line is there', async () => (await linesOf(server.basedir, 'access.log')).length > before)
      const line = (await linesOf(server.basedir, 'access.log')).at(-1) ?? ''
      assert.match(line, ACCESS_LINE)
      assert.equal(line.split('"')[1], expected)
    })
  }
})

const fields = [
  { name: 'the browser', field: 'User-Agent: Mozilla/5.0 (X11)', expected: ['-', 'Mozilla/5.0 (X11)'] },
  { name: 'the page without its path and query', field: 'Referer: https://x.org/a?auth_token=secret', expected: ['https://x.org', '-'] },
  { name: 'no page where it is none', field: 'Referer: secret', expected: ['-', '-'] },
  { name: 'a browser that names a token', field: `User-Agent: x study-${'0f'.repeat(16)}`, expected: ['-', 'x study-(hidden)'] },
  { name: 'a browser that names the admin token', field: `User-Agent: ${FIXED_TOKEN}`, expected: ['-', '(hidden)'] },
  { name: 'a browser with quotes', field: 'User-Agent: a" 200 - "b\\', expected: ['-', 'a? 200 - ?b?'] },
  { name: 'a browser with control characters', field: 'User-Agent: a\tb\u0085c\u001b[2J', expected: undefined },
  { name: 'a browser in bytes of UTF-8', field: 'User-Agent: \u00e2\u0080\u00a8x', expected: ['-', '???x'] },
  { name: 'the first 500 characters of a browser', field: `User-Agent: ${'x'.repeat(3000)}`, expected: ['-', 'x'.repeat(500)] },
]
test('the access log shows', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_TOKEN: FIXED_TOKEN } })
  for (const { name, field, expected } of fields) {
    await t.test(name, async () => {
      const before = (await linesOf(server.basedir, 'access.log')).length
      const raw = await sendRaw(server.port, `GET / HTTP/1.1\r\nHost: x\r\n${field}\r\nConnection: close\r\n\r\n`)
      if (expected === undefined) return assert.match(raw, /^HTTP\/1\.1 400 /)
      await until('the line is there', async () => (await linesOf(server.basedir, 'access.log')).length > before)
      const line = (await linesOf(server.basedir, 'access.log')).at(-1) ?? ''
      assert.match(line, ACCESS_LINE)
      assert.deepEqual([line.split('"')[3], line.split('"')[5]], expected)
    })
  }
})

for (const mode of ['production', 'development'] as const) {
  test(`in ${mode} no log holds a token, a query, a file's content or name, or a participant's words`, async (t) => {
    const env = { REPROSCHEMA_BACKEND_TOKEN: '', ...(mode === 'development' ? { DEV8dac6d02a913: '1' } : {}) }
    const server = await startServer(t, { env })
    await until('the token is printed', () => /^TOKEN=.*$/m.test(server.output()))
    const adminToken = /^TOKEN=(.*)$/m.exec(server.output())?.[1] ?? ''
    const query = `token=${adminToken}&project=study&participant_id=id-of-a-participant`
    const authToken = String((await request(`${server.url}/token?${query}`)).json['auth_token'])
    const registered = await request(`${server.url}/register?token=${adminToken}&callback_url=https://callback.example.org/`)
    await request(`${server.url}/token?client_id=${String(registered.json['client_id'])}&participant_id=id-of-a-participant`)
    assert.equal((await submitForm(server, entriesFor(authToken), { Authorization: `Bearer ${authToken}` })).status, 200)
    assert.equal((await submitForm(server, entriesFor(`${authToken}x`))).status, 403)
    assert.equal((await submitForm(server, [['auth_token', authToken], ['responses', '{"answer":words-of-a-participant']])).status, 400)
    await request(`${server.url}/submit?auth_token=${authToken}`, { method: 'POST', body: 'words-of-a-participant' })
    await request(`${server.url}/token?token=${adminToken}&token=${adminToken}`)
    await request(`${server.url}/${authToken}?${authToken}`, { headers: { Referer: `https://x.org/${authToken}`, 'User-Agent': authToken } })
    await rm(join(server.basedir, 'tokens'), { recursive: true })
    await writeFile(join(server.basedir, 'tokens'), '')
    assert.equal((await request(`${server.url}/token?${query}`)).status, 500)
    assert.equal((await submitForm(server, entriesFor(`study-${'0'.repeat(32)}`))).status, 500)
    assert.equal(await server.stop(), 0)
    const texts = await Promise.all(LOGS.map((name) => readFile(join(server.basedir, 'logs', name), 'utf8')))
    const secrets = [authToken.slice(-32), String(registered.json['client_id']), '?', 'words-of', 'content-of', 'filename-of', 'id-of', 'callback.example']
    for (const text of [...texts, server.output()]) {
      for (const secret of secrets) assert.ok(!text.includes(secret), `${secret} in ${text}`)
      assert.equal(text.replace(`TOKEN=${adminToken}\n`, '').includes(adminToken), false)
    }
    assert.equal(texts.join('').split(`TOKEN=${adminToken}\n`).length, 2)
  })
}

test('what we did wrong is one line with its stack, in error.log and console.log; the answer has nothing of it', async (t) => {
  const server = await startServer(t)
  await rm(join(server.basedir, 'tokens'), { recursive: true })
  await writeFile(join(server.basedir, 'tokens'), '')
  const answer = await request(`${server.url}/token?token=${ADMIN_TOKEN}`)
  assert.deepEqual([answer.status, answer.json['code']], [500, 'internal'])
  assert.doesNotMatch(answer.text, /\/|\bat\b|Error|node/)
  assert.equal(answer.headers.get('x-request-id'), answer.json['request_id'])
  assert.equal(await server.stop(), 0)
  const lines = await linesOf(server.basedir, 'error.log')
  assert.equal(lines.length, 1)
  assert.match(lines[0] ?? '', /^\S+ ERROR failed request=[0-9a-f]{8} code=internal path=\/token stack="HttpError: .*\\n.* at .*caused by .*"$/)
  assert.deepEqual((await linesOf(server.basedir, 'console.log')).filter((line) => line === lines[0]), lines)
  assert.ok(lines[0]?.includes(`request=${String(answer.json['request_id'])}`), lines[0])
})

test('nothing from a request can begin a line of a log', async (t) => {
  const server = await startServer(t, { env: { DEV8dac6d02a913: '1' } })
  const forged = '%0A2024-11-01T00:00:00.000Z%20INFO%20forged%0D%E2%80%A8%C2%85forged'
  const paths = [`/${forged}`, `/token?token=${ADMIN_TOKEN}&participant_id=${forged}`, `/token?${forged}=1`, `/register?token=${ADMIN_TOKEN}&callback_url=${forged}`]
  for (const path of paths) await request(`${server.url}${path}`)
  const text = decodeURIComponent(forged)
  await submitForm(server, [['auth_token', text], [text, text], [text, Buffer.from('x'), text]])
  const authToken = await askToken(server)
  assert.equal((await submitForm(server, [['auth_token', authToken], [text, text], [text, Buffer.from('x'), text]])).status, 200)
  await request(`${server.url}/submit`, { method: 'POST', body: 'x', headers: { 'Content-Type': 'multipart/form-data; boundary="\u0085x"' } })
  await sendRaw(server.port, `GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: a\nforged: b\rforged\r\nConnection: close\r\n\r\n`)
  await sendRaw(server.port, `FORGED\n2024 /\r\n\r\n`)
  assert.equal(await server.stop(), 0)
  for (const line of [...(await linesOf(server.basedir, 'console.log')), ...(await linesOf(server.basedir, 'access.log'))]) {
    assert.ok(ACCESS_LINE.test(line) || EVENT_LINE.test(line) || ANNOUNCED.test(line), line)
    assert.doesNotMatch(line, /^\S+ INFO forged|[\u0000-\u001f\u007f-\u009f\u2028\u2029]/)
  }
})

test('in production the console has the announcements alone; in development it has every line of the logs', async (t) => {
  for (const isDevelopment of [false, true]) {
    const server = await startServer(t, { env: isDevelopment ? { DEV8dac6d02a913: '1' } : {} })
    assert.equal((await submitForm(server, entriesFor(await askToken(server)))).status, 200)
    assert.equal((await request(`${server.url}/nothing`)).status, 404)
    assert.equal(await server.stop(), 0)
    const printed = server.output().split('\n').slice(0, -1)
    const logged = [...(await linesOf(server.basedir, 'console.log')), ...(await linesOf(server.basedir, 'access.log'))]
    assert.match(logged.join('\n'), / INFO accepted [^]*"GET \/nothing /)
    assert.deepEqual(printed.toSorted(), logged.filter((line) => isDevelopment || ANNOUNCED.test(line)).toSorted())
  }
})

test('an old log is turned at the start, under the Monday of its week; ten turned ones are kept, and whatever else is there', async (t) => {
  const basedir = await temporaryDirectory(t)
  const logs = join(basedir, 'logs')
  await mkdir(logs)
  const mondays = Array.from({ length: 12 }, (_, week) => new Date(Date.UTC(2024, 0, 1 + 7 * week)).toISOString().slice(0, 10))
  for (const name of LOGS) {
    for (const monday of mondays) await writeFile(join(logs, `${name}.${monday}`), `${name} of ${monday}\n`)
    await writeFile(join(logs, name), `${name} of a Sunday\n`)
    await utimes(join(logs, name), new Date('2024-11-03T23:59:59Z'), new Date('2024-11-03T23:59:59Z'))
    await writeFile(join(logs, `${name}.0-notes`), 'of the lab')
    await writeFile(join(logs, `${name}.zip`), 'of the lab')
  }
  const server = await startServer(t, { basedir })
  assert.equal((await request(`${server.url}/nothing`)).status, 404)
  assert.equal(await server.stop(), 0)
  for (const name of ['access.log', 'console.log']) {
    const expected = [name, `${name}.0-notes`, ...mondays.slice(-9).map((monday) => `${name}.${monday}`), `${name}.2024-10-28`, `${name}.zip`]
    assert.deepEqual((await readdir(logs)).filter((entry) => entry.startsWith(name)).toSorted(), expected)
    assert.equal(await readFile(join(logs, `${name}.2024-10-28`), 'utf8'), `${name} of a Sunday\n`)
    assert.doesNotMatch(await readFile(join(logs, name), 'utf8'), /Sunday/)
  }
})

test('a log is turned under a free name where its own is taken, and a log of this week is added to', async (t) => {
  const basedir = await temporaryDirectory(t)
  const logs = join(basedir, 'logs')
  await mkdir(logs)
  await writeFile(join(logs, 'console.log.2024-10-28'), 'first\n')
  await writeFile(join(logs, 'console.log'), 'second\n')
  await utimes(join(logs, 'console.log'), new Date('2024-10-28T00:00:00Z'), new Date('2024-10-28T00:00:00Z'))
  await writeFile(join(logs, 'access.log'), 'of today\n')
  const server = await startServer(t, { basedir })
  await request(server.url)
  assert.equal(await server.stop(), 0)
  assert.equal(await readFile(join(logs, 'console.log.2024-10-28'), 'utf8'), 'first\n')
  assert.equal(await readFile(join(logs, 'console.log.2024-10-28-2'), 'utf8'), 'second\n')
  assert.match(await readFile(join(logs, 'access.log'), 'utf8'), /^of today\n.*"GET \/ HTTP/)
})

test('two processes on one base directory write their lines whole into the same logs', async (t) => {
  const first = await startServer(t)
  const second = await startServer(t, { basedir: first.basedir })
  await Promise.all(Array.from({ length: 100 }, (_, index) => request(index % 2 === 0 ? first.url : second.url)))
  assert.deepEqual([await first.stop(), await second.stop()], [0, 0])
  const lines = await linesOf(first.basedir, 'access.log')
  assert.equal(lines.length, 100)
  for (const line of lines) assert.match(line, ACCESS_LINE)
})

for (const failing of [...LOGS.map((name) => [name]), LOGS]) {
  test(`submissions go on while ${failing.join(', ')} cannot be written`, async (t) => {
    const basedir = await temporaryDirectory(t)
    await mkdir(join(basedir, 'logs'))
    for (const name of failing) await symlink('/dev/full', join(basedir, 'logs', name))
    const server = await startServer(t, { basedir, env: { DEV8dac6d02a913: '1' } })
    for (let count = 0; count < 5; count++) {
      const answer = await submitForm(server, entriesFor(await askToken(server)))
      assert.deepEqual([answer.status, filesOf(answer).length], [200, 2])
    }
    assert.equal(await server.stop(), 0)
    assert.doesNotMatch(server.output(), /ERROR/)
  })
}

test('a log that can be written again says how many lines were lost', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const basedir = await temporaryDirectory(t)
  const trace = join(await temporaryDirectory(t), 'trace')
  const path = join(basedir, 'logs', 'access.log')
  await mkdir(join(basedir, 'logs'))
  await symlink('/dev/full', path)
  const server = await startServer(t, { basedir, through: ['strace', '-f', ONLY_TRACED, '-y', '-e', 'trace=write,writev,pwrite64,pwritev', '-o', trace] })
  for (let count = 0; count < 3; count++) await request(server.url)
  await until('a line is lost', async () => (await readFile(trace, 'utf8')).includes('ENOSPC')) // it is written after its answer
  await rm(path)
  await request(server.url)
  assert.equal(await server.stop(), 0)
  const [warning = '', ...others] = await linesOf(basedir, 'access.log')
  const lost = Number(/^\S+ WARNING (\d+) lines of this log were lost$/.exec(warning)?.[1])
  assert.ok(lost >= 1, warning)
  assert.equal(lost + others.length, 4)
})

test('lines that are lost while others are written are counted too', async (t) => {
  const path = join(await temporaryDirectory(t), 'console.log')
  const log = new LogFile({ path, limitBytes: 1e9 })
  await log.open()
  const line = 'x'.repeat(1000)
  for (let round = 0; round < 6; round++) {
    for (let count = 0; count < 12_000; count++) log.append(line)
    await sleep(0)
  }
  await log.close()
  log.append('the last')
  await log.close()
  const lines = (await readFile(path, 'utf8')).trim().split('\n')
  const lost = lines.flatMap((each) => /WARNING (\d+) lines of this log were lost$/.exec(each)?.[1] ?? []).map(Number)
  assert.ok(lost.length > 0)
  assert.equal(lines.length - lost.length + lost.reduce((sum, each) => sum + each, 0), 72_001)
})

test('a logs directory that is removed while the server runs is made again', async (t) => {
  const server = await startServer(t)
  await request(server.url)
  await until('a line is there', async () => (await linesOf(server.basedir, 'access.log')).length === 1)
  await rm(join(server.basedir, 'logs'), { recursive: true, maxRetries: 10 })
  await until('a line is there again', async () => {
    await request(server.url) // it is looked once a second whether the file is still the one of that name
    return (await readdir(server.basedir)).includes('logs') && (await linesOf(server.basedir, 'access.log')).length > 0
  })
  assert.equal(await server.stop(), 0)
  assert.match((await linesOf(server.basedir, 'access.log')).at(-1) ?? '', ACCESS_LINE)
  assert.equal((await linesOf(server.basedir, 'console.log')).at(-1), 'Stopped')
})

const replacements = [
  { name: 'a link to nowhere', replace: (path: string) => symlink('/nowhere/at/all', path) },
  { name: 'a file', replace: (path: string) => writeFile(path, '') },
]
for (const { name, replace } of replacements) {
  test(`submissions go on after the logs directory has become ${name}`, async (t) => {
    const server = await startServer(t)
    const authToken = await askToken(server)
    await until('the directory is replaced, though the server makes it again', async () => {
      await rm(join(server.basedir, 'logs'), { recursive: true, force: true, maxRetries: 10 })
      return replace(join(server.basedir, 'logs')).then(() => true, () => false)
    })
    for (let count = 0; count < 3; count++) assert.equal((await submitForm(server, entriesFor(authToken))).status, 200)
    assert.equal(await server.stop(), 0)
  })
}

const consoles = [
  { name: 'a pipe that nobody reads any more', through: ['sh', '-c', '("$0" "$@"; echo $? >"$CODE") | head -n 1'] },
  { name: 'a full disk', through: ['sh', '-c', '"$0" "$@" >/dev/full 2>&1; echo $? >"$CODE"'] },
  { name: 'closed', through: ['sh', '-c', '"$0" "$@" >&- 2>&-; echo $? >"$CODE"'] },
]
for (const { name, through } of consoles) {
  test(`submissions go on while the console is ${name}`, async (t) => {
    const [basedir, other] = [await temporaryDirectory(t), await temporaryDirectory(t)]
    const [command = '', ...rest] = through
    const child = spawn(command, [...rest, process.execPath, PROGRAM, '--port=0', '--host=127.0.0.1', `--basedir=${basedir}`], {
      env: { PATH: process.env['PATH'] ?? '', CODE: join(other, 'code'), REPROSCHEMA_BACKEND_TOKEN: ADMIN_TOKEN, DEV8dac6d02a913: '1' },
      detached: true,
      stdio: 'ignore',
    })
    t.after(() => child.exitCode === null && child.signalCode === null && child.pid !== undefined && process.kill(-child.pid, 'SIGKILL'))
    const heard = async () => /^Listening on (.*)$/m.exec((await linesOf(basedir, 'console.log')).join('\n'))?.[1]
    await until('it listens', async () => (await heard()) !== undefined)
    const server = { url: (await heard()) ?? '' }
    for (let count = 0; count < 5; count++) {
      assert.equal((await submitForm(server, entriesFor(await askToken(server)))).status, 200)
    }
    const [owner = ''] = (await listFiles(join(basedir, 'uploads', 'staging'))).filter((path) => path.endsWith('owner.json'))
    const { pid } = JSON.parse(await readFile(join(basedir, 'uploads', 'staging', owner), 'utf8')) as { pid: number }
    process.kill(pid, 'SIGTERM')
    await until('it has stopped', async () => (await readdir(other)).includes('code'))
    await until('its code is known', async () => (await readFile(join(other, 'code'), 'utf8')) !== '')
    assert.equal(await readFile(join(other, 'code'), 'utf8'), '0\n')
  })
}
