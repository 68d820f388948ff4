import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  ADMIN_TOKEN,
  askToken,
  commonServer,
  listData,
  listFiles,
  listUploads,
  needs,
  readReceipts,
  request,
  sendRaw,
  startServer,
  submitForm,
  temporaryDirectory,
  until,
  type Running,
} from './harness.ts'
import { sha256Of } from './sha256.ts'
import { ONLY_TRACED } from './trace.ts'

// For tests that look at what they asked for, or at a project of their own.
const common = commonServer()
const DAY_MS = 24 * 3600 * 1000

/** Says what a submission with this auth token is answered. */
async function statusOf(server: { url: string }, authToken: string): Promise<string> {
  const { status, json } = await submitForm(server, [['file', Buffer.from('x'), 'a.txt'], ['auth_token', authToken]])
  return `${status} ${String(json['status'])}`
}

const answered = [
  { name: 'the admin token alone', query: '', project: 'unknown', minutes: 90 },
  { name: 'a project', query: '&project=my-study', project: 'my-study', minutes: 90 },
  { name: 'a project of one character', query: '&project=_', project: '_', minutes: 90 },
  { name: 'a project of 100 characters', query: `&project=${'p'.repeat(100)}`, project: 'p'.repeat(100), minutes: 90 },
  { name: 'a project of every kind of character', query: '&project=0a.B_c-', project: '0a.B_c-', minutes: 90 },
  { name: 'a project called __proto__', query: '&project=__proto__', project: '__proto__', minutes: 90 },
  { name: 'a project called constructor', query: '&project=constructor', project: 'constructor', minutes: 90 },
  { name: 'one minute', query: '&expiry_minutes=1', project: 'unknown', minutes: 1 },
  { name: 'a year', query: '&expiry_minutes=525600', project: 'unknown', minutes: 525_600 },
  { name: 'a participant', query: '&participant_id=Zo%C3%AB', project: 'unknown', minutes: 90 },
  { name: 'parameters that it does not know', query: '&x=1&x=2&y', project: 'unknown', minutes: 90 },
]
test('`GET /token` gives a token and when it expires', async (t) => {
  const server = await common()
  for (const path of ['/token', '/token/', '//token', '/token//', '/%74oken']) {
    for (const { name, query, project, minutes } of path === '/token' ? answered : answered.slice(0, 1)) {
      await t.test(`at ${path} with ${name}`, async () => {
        const before = Math.floor(Date.now() / 1000) * 1000
        const answer = await request(`${server.url}${path}?token=${ADMIN_TOKEN}${query}`)
        const after = Date.now()
        const { auth_token, expires, expiry_time, ...others } = answer.json
        assert.deepEqual([answer.status, others], [200, {}])
        assert.equal(answer.headers.get('cache-control'), 'no-store')
        assert.equal(answer.headers.get('content-type'), 'application/json')
        assert.equal(String(auth_token).slice(0, -32), `${project}-`)
        assert.match(String(auth_token).slice(-32), /^[0-9a-f]{32}$/)
        assert.equal(expiry_time, expires)
        const issuedMs = parseStamp(String(expires)) - minutes * 60_000
        assert.ok(issuedMs >= before && issuedMs <= after, String(expires))
      })
    }
  }
})

const wrongToken = `1${ADMIN_TOKEN.slice(1)}`
const refused = [
  { name: 'no admin token', query: '', status: 403, says: 'not_authorized' },
  { name: 'an empty admin token', query: 'token=', status: 403, says: 'not_authorized' },
  { name: 'an admin token without a value', query: 'token', status: 403, says: 'not_authorized' },
  { name: 'a parameter called like the admin token in capitals', query: `TOKEN=${ADMIN_TOKEN}`, status: 403, says: 'not_authorized' },
  { name: 'a wrong admin token', query: 'token=wrong', status: 403, says: 'not_authorized_token' },
  { name: 'another first character', query: `token=${wrongToken}`, status: 403, says: 'not_authorized_token' },
  { name: 'another last character', query: `token=${ADMIN_TOKEN.slice(0, -1)}e`, status: 403, says: 'not_authorized_token' },
  { name: 'capitals', query: `token=${ADMIN_TOKEN.toUpperCase()}`, status: 403, says: 'not_authorized_token' },
  { name: 'a character more', query: `token=${ADMIN_TOKEN}0`, status: 403, says: 'not_authorized_token' },
  { name: 'a character less', query: `token=${ADMIN_TOKEN.slice(1)}`, status: 403, says: 'not_authorized_token' },
  { name: 'a line break at the end', query: `token=${ADMIN_TOKEN}%0A`, status: 403, says: 'not_authorized_token' },
  { name: 'a NUL at the end', query: `token=${ADMIN_TOKEN}%00`, status: 403, says: 'not_authorized_token' },
  { name: 'a blank before', query: `token=+${ADMIN_TOKEN}`, status: 403, says: 'not_authorized_token' },
  { name: 'a wrong one before the right one', query: `token=wrong&token=${ADMIN_TOKEN}`, status: 403, says: 'not_authorized_token' },
  { name: 'the right one before a wrong one', query: `token=${ADMIN_TOKEN}&token=wrong`, status: 403, says: 'not_authorized_token' },
  { name: 'an empty one before the right one', query: `token=&token=${ADMIN_TOKEN}`, status: 403, says: 'not_authorized_token' },
  { name: 'the right one twice', query: `token=${ADMIN_TOKEN}&token=${ADMIN_TOKEN}`, status: 400, says: 'repeated_parameter' },
  ...['0', '-1', '3.5', '1e9', '1e2', 'NaN', 'Infinity', '0x10', '1_000', '', '%2B5', '+5', '5+', '525601', '9'.repeat(30), '%D9%A5', 'null', '5%00'].map(
    (text) => ({ name: `expiry_minutes=${text}`, query: `token=${ADMIN_TOKEN}&expiry_minutes=${text}`, status: 400, says: 'invalid_expiry_minutes' }),
  ),
  ...['../x', '..%2Fx', 'a/b', 'a%5Cb', '', '.', '..', '.x', '-x', '+', 'a+b', 'p'.repeat(101), 'p'.repeat(300), '%C3%A9', 'a%00', 'a%0A', '%0Aa', 'a:b', '~', '%EF%BC%8E'].map(
    (text) => ({ name: `project=${text}`, query: `token=${ADMIN_TOKEN}&project=${text}`, status: 400, says: 'invalid_project' }),
  ),
  { name: 'project given twice', query: `token=${ADMIN_TOKEN}&project=a&project=a`, status: 400, says: 'repeated_parameter' },
  { name: 'expiry_minutes given twice', query: `token=${ADMIN_TOKEN}&expiry_minutes=5&expiry_minutes=5`, status: 400, says: 'repeated_parameter' },
  { name: 'participant_id given twice', query: `token=${ADMIN_TOKEN}&participant_id=a&participant_id=b`, status: 400, says: 'repeated_parameter' },
  { name: 'a participant_id with a line break', query: `token=${ADMIN_TOKEN}&participant_id=a%0Ab`, status: 400, says: 'invalid_participant_id' },
  { name: 'a participant_id of 201 characters', query: `token=${ADMIN_TOKEN}&participant_id=${'x'.repeat(201)}`, status: 400, says: 'invalid_participant_id' },
  { name: 'a query that cannot be decoded', query: `token=${ADMIN_TOKEN}&x=%E9`, status: 400, says: 'malformed_target' },
  { name: 'a cut escape', query: `token=${ADMIN_TOKEN}&x=%4`, status: 400, says: 'malformed_target' },
]
test('`GET /token` refuses, with a sentence and without a trace,', async (t) => {
  const server = await startServer(t)
  const before = await listData(server.basedir)
  for (const { name, query, status, says } of refused) {
    await t.test(name, async () => {
      const answer = await request(`${server.url}/token?${query}`)
      assert.deepEqual([answer.status, answer.json['code']], [status, says])
      assert.equal(answer.headers.get('content-type'), 'application/json')
      assert.equal(answer.headers.get('access-control-allow-origin'), '*')
      assert.match(String(answer.json['message']), /^[A-Z\w].*\.$/)
      assert.equal(answer.json['status'], status === 403 ? says : 'refused')
    })
  }
  const appeared = (await listData(server.basedir)).filter((path) => !before.includes(path))
  assert.deepEqual(appeared, [])
  assert.deepEqual(await readdir(join(server.basedir, 'uploads', 'responses')), [])
})

test('wrong admin tokens lock nobody out', async (t) => {
  const server = await startServer(t)
  await Promise.all(Array.from({ length: 200 }, () => request(`${server.url}/token?token=wrong`)))
  assert.match(await askToken(server), /^study-/)
})

test('`HEAD /token` is answered as GET is, without a body', async () => {
  const server = await common()
  const head = await request(`${server.url}/token?token=${ADMIN_TOKEN}`, { method: 'HEAD' })
  const get = await request(`${server.url}/token?token=${ADMIN_TOKEN}`)
  assert.deepEqual([head.status, head.text], [200, ''])
  for (const name of ['content-type', 'content-length', 'cache-control']) assert.equal(head.headers.get(name), get.headers.get(name))
  assert.equal((await request(`${server.url}/token`, { method: 'HEAD' })).status, 403)
})

test('a participant_id stands in the receipt as it was meant', async () => {
  const server = await common()
  assert.equal(await statusOf(server, await askToken(server, { project: 'zoe', participant_id: 'Zoë +1' })), '200 accepted')
  assert.equal((await readReceipts(server.basedir, 'zoe'))[0]?.['participant'], 'Zoë +1')
})

test('the auth token is on disk as its SHA-256 only', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  assert.equal(await statusOf(server, authToken), '200 accepted')
  assert.equal(await statusOf(server, `${authToken.slice(0, -1)}g`), '403 Unauthorized token')
  const query = new URLSearchParams({ auth_token: authToken })
  await request(`${server.url}/submit?${query}`, { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json' } })
  await request(`${server.url}/${authToken}`, { headers: { 'User-Agent': authToken, Referer: `http://x/?auth_token=${authToken}` } })
  assert.equal(await server.stop(), 0)
  const sha256 = sha256Of(authToken)
  assert.deepEqual(await readdir(join(server.basedir, 'tokens')), [`${sha256}.json`])
  for (const path of await listFiles(server.basedir)) {
    const text = await readFile(join(server.basedir, path), 'latin1')
    assert.ok(!path.includes(authToken.slice(-32)) && !text.includes(authToken.slice(-32)), path)
  }
})

test('a token is good after a restart, for the same project only', async (t) => {
  const first = await startServer(t)
  const authToken = await askToken(first, { project: 'my-study' })
  assert.equal(await first.stop(), 0)
  const second = await startServer(t, { basedir: first.basedir })
  assert.equal(await statusOf(second, authToken), '200 accepted')
  assert.deepEqual(await readdir(join(second.basedir, 'uploads', 'responses')), ['my-study'])
})

test('a project and one whose name begins with it share nothing', async () => {
  const server = await common()
  const [short, long] = [await askToken(server, { project: 'my' }), await askToken(server, { project: 'my-study' })]
  assert.equal(await statusOf(server, short), '200 accepted')
  assert.equal(await statusOf(server, long), '200 accepted')
  for (const project of ['my', 'my-study']) {
    assert.equal((await listUploads(server.basedir)).filter((path) => path.startsWith(`responses/${project}/`)).length, 1)
    assert.equal((await readReceipts(server.basedir, project)).length, 1)
  }
})

test('a project called __proto__ is a directory of that very name', async () => {
  const server = await common()
  assert.equal(await statusOf(server, await askToken(server, { project: '__proto__' })), '200 accepted')
  assert.ok((await readdir(join(server.basedir, 'uploads', 'responses'))).includes('__proto__'))
})

test('a token is good after a SIGKILL right after its answer', async (t) => {
  const basedir = await temporaryDirectory(t)
  const authTokens: string[] = []
  for (let round = 0; round < 3; round++) {
    const server = await startServer(t, { basedir })
    authTokens.push(...(await Promise.all(Array.from({ length: 20 }, () => askToken(server)))))
    assert.equal(await server.stop('SIGKILL'), 'SIGKILL')
  }
  const server = await startServer(t, { basedir })
  const statuses = await Promise.all(authTokens.map((authToken) => statusOf(server, authToken)))
  assert.deepEqual(statuses, Array.from({ length: 60 }, () => '200 accepted'))
})

test('a token is synced, and its name too, before its answer', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const trace = join(await temporaryDirectory(t), 'trace')
  const server = await startServer(t, { through: ['strace', '-f', ONLY_TRACED, '-y', '-s', '200', '-e', 'trace=fsync,write,writev', '-o', trace] })
  const authToken = await askToken(server)
  const record = `${sha256Of(authToken)}.json`
  let calls: string[] = []
  const at = (pattern: RegExp) => calls.findIndex((call) => pattern.test(call))
  await until('the answer is in the trace', async () => {
    calls = (await readFile(trace, 'utf8')).split('\n')
    return at(/HTTP\/1\.1 200/) >= 0
  })
  const positions = [at(new RegExp(`fsync\\(\\d+<[^>]*${record}>`)), calls.findLastIndex((call) => /fsync\(\d+<[^>]*\/tokens>/.test(call)), at(/HTTP\/1\.1 200/)]
  assert.ok(positions.every((position) => position >= 0), JSON.stringify(positions))
  assert.deepEqual(positions.toSorted((a, b) => a - b), positions)
})

test('a token is good at every process that shares the base directory, also after the one that issued it is gone', async (t) => {
  const first = await startServer(t)
  const second = await startServer(t, { basedir: first.basedir })
  const [ofFirst, ofSecond] = [await askToken(first), await askToken(second)]
  assert.equal(await statusOf(second, ofFirst), '200 accepted')
  assert.equal(await statusOf(first, ofSecond), '200 accepted')
  assert.equal(await first.stop('SIGKILL'), 'SIGKILL')
  assert.equal(await statusOf(second, ofFirst), '200 accepted')
  assert.equal((await readReceipts(second.basedir, 'study')).length, 3)
})

test('an auth token is refused, and nothing is kept,', async (t) => {
  const server = await common()
  const before = await listUploads(server.basedir)
  const authToken = await askToken(server)
  await askToken(server, { project: 'other' })
  const secret = authToken.slice(-32)
  const texts = [
    '__proto__',
    'constructor',
    'hasOwnProperty',
    'toString',
    ADMIN_TOKEN,
    `study-${ADMIN_TOKEN}`,
    secret,
    `other-${secret}`,
    `STUDY-${secret}`,
    `study-${secret.toUpperCase()}`,
    ` ${authToken}`,
    `${authToken}\n`,
    `${authToken}\r\n`,
    `${authToken} `,
    `${authToken}\0`,
    `${authToken}0`,
    authToken.slice(0, -1),
    `../tokens/${authToken}`,
    sha256Of(authToken),
    'study-' + '0'.repeat(32),
    'null',
    '*',
    'x'.repeat(1024),
    'x'.repeat(5000),
  ]
  for (const text of texts) {
    await t.test(`that is ${JSON.stringify(text.slice(0, 60))}`, async () => {
      assert.equal(await statusOf(server, text), '403 Unauthorized token')
    })
  }
  await t.test('that is empty', async () => {
    assert.match(await statusOf(server, ''), /^403 Unauthorized/)
  })
  await t.test('that is missing', async () => {
    assert.equal((await submitForm(server, [['file', Buffer.from('x'), 'a.txt']])).json['status'], 'Unauthorized')
  })
  await t.test('that is the name of its record', async () => {
    const [record = ''] = await readdir(join(server.basedir, 'tokens'))
    assert.equal(await statusOf(server, record), '403 Unauthorized token')
  })
  await until('nothing is left', async () => (await listUploads(server.basedir)).length === before.length)
})

/** Writes the record of a token as the server does. */
async function writeRecord(basedir: string, authToken: string, record: object | string): Promise<void> {
  const name = `${sha256Of(authToken)}.json`
  await mkdir(join(basedir, 'tokens'), { recursive: true, mode: 0o700 })
  await writeFile(join(basedir, 'tokens', name), typeof record === 'string' ? record : `${JSON.stringify(record)}\n`)
}

const fromNow = (ms: number) => new Date(Date.now() + ms).toISOString()
const records = [
  { name: 'that has an hour left', record: { project: 'study', issued_at: fromNow(0), expires_at: fromNow(3_600_000) }, status: '200 accepted' },
  { name: 'that has just expired', record: { project: 'study', issued_at: fromNow(-60_000), expires_at: fromNow(-1) }, status: '403 Token expired' },
  { name: 'that expired six days ago', record: { project: 'study', issued_at: fromNow(-9 * DAY_MS), expires_at: fromNow(-6 * DAY_MS) }, status: '403 Token expired' },
  { name: 'that expired eight days ago', record: { project: 'study', issued_at: fromNow(-9 * DAY_MS), expires_at: fromNow(-8 * DAY_MS) }, status: '403 Token expired' },
  { name: 'whose record was cut off', record: '{"project":"study","iss', status: '403 Unauthorized token' },
  { name: 'whose record is empty', record: '', status: '403 Unauthorized token' },
  { name: 'whose record is another JSON value', record: '[1]', status: '403 Unauthorized token' },
  { name: 'whose record has no date', record: { project: 'study', issued_at: '', expires_at: 'never' }, status: '403 Unauthorized token' },
  { name: 'whose record names no project', record: { project: '../x', issued_at: fromNow(0), expires_at: fromNow(60_000) }, status: '403 Unauthorized token' },
]
test('a token is answered as its record says:', async (t) => {
  const basedir = await temporaryDirectory(t)
  const tokens = records.map((_, index) => `study-${String(index).padStart(32, '0')}`)
  for (const [index, { record }] of records.entries()) await writeRecord(basedir, tokens[index] ?? '', record)
  const server: Running = await startServer(t, { basedir })
  for (const [index, { name, status }] of records.entries()) {
    await t.test(`one ${name} is ${status}`, async () => assert.equal(await statusOf(server, tokens[index] ?? ''), status))
  }
})

test('the records of tokens hold a project, a participant and two dates', async () => {
  const server = await common()
  const before = await readdir(join(server.basedir, 'tokens'))
  await askToken(server, { participant_id: 'p1', expiry_minutes: '10' })
  const [name = ''] = (await readdir(join(server.basedir, 'tokens'))).filter((each) => !before.includes(each))
  const record = JSON.parse(await readFile(join(server.basedir, 'tokens', name), 'utf8')) as Record<string, string>
  assert.deepEqual(Object.keys(record).toSorted(), ['expires_at', 'issued_at', 'participant', 'project'])
  assert.deepEqual([record['project'], record['participant']], ['study', 'p1'])
  const lasts = Date.parse(record['expires_at'] ?? '') - Date.parse(record['issued_at'] ?? '')
  assert.ok(lasts <= 600_000 && lasts > 599_000, String(lasts))
})

test('a tokens directory that is removed while the server runs is made again', async (t) => {
  const server = await startServer(t)
  await rm(join(server.basedir, 'tokens'), { recursive: true })
  assert.equal(await statusOf(server, await askToken(server)), '200 accepted')
})

const targets = [
  { name: 'an unknown path', method: 'GET', target: '/nothing', status: 404, code: 'not_found' },
  { name: 'a path below a route', method: 'GET', target: '/token/x', status: 404, code: 'not_found' },
  { name: 'a path called __proto__', method: 'GET', target: '/__proto__', status: 404, code: 'not_found' },
  { name: 'a path that climbs', method: 'GET', target: '/../token', status: 404, code: 'not_found' },
  { name: 'a path in capitals', method: 'GET', target: '/TOKEN', status: 404, code: 'not_found' },
  { name: 'a path with a NUL', method: 'GET', target: '/token%00', status: 404, code: 'not_found' },
  { name: 'a path that cannot be decoded', method: 'GET', target: '/%E9', status: 400, code: 'malformed_target' },
  { name: 'a path with a cut escape', method: 'GET', target: '/%', status: 400, code: 'malformed_target' },
  { name: 'a target with bytes outside ASCII', method: 'GET', target: '/token?participant_id=Zo\u00c3\u00ab', status: 400, code: 'malformed_request' },
  { name: 'a target with a fragment', method: 'GET', target: '/#x', status: 400, code: 'malformed_target' },
  { name: 'POST to /token', method: 'POST', target: '/token', status: 405, code: 'method_not_allowed', allow: 'GET, HEAD, OPTIONS' },
  { name: 'DELETE of /', method: 'DELETE', target: '/', status: 405, code: 'method_not_allowed', allow: 'GET, HEAD, OPTIONS' },
  { name: 'GET of /submit', method: 'GET', target: '/submit', status: 405, code: 'method_not_allowed', allow: 'POST, OPTIONS' },
  { name: 'HEAD of /submit', method: 'HEAD', target: '/submit/', status: 405, code: undefined, allow: 'POST, OPTIONS' },
  { name: 'PUT to /register', method: 'PUT', target: '/register', status: 405, code: 'method_not_allowed', allow: 'GET, HEAD, OPTIONS' },
  { name: 'TRACE', method: 'TRACE', target: '/', status: 405, code: 'method_not_allowed', allow: 'GET, HEAD, OPTIONS' },
  { name: 'a target in absolute form', method: 'GET', target: 'http://study.example.org/', status: 200, code: undefined },
  { name: 'a target in absolute form without a path', method: 'GET', target: 'http://study.example.org?x=1', status: 200, code: undefined },
]
test('a target is answered:', async (t) => {
  const server = await common()
  for (const { name, method, target, status, code, allow } of targets) {
    await t.test(`${name} with ${status}`, async () => {
      const raw = await sendRaw(server.port, `${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
      assert.match(raw, new RegExp(`^HTTP/1\\.1 ${status} `))
      assert.match(raw, /^Access-Control-Allow-Origin: \*\r$/m)
      if (code !== undefined) assert.ok(raw.includes(`"code":"${code}"`), raw)
      if (allow !== undefined) assert.ok(raw.includes(`\r\nAllow: ${allow}\r\n`), raw)
    })
  }
  for (const line of ['OPTIONS * HTTP/1.1', 'CONNECT x:80 HTTP/1.1', 'FROB / HTTP/1.1', 'GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade']) {
    await t.test(`${JSON.stringify(line)} by an answer`, async () => {
      assert.match(await sendRaw(server.port, `${line}\r\nHost: x\r\nConnection: close\r\n\r\n`), /^HTTP\/1\.1 [245]\d\d /)
    })
  }
  assert.equal((await request(server.url)).status, 200)
})

// 20241101T023615Z
function parseStamp(stamp: string): number {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(stamp) ?? []
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
}
