import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { Expiries } from '../lib/access/expiries.ts'
import { Counter } from '../lib/metrics/counter.ts'
import { formatExposition } from '../lib/metrics/exposition.ts'
import { mergeFamilies } from '../lib/metrics/family.ts'
import { Histogram } from '../lib/metrics/histogram.ts'
import { Measures } from '../lib/metrics/measures.ts'
import { Reading } from '../lib/metrics/reading.ts'
import { ADMIN_TOKEN, askToken, needs, request, sendRaw, startServer, submitForm, temporaryDirectory, until, type Running } from './harness.ts'
import { Wire } from './wire.ts'

const bearer = { Authorization: `Bearer ${ADMIN_TOKEN}` }

async function scrape(server: Running): Promise<string> {
  const answer = await request(`${server.url}/metrics`, { headers: bearer })
  assert.equal(answer.status, 200, answer.text)
  assert.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  return answer.text
}

/** The value of a sample, by its name and labels as they are written; undefined where there is none. */
function valueOf(text: string, sample: string): number | undefined {
  const line = text.split('\n').find((each) => each.startsWith(`${sample} `))
  return line === undefined ? undefined : Number(line.slice(sample.length + 1))
}

test('the metrics say what was done, and promtool finds nothing wrong with them', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server, { expiry_minutes: '5' })
  const voice = () => submitForm(server, [['auth_token', authToken], ['file', Buffer.alloc(1000), 'voice.wav']])
  assert.equal((await voice()).status, 200)
  assert.equal((await voice()).json['repeated'], true)
  assert.equal((await submitForm(server, [['auth_token', authToken], ['responses', '[1]'], ['file', Buffer.alloc(10), 'b.wav']])).status, 200)
  assert.equal((await submitForm(server, [['auth_token', 'made-up'], ['responses', '[1]']])).status, 403)
  assert.equal((await request(`${server.url}/wp-login.php`)).status, 404)
  assert.match(await sendRaw(server.port, 'NO HTTP\r\n\r\n'), /^HTTP\/1\.1 400 /)
  assert.equal((await request(`${server.url}/readyz`)).status, 200)
  const expected = {
    'requests_total{route="/submit",status="200"}': 3,
    'requests_total{route="/submit",status="403"}': 1,
    'requests_total{route="(other)",status="404"}': 1,
    'request_duration_seconds_count{route="/submit"}': 4,
    'request_duration_seconds_bucket{route="/submit",le="+Inf"}': 4,
    'refusals_total{code="unauthorized_token"}': 1,
    'refusals_total{code="not_found"}': 1,
    'refusals_total{code="malformed_request"}': 1,
    'submissions_total{project="study"}': 2,
    'repeated_submissions_total{project="study"}': 1,
    'files_total{project="study"}': 3,
    'stored_bytes_total{project="study"}': 1013,
    uploads_in_progress: 0,
    tokens_alive: 1,
    ready: 1,
  }
  const found = (text: string) => Object.fromEntries(Object.keys(expected).map((sample) => [sample, valueOf(text, `reproschema_backend_${sample}`)]))
  await until('the last answers are counted', async () => isDeepStrictEqual(found(await scrape(server)), expected)).catch(() => undefined)
  const text = await scrape(server)
  assert.deepEqual(found(text), expected)
  const least = {
    'reproschema_backend_last_submission_timestamp_seconds{project="study"}': Date.now() / 1000 - 600,
    'reproschema_backend_sync_duration_seconds_count': 5,
    'reproschema_backend_free_bytes': 1,
    'reproschema_backend_reserve_bytes': 1,
    'reproschema_backend_event_loop_delay_seconds{statistic="max"}': 0,
    [`reproschema_backend_build_info{version="1.0.0",node_version="${process.version}"}`]: 1,
    'process_start_time_seconds': Date.now() / 1000 - 600,
    'process_resident_memory_bytes': 10_000_000,
    'process_cpu_seconds_total': 0.01,
  }
  for (const [sample, value] of Object.entries(least)) assert.ok((valueOf(text, sample) ?? -1) >= value, `${sample}: ${valueOf(text, sample)}`)
  assert.doesNotMatch(text, /wp-login|made-up|voice/)
  if (!needs(t, 'promtool', 'prometheus')) return
  const checked = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
  assert.deepEqual([checked.status, checked.stdout, checked.stderr], [0, '', ''])
})

test('an upload counts as in progress until it has ended, however it ends', async (t) => {
  const server = await startServer(t)
  const head = 'POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 100\r\n\r\n--b\r\n'
  const inProgress = async () => valueOf(await scrape(server), 'reproschema_backend_uploads_in_progress')
  for (const end of ['reset', 'refused'] as const) {
    const wire = await Wire.open(server.port)
    await wire.write(head)
    await until('it is counted', async () => (await inProgress()) === 1)
    if (end === 'reset') wire.socket.resetAndDestroy()
    else await wire.write('no header of a part\r\n\r\n')
    await until('it is counted no longer', async () => (await inProgress()) === 0)
    wire.socket.destroy()
  }
})

test('after a restart the metrics know when each project had its last submission', async (t) => {
  const basedir = await temporaryDirectory(t)
  const receipt = { id: '0'.repeat(32), project: 'study', token_sha256: '0'.repeat(64), fields: [], files: [], previous: null }
  await mkdir(join(basedir, 'receipts', 'study'), { recursive: true })
  const lines = ['2024-11-01T02:36:15.123456Z', '2024-11-01T02:36:16.5Z'].map((received_at) => `${JSON.stringify({ ...receipt, received_at })}\n`)
  await writeFile(join(basedir, 'receipts', 'study', '20241101T023615.000000Z-00000000.ndjson'), `${lines.join('')}{"id":"cut`)
  await writeFile(join(basedir, 'receipts', 'study', '20241102T023615.000000Z-00000000.ndjson'), lines[0] ?? '')
  const server = await startServer(t, { basedir })
  const last = 'reproschema_backend_last_submission_timestamp_seconds{project="study"}'
  await until('it has looked', async () => valueOf(await scrape(server), last) !== undefined)
  assert.equal(valueOf(await scrape(server), last), Date.parse('2024-11-01T02:36:16.5Z') / 1000)
})

test('tokens that were issued before a restart are counted', async (t) => {
  const first = await startServer(t)
  for (let count = 0; count < 3; count++) await askToken(first)
  assert.equal(valueOf(await scrape(first), 'reproschema_backend_tokens_alive'), 3)
  await first.stop()
  const second = await startServer(t, { basedir: first.basedir })
  await until('they are counted', async () => valueOf(await scrape(second), 'reproschema_backend_tokens_alive') === 3)
  await askToken(second)
  assert.equal(valueOf(await scrape(second), 'reproschema_backend_tokens_alive'), 4)
})

const asked = [
  { name: 'the admin token as bearer', headers: [`Authorization: Bearer ${ADMIN_TOKEN}`, 'X-Forwarded-For: 192.0.2.1'], status: 200 },
  { name: 'the admin token in the query', query: `?token=${ADMIN_TOKEN}`, headers: ['X-Forwarded-For: 192.0.2.1'], status: 200 },
  { name: 'another token, even on this machine', headers: ['Authorization: Bearer made-up-token'], status: 403, code: 'not_authorized_token' },
  { name: 'another token in the query', query: '?token=made-up-token', headers: [], status: 403, code: 'not_authorized_token' },
  { name: 'no token, on this machine', headers: [], status: 200 },
  { name: 'no token, on this machine by name', host: 'localhost:8000', headers: [], status: 200 },
  { name: 'no token, through a proxy', headers: ['X-Forwarded-For: 192.0.2.1'], status: 403, code: 'not_authorized' },
  { name: 'no token, through a proxy (RFC 7239)', headers: ['Forwarded: for=192.0.2.1'], status: 403, code: 'not_authorized' },
  { name: 'no token, through a proxy that says only so', headers: ['Via: 1.1 proxy'], status: 403, code: 'not_authorized' },
  { name: 'no token, under a public name', host: 'study.example.org', headers: [], status: 403, code: 'not_authorized' },
  { name: 'no token, from a page in a browser on this machine', headers: ['Origin: https://evil.example'], status: 403, code: 'not_authorized' },
]
test('the metrics are for', async (t) => {
  const server = await startServer(t)
  for (const { name, query = '', host = '127.0.0.1', headers, status, code } of asked) {
    await t.test(`${status === 200 ? '' : 'not '}${name}`, async () => {
      const lines = [`GET /metrics${query} HTTP/1.1`, `Host: ${host}`, ...headers, 'Connection: close', '', '']
      const raw = await sendRaw(server.port, lines.join('\r\n'))
      assert.ok(raw.startsWith(`HTTP/1.1 ${status} `), raw)
      if (code !== undefined) assert.ok(raw.includes(`"code":"${code}"`), raw)
    })
  }
  await t.test('not no token in HTTP/1.0, as a proxy without settings sends it', async () => {
    assert.match(await sendRaw(server.port, 'GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n'), /^HTTP\/1\.1 403 /)
  })
})

test('whoever asks for the metrics without the token is told both places for it', async (t) => {
  const server = await startServer(t)
  const raw = await sendRaw(server.port, 'GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n')
  for (const place of ['?token=TOKEN', 'Authorization: Bearer TOKEN']) assert.ok(raw.includes(place), raw)
})

test('the text format escapes what a label or a help may hold, and leaves out what has no sample', () => {
  const counter = new Counter({ name: 'a_total', help: 'a\\b\nc' }, ['x'])
  assert.equal(formatExposition([counter.read()]), '')
  counter.add({ x: '"\\\n' }, 2)
  const expected = '# HELP a_total a\\\\b\\nc\n# TYPE a_total counter\na_total{x="\\"\\\\\\n"} 2\n'
  assert.equal(formatExposition([counter.read()]), expected)
  const readings = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e21].map((value) => new Reading({ name: 'b', help: '-', merge: 'sum' }, () => value))
  assert.deepEqual(readings.map((each) => formatExposition([each.read()]).split('\n')[2]), ['b NaN', 'b +Inf', 'b -Inf', 'b 1e+21'])
})

test('a histogram counts each value in every bucket that holds it', () => {
  const histogram = new Histogram({ name: 'h_seconds', help: '-' }, [1, 2])
  for (const value of [0.5, 1, 1.5, 3]) histogram.observe(value)
  const lines = formatExposition([histogram.read()]).split('\n').slice(2, -1)
  assert.deepEqual(lines, ['h_seconds_bucket{le="1"} 2', 'h_seconds_bucket{le="2"} 3', 'h_seconds_bucket{le="+Inf"} 4', 'h_seconds_sum 6', 'h_seconds_count 4'])
})

test('what several processes measured becomes one, after a way over JSON too', () => {
  const of = (count: number, ms: number) => {
    const [counter, histogram] = [new Counter({ name: 'c_total', help: '-' }, ['p']), new Histogram({ name: 'h', help: '-' }, [1])]
    counter.add({ p: 'a' }, count)
    histogram.observe(count)
    const readings = (['max', 'min', 'sum'] as const).map((merge) => new Reading({ name: merge, help: '-', merge }, () => ms))
    return [counter, histogram, ...readings].map((metric) => metric.read())
  }
  const other = new Counter({ name: 'c_total', help: '-' }, ['p'])
  other.add({ p: 'b' })
  const merged = mergeFamilies(JSON.parse(JSON.stringify([of(1, 5), of(2, 7), [other.read()]])))
  const lines = formatExposition(merged).split('\n').filter((line) => !line.startsWith('#'))
  const histogram = ['h_bucket{le="1"} 1', 'h_bucket{le="+Inf"} 2', 'h_sum 3', 'h_count 2']
  assert.deepEqual(lines, ['c_total{p="a"} 3', 'c_total{p="b"} 1', ...histogram, 'max 7', 'min 5', 'sum 12', ''])
})

test('projects beyond a thousand are counted together', () => {
  const zero = () => 0
  const measures = new Measures({ version: '', nodeVersion: '', residentBytes: zero, cpuSeconds: zero, tokensAlive: zero, room: () => undefined, isReady: () => undefined })
  for (let count = 0; count < 1500; count++) measures.stored({ project: `p${count}`, files: 1, bytes: 1 })
  const text = formatExposition(measures.read())
  measures.close()
  assert.equal(text.match(/^reproschema_backend_submissions_total\{/gm)?.length, 1001)
  assert.match(text, /^reproschema_backend_submissions_total\{project="\(other\)"\} 500$/m)
  assert.doesNotMatch(text, /free_bytes|backend_ready/)
})

test('expired tokens are not alive', () => {
  const expiries = new Expiries()
  for (const ms of [60_000, 120_000, 120_000, 1.2e9]) expiries.add(ms)
  assert.deepEqual([0, 59_999, 60_000, 120_000, 1.2e9].map((nowMs) => expiries.countAlive(nowMs)), [4, 4, 3, 1, 0])
})
