import assert from 'node:assert/strict'
import { mkdir, readFile, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeProgram, writeReceipts } from './alerted.ts'
import { consoleOf, countOf, startFleet } from './fleet.ts'
import { askToken, request, submitForm, temporaryDirectory, until } from './harness.ts'

const HOUR = 3_600_000
const NO_ROOM = { REPROSCHEMA_BACKEND_RESERVE_BYTES: '1000000000000000' }

test('submissions that fail at several workers are one alert in the hour', async (t) => {
  const { path, told } = await makeProgram(t)
  const server = await startFleet(t, { workers: 3, env: { REPROSCHEMA_BACKEND_ALERT: path } })
  const authToken = await askToken(server)
  await mkdir(join(server.basedir, 'uploads', 'responses'), { recursive: true })
  await symlink('/nowhere', join(server.basedir, 'uploads', 'responses', 'study'))
  for (let count = 0; count < 6; count++) {
    const refused = await submitForm(server, [['auth_token', authToken], ['responses', '[1]']], { connection: 'close' })
    assert.equal(refused.json['code'], 'unusable_project')
  }
  const failed = async () => countOf(await readFile(join(server.basedir, 'logs', 'error.log'), 'utf8').catch(() => ''), / ERROR failed /g)
  await until('all are logged', async () => (await failed()) === 6)
  await until('it is sent', async () => / INFO alert sent kind=submission_failed count=1$/m.test(await consoleOf(server.basedir)))
  assert.match((await request(`${server.url}/metrics`)).text, /^reproschema_backend_alerts_total\{kind="submission_failed",outcome="sent"\} 1$/m)
  assert.equal(await server.stop(), 0)
  assert.equal(countOf(await consoleOf(server.basedir), / INFO alert sent /g), 1)
  assert.deepEqual((await told()).map(({ json }) => json['kind']), ['submission_failed'])
})

test('low space, a silence and an incomplete upload are each told once, however many workers there are', async (t) => {
  const { path, told } = await makeProgram(t)
  const basedir = await temporaryDirectory(t)
  const slice = (number: number) => ({ at: Date.now() - 5.5 * HOUR, name: `11111111-0000-4000-8000-000000000000-x.zip.00${number}`, bytes: 100 })
  await writeReceipts(basedir, [slice(0), slice(2)])
  const env = { REPROSCHEMA_BACKEND_ALERT: path, REPROSCHEMA_BACKEND_SILENCE_HOURS: '5' }
  const server = await startFleet(t, { workers: 3, basedir, env: { ...env, ...NO_ROOM } })
  await until('all are sent', async () => countOf(await consoleOf(basedir), / INFO alert sent /g) >= 3)
  assert.equal(await server.stop(), 0)
  const kinds = (await told()).map(({ json }) => json['kind']).toSorted()
  assert.deepEqual(kinds, ['incomplete_upload', 'low_space', 'silence'])
})

test('a submission to a worker ends a silence', async (t) => {
  const { path, told } = await makeProgram(t)
  const basedir = await temporaryDirectory(t)
  await writeReceipts(basedir, [{ at: Date.now() - 5.5 * HOUR, name: 'a.wav', bytes: 1 }])
  const env = { REPROSCHEMA_BACKEND_ALERT: path, REPROSCHEMA_BACKEND_SILENCE_HOURS: '5' }
  const server = await startFleet(t, { basedir, env })
  await until('the silence is told', async () => (await told()).length === 1)
  assert.equal((await submitForm(server, [['auth_token', await askToken(server)], ['responses', '[1]']])).status, 200)
  assert.equal(await server.stop(), 0)
  const next = await startFleet(t, { basedir, env: { ...env, ...NO_ROOM } })
  await until('something else is told', async () => (await told()).some(({ json }) => json['kind'] === 'low_space'))
  assert.equal(await next.stop(), 0)
  assert.deepEqual((await told()).map(({ json }) => json['kind']).toSorted(), ['low_space', 'silence'])
})
