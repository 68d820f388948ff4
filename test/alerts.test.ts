import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { runAlertCommand } from '../lib/alerts/alert-command.ts'
import { postAlert } from '../lib/alerts/alert-post.ts'
import type { Alert, Notice } from '../lib/alerts/alert.ts'
import { Alerts } from '../lib/alerts/alerts.ts'
import { Condition } from '../lib/alerts/condition.ts'
import { SpaceForecast } from '../lib/alerts/space-forecast.ts'
import { studyTimeBetween } from '../lib/alerts/study-hours.ts'
import { findLastSubmission } from '../lib/dataset/last-submission.ts'
import { findIncompleteUploads } from '../lib/dataset/recent-uploads.ts'
import { Watch } from '../lib/alerts/watch.ts'
import { Measures } from '../lib/metrics/measures.ts'
import { Layout } from '../lib/store/layout.ts'
import { makeProgram, writeReceipts } from './alerted.ts'
import { after, askToken, needs, request, ROOT, startServer, submitForm, temporaryDirectory, until } from './harness.ts'
import { writeZip } from './zip-writer.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR

const logOf = (server: { basedir: string }, name: string) => readFile(join(server.basedir, 'logs', name), 'utf8').catch(() => '')

test('a submission that fails through our fault is told at once, the next ones are held back, and no secret goes along', async (t) => {
  const { path, told } = await makeProgram(t)
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_ALERT: path, REPROSCHEMA_BACKEND_LOG_BYTES: '5000000' } })
  const authToken = await askToken(server, { participant_id: 'p-0042' })
  await mkdir(join(server.basedir, 'uploads', 'responses'), { recursive: true })
  await symlink('/nowhere', join(server.basedir, 'uploads', 'responses', 'study'))
  const refused = await submitForm(server, [['auth_token', authToken], ['file', Buffer.from('x'), 'my-name.wav']])
  assert.equal(refused.json['code'], 'unusable_project')
  await until('it is told', async () => (await told()).length === 1)
  const [first] = await told()
  assert.deepEqual({ ...first?.json, time: '', host: '', message: '' }, {
    kind: 'submission_failed', message: '', count: 1, time: '', host: '', code: 'unusable_project', request_id: refused.json['request_id'],
  })
  assert.ok(first?.environment.includes(`ALERT=${String(first.json['message'])}\n`), first?.environment)
  assert.doesNotMatch(first?.environment ?? '', /REPROSCHEMA|0123456789abcdef/)
  assert.doesNotMatch(JSON.stringify(first), /p-0042|my-name/)
  for (let count = 0; count < 3; count++) await submitForm(server, [['auth_token', authToken], ['file', Buffer.from('x'), 'a.wav']])
  await until('all are logged', async () => (await logOf(server, 'error.log')).split(' ERROR failed ').length === 5)
  assert.equal((await told()).length, 1)
  assert.match((await request(`${server.url}/metrics`)).text, /^reproschema_backend_alerts_total\{kind="submission_failed",outcome="sent"\} 1$/m)
  assert.equal(await server.stop(), 0)
  assert.match(await logOf(server, 'console.log'), / INFO alert sent kind=submission_failed count=1$/m)
})

test('free space below the reserve is told', async (t) => {
  const { path, told } = await makeProgram(t)
  await startServer(t, { env: { REPROSCHEMA_BACKEND_ALERT: path, REPROSCHEMA_BACKEND_RESERVE_BYTES: '1000000000000000' } })
  await until('it is told', async () => (await told()).length === 1)
  const json = (await told())[0]?.json ?? {}
  assert.deepEqual([json['kind'], json['reserve_bytes']], ['low_space', 1_000_000_000_000_000])
  assert.match(String(json['message']), /^Submissions are refused: \d+ bytes are free, /)
})

test('a silence is told, also after a restart; a submission ends it', async (t) => {
  const { path, told } = await makeProgram(t)
  const basedir = await temporaryDirectory(t)
  await writeReceipts(basedir, [{ at: Date.now() - 5.5 * HOUR, name: 'a.wav', bytes: 1 }])
  const env = { REPROSCHEMA_BACKEND_ALERT: path, REPROSCHEMA_BACKEND_SILENCE_HOURS: '5' }
  const server = await startServer(t, { basedir, env })
  await until('it is told', async () => (await told()).length === 1)
  const json = (await told())[0]?.json ?? {}
  assert.deepEqual([json['kind'], json['hours'], json['message']], ['silence', 5, 'No submission has come for 5 hours of the study.'])
  assert.equal((await submitForm(server, [['auth_token', await askToken(server)], ['responses', '[1]']])).status, 200)
  await server.stop()
  const second = await startServer(t, { basedir, env: { ...env, REPROSCHEMA_BACKEND_RESERVE_BYTES: '1000000000000000' } })
  await until('something else is told', async () => (await told()).some((each) => each.json['kind'] === 'low_space'))
  await second.stop()
  assert.equal((await told()).length, 2)
})

test('uploads that have been incomplete for an hour are told, and no others', async (t) => {
  const { path, told } = await makeProgram(t)
  const basedir = await temporaryDirectory(t)
  const uuid = (digit: number) => `${String(digit).repeat(8)}-0000-4000-8000-000000000000`
  const slice = (digit: number, number: number, hoursAgo: number, bytes = 100) => ({
    at: Date.now() - hoursAgo * HOUR, name: `${uuid(digit)}-p-0042.zip.00${number}`, bytes,
  })
  const whole = writeZip([{ name: 'a.txt', content: Buffer.from('a') }])
  const receipts = [
    slice(1, 0, 2), slice(1, 2, 2, 50), // a gap
    slice(2, 0, 2), slice(2, 1, 2, 50), // whole: the last one is smaller
    slice(3, 0, 2), slice(3, 1, 2), // cut: both are of one size, and the end is not there
    slice(4, 0, 0.5), slice(4, 2, 0.5), // not for an hour yet
    slice(5, 1, 23.5), // its first slice may be older than a day
    slice(6, 0, 2, whole.length), // whole, in one slice
    { at: Date.now() - 2 * HOUR, name: 'voice.wav', bytes: 1 },
  ]
  await writeReceipts(basedir, receipts)
  const responses = join(basedir, 'uploads', 'responses', 'study')
  await mkdir(responses, { recursive: true })
  for (const [index, { name, bytes }] of receipts.entries()) {
    await writeFile(join(responses, `${index}-${name}`), name.startsWith('6') ? whole : Buffer.alloc(bytes))
  }
  const server = await startServer(t, { basedir, env: { REPROSCHEMA_BACKEND_ALERT: path } })
  await until('it is told', async () => (await told()).length === 1)
  const json = (await told())[0]?.json ?? {}
  assert.deepEqual([json['kind'], json['incomplete'], json['projects'], json['uploads']], ['incomplete_upload', 2, ['study'], [uuid(1), uuid(3)]])
  assert.doesNotMatch(JSON.stringify(json), /p-0042/)
  assert.equal(await server.stop(), 0)
})

const failures = [
  { name: 'fails', body: 'echo the mail server is gone >&2; exit 3', says: /the command ended with 3: the mail server is gone/ },
  { name: 'is killed', body: 'kill -TERM $$', says: /the command ended with SIGTERM/ },
]
for (const { name, body, says } of failures) {
  test(`an alert whose program ${name} is logged, and delays nothing`, async (t) => {
    const { path } = await makeProgram(t, body)
    const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_ALERT: path, REPROSCHEMA_BACKEND_RESERVE_BYTES: '1000000000000000' } })
    await until('it is logged', async () => says.test(await logOf(server, 'error.log')))
    assert.match(await logOf(server, 'error.log'), /^\S+ ERROR alert failed kind=low_space count=1 stack=/m)
    assert.equal(await server.stop(), 0)
  })
}

test('a program that is gone when it is needed is logged', async (t) => {
  const { path } = await makeProgram(t)
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_ALERT: path } })
  await rm(path)
  const authToken = await askToken(server)
  await mkdir(join(server.basedir, 'uploads', 'responses'), { recursive: true })
  await symlink('/nowhere', join(server.basedir, 'uploads', 'responses', 'study'))
  await submitForm(server, [['auth_token', authToken], ['responses', '[1]']])
  await until('it is logged', async () => /alert failed .*ENOENT/.test(await logOf(server, 'error.log')))
  assert.equal(await server.stop(), 0)
})

// As twenty workers leave them, and those who withdraw.
test('what arrived last is found in every receipts file that was written to lately, whatever its name', async (t) => {
  const layout = new Layout(await temporaryDirectory(t))
  const directory = layout.receiptsOf('study')
  await mkdir(directory, { recursive: true })
  const now = Date.now()
  const slice = (uuid: number, number: number, hours: number) => {
    const name = `0f6c64c2-61b8-4b2c-a9e5-${String(uuid).padStart(12, '0')}-u.zip.00${number}`
    const file = { field: 'file', name, stored_as: name, bytes: number === 2 ? 5 : 10, sha256: 'a'.repeat(64) }
    const head = { id: `${uuid}-${number}`, received_at: new Date(now - hours * HOUR).toISOString(), project: 'study' }
    return `${JSON.stringify({ ...head, token_sha256: 'b'.repeat(64), fields: [], files: [file], previous: null })}\n`
  }
  const files = Array.from({ length: 20 }, (_, worker) => slice(100 + worker, 0, 5))
  files[0] += `${slice(1, 1, 3)}${slice(2, 0, 3)}${slice(2, 2, 3)}${slice(3, 0, 0.1)}`
  files[18] += slice(1, 0, 3)
  files[19] += slice(1, 2, 3)
  for (const [worker, text] of files.entries()) await writeFile(join(directory, `20240101T0000${10 + worker}.000000Z-aaaaaaaa.ndjson`), text)
  for (let month = 10; month < 30; month++) await writeFile(join(directory, `202402${month}T000000.000000Z-bbbbbbbb-withdrawal.ndjson`), '{}\n')
  const told = (await findIncompleteUploads(layout, 'study', now)).map((uuid) => Number(uuid.slice(-12)))
  assert.deepEqual(told.filter((uuid) => uuid < 100), [2])
  assert.equal(await findLastSubmission(layout, 'study'), now - 0.1 * HOUR)
})

function killGroup(pid: number): void {
  process.kill(-pid, 'SIGKILL')
}

test('a program that hangs is killed, with what it started', async (t) => {
  const directory = await temporaryDirectory(t)
  const script = `trap '' TERM; sleep 1000 & echo "$$ $!" >${directory}/part; mv ${directory}/part ${directory}/pids; wait`
  const run = runAlertCommand('{}', { command: ['sh', '-c', script], environment: { PATH: process.env['PATH'] ?? '' }, limitMs: 5000, killGroup })
  const failed = assert.rejects(run, /had not ended after 5 seconds/)
  await failed
  const pids = (await readFile(join(directory, 'pids'), 'utf8')).trim().split(' ').map(Number)
  for (const pid of pids) await until(`${pid} has ended`, async () => /^State:\s+Z|^$/m.test(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')))
})

test('a program need not read its input, nor close what it holds open', async () => {
  const environment = { PATH: process.env['PATH'] ?? '' }
  await runAlertCommand('x'.repeat(10_000_000), { command: ['true'], environment, limitMs: 60_000, killGroup })
  await runAlertCommand('', { command: ['sh', '-c', 'sleep 30 & exit 0'], environment, limitMs: 20_000, killGroup })
})

test('where the system has no descriptors left a program that cannot be started is one failure, and no more', (t) => {
  if (!needs(t, 'prlimit', 'util-linux')) return
  const script = `const { openSync } = require('node:fs')
    const { runAlertCommand } = require(${JSON.stringify(join(ROOT, 'dist/lib/alerts/alert-command.js'))})
    const run = () => runAlertCommand('', { command: ['true'], environment: {}, limitMs: 5000, killGroup: () => undefined })
    run().catch(() => undefined).then(() => {
      try { for (;;) openSync('/dev/null') } catch {}
      return run()
    }).catch(({ code }) => process._rawDebug(code))`
  const { status, stderr } = spawnSync('prlimit', ['--nofile=64', process.execPath, '-e', script], { encoding: 'utf8' })
  assert.deepEqual([status, stderr], [0, 'EMFILE\n'])
})

async function listen(t: TestContext, answer: (request: IncomingMessage, response: ServerResponse, body: string) => void): Promise<string> {
  const server = createServer((incoming, response) => {
    let body = ''
    incoming.setEncoding('utf8').on('data', (text: string) => (body += text))
    incoming.on('end', () => answer(incoming, response, body))
  }).listen(0, '127.0.0.1')
  after(t, () => {
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('an address gets a POST of JSON', async (t) => {
  const bodies: string[] = []
  const url = await listen(t, (incoming, response, body) => {
    bodies.push(`${incoming.method} ${incoming.url} ${incoming.headers['content-type']} ${body}`)
    response.end()
  })
  const env = { REPROSCHEMA_BACKEND_ALERT: `${url}/hook?secret=1`, REPROSCHEMA_BACKEND_RESERVE_BYTES: '1000000000000000' }
  const server = await startServer(t, { env })
  await until('it is told', () => bodies.length === 1)
  const [, json = ''] = /^POST \/hook\?secret=1 application\/json (.*)$/.exec(bodies[0] ?? '') ?? []
  assert.equal((JSON.parse(json) as Record<string, unknown>)['kind'], 'low_space')
  assert.equal(await server.stop(), 0)
})

const logins = [
  { name: 'a user and a password', login: 'lab:s3cr%3Aet%40', expected: 'lab:s3cr:et@' },
  { name: 'a token alone', login: 's3cret', expected: 's3cret:' },
]
for (const { name, login, expected } of logins) {
  test(`${name} in the address are sent as it wants them, and never logged`, async (t) => {
    const headers: (string | undefined)[] = []
    const url = await listen(t, (incoming, response) => {
      headers.push(incoming.headers.authorization)
      response.writeHead(500).end()
    })
    const env = { REPROSCHEMA_BACKEND_ALERT: `${url.replace('//', `//${login}@`)}/hook`, REPROSCHEMA_BACKEND_RESERVE_BYTES: '1000000000000000' }
    const server = await startServer(t, { env })
    await until('it is logged', async () => (await logOf(server, 'error.log')).includes('alert failed'))
    assert.equal(headers[0], `Basic ${Buffer.from(expected).toString('base64')}`)
    assert.equal(await server.stop(), 0)
    for (const log of ['error.log', 'console.log']) assert.doesNotMatch(await logOf(server, log), /s3cr/)
  })
}

test('an address that answers with an error, with another address, or not at all is a failure, in bounded time', async (t) => {
  const url = await listen(t, (incoming, response) => {
    if (incoming.url === '/error') response.writeHead(500).end()
    if (incoming.url === '/redirect') response.writeHead(302, { Location: 'http://127.0.0.1:1/' }).end()
  })
  await assert.rejects(postAlert('{}', { url: `${url}/error`, authorization: undefined, limitMs: 60_000 }), /answered 500/)
  await assert.rejects(postAlert('{}', { url: `${url}/redirect`, authorization: undefined, limitMs: 60_000 }))
  await assert.rejects(postAlert('{}', { url: `${url}/silence`, authorization: undefined, limitMs: 500 }), /timeout/)
})

test('each kind is sent once in a while; those held back are told together, with their count', async () => {
  const sent: Notice[] = []
  const alerts = new Alerts({ send: async (notice) => void sent.push(notice), pauseMs: 300, retryMs: 300, onOutcome: () => undefined })
  const alert = (kind: Alert['kind'], message: string): Alert => ({ kind, message, facts: {} })
  for (const message of ['a', 'b', 'c']) alerts.raise(alert('submission_failed', message))
  alerts.raise(alert('silence', 'd'))
  const seen = () => sent.map(({ kind, message, count }) => `${kind} ${message} ${count}`)
  assert.deepEqual(seen(), ['submission_failed a 1', 'silence d 1'])
  await until('the others are told', () => sent.length === 3)
  assert.equal(seen()[2], 'submission_failed c 2')
  alerts.close()
  alerts.raise(alert('low_space', 'e'))
  assert.equal(sent.length, 3, 'nothing is sent after the end')
})

test('an alert that fails is sent again until it is sent, with those that came meanwhile', async () => {
  const outcomes: string[] = []
  let isBroken = true
  const send = async () => {
    if (isBroken) throw new Error('the mail server is gone')
  }
  const onOutcome = ({ message, count }: Notice, error: unknown) => outcomes.push(`${message} ${count} ${error === undefined ? 'sent' : 'failed'}`)
  const alerts = new Alerts({ send, pauseMs: HOUR, retryMs: 10, onOutcome })
  const told: string[] = []
  const raise = (message: string) => alerts.raise({ kind: 'silence', message, facts: {} }, () => told.push(message))
  raise('a')
  await until('it has failed again', () => outcomes.length >= 2)
  raise('b')
  isBroken = false
  await until('it is sent', () => told.length > 0)
  assert.deepEqual([new Set(outcomes), told], [new Set(['a 1 failed', 'b 2 sent']), ['b']])
  alerts.close()
})

test('an incomplete upload is told until an alert of it was sent, and then no more', async (t) => {
  const basedir = await temporaryDirectory(t)
  const slice = (digit: number, number: number) => ({ at: Date.now() - 2 * HOUR, name: `${digit}1111111-0000-4000-8000-000000000000-x.zip.00${number}`, bytes: 100 })
  await writeReceipts(basedir, [slice(1, 0), slice(1, 2)])
  const sent: unknown[] = []
  let isBroken = true
  let failures = 0
  const send = async ({ facts, count }: Notice) => {
    if (isBroken) throw new Error('the mail server is gone')
    sent.push([facts['uploads'], count])
  }
  const alerts = new Alerts({ send, pauseMs: 10, retryMs: 10, onOutcome: (_, error) => (failures += Number(error !== undefined)) })
  const room = () => undefined
  const measures = new Measures({ version: '', nodeVersion: '', residentBytes: () => 0, cpuSeconds: () => 0, tokensAlive: () => 0, room, isReady: () => undefined })
  const watch = new Watch({ alerts, layout: new Layout(basedir), measures, room, silenceHours: undefined, studyHours: { from: 0, to: 24 } })
  await watch.lookAtUploads(Date.now())
  await until('it has failed again', () => failures >= 2)
  await writeReceipts(basedir, [slice(1, 0), slice(1, 2), slice(2, 0), slice(2, 2)])
  await watch.lookAtUploads(Date.now())
  isBroken = false
  await until('both are told', () => sent.length === 1)
  await watch.lookAtUploads(Date.now())
  alerts.raise({ kind: 'incomplete_upload', message: '', facts: { uploads: ['another'] } })
  await until('another is told', () => sent.length === 2)
  assert.deepEqual(sent, [[['11111111-0000-4000-8000-000000000000', '21111111-0000-4000-8000-000000000000'], 2], [['another'], 1]])
  alerts.close()
  measures.close()
})

test('what lasts is told when it begins, and again after a while', () => {
  const condition = new Condition(10)
  const rows = [[false, 0, false], [true, 1, true], [true, 10, false], [true, 11, true], [false, 12, false], [true, 13, true]] as const
  for (const [holds, nowMs, isDue] of rows) assert.equal(condition.isDue(holds, nowMs), isDue, String(nowMs))
})

const at = (text: string) => new Date(text).getTime() // local time
const spans = [
  { name: 'a day has 24 hours', from: '2024-11-04T10:00', to: '2024-11-05T10:00', hours: { from: 0, to: 24 }, expected: 24 },
  { name: 'a night does not count', from: '2024-11-04T19:30', to: '2024-11-05T09:30', hours: { from: 8, to: 20 }, expected: 2 },
  { name: 'a night may be what counts', from: '2024-11-04T12:00', to: '2024-11-05T12:00', hours: { from: 20, to: 4 }, expected: 8 },
  { name: 'the hours of a night count after midnight', from: '2024-11-05T01:00', to: '2024-11-05T03:00', hours: { from: 20, to: 4 }, expected: 2 },
  { name: 'the hours until midnight', from: '2024-11-04T22:00', to: '2024-11-05T02:00', hours: { from: 20, to: 0 }, expected: 2 },
  { name: 'nothing is before its time', from: '2024-11-04T01:00', to: '2024-11-04T07:00', hours: { from: 8, to: 20 }, expected: 0 },
  { name: 'weeks', from: '2024-11-04T00:00', to: '2024-11-18T00:00', hours: { from: 8, to: 20 }, expected: 168 },
  { name: 'a clock that was set back', from: '2024-11-04T12:00', to: '2024-11-04T10:00', hours: { from: 8, to: 20 }, expected: 0 },
]
for (const { name, from, to, hours, expected } of spans) {
  test(`the time of a study: ${name}`, () => assert.equal(studyTimeBetween(at(from), at(to), hours) / HOUR, expected))
}

const courses = [
  { name: 'a minute is too little to know', samples: [[100, 0], [50, HOUR / 60]], expected: undefined },
  { name: 'ten a day leave four days for 40', samples: [[60, 0], [55, DAY / 2], [50, DAY]], reserve: 10, expected: 4 * DAY },
  { name: 'what grows is never full', samples: [[50, 0], [60, DAY]], expected: undefined },
  { name: 'what stays is never full', samples: [[50, 0], [50, DAY]], expected: undefined },
  { name: 'what is below the reserve has reached it', samples: [[50, 0], [5, DAY]], reserve: 10, expected: 0 },
  { name: 'older than two days does not count', samples: [[1000, 0], [60, DAY], [50, 2 * DAY], [40, 3 * DAY]], expected: 4 * DAY },
] as const
for (const { name, samples, expected, ...rest } of courses) {
  test(`the forecast of free space: ${name}`, () => {
    const forecast = new SpaceForecast()
    for (const [freeBytes, atMs] of samples) forecast.add(freeBytes, atMs)
    assert.equal(forecast.reaches('reserve' in rest ? rest.reserve : 0), expected)
  })
}
