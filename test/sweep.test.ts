import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Grants } from '../lib/access/grants.ts'
import { SteadyClock } from '../lib/access/steady-clock.ts'
import { Directories } from '../lib/directories.ts'
import { ADMIN_TOKEN, request, startServer, temporaryDirectory, until } from './harness.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const nowMs = Date.parse('2024-11-04T08:00:00Z')

const looks = [
  { name: 'goes as time does', jumps: [0, 0, 0], expected: [24, 48, 72] },
  { name: 'is set by minutes', jumps: [0, 0.5, 0.4], expected: [24, 48, 72] },
  { name: 'is set forward by weeks', jumps: [0, 900, 0, 0], expected: [24, 0, 24, 48] },
  { name: 'is set back by weeks', jumps: [-900, 0, 0], expected: [0, 24, 48] },
  { name: 'is wrong for a day', jumps: [900, -900, 0], expected: [0, 0, 24] },
]

for (const { name, jumps, expected } of looks) {
  test(`a clock that ${name} is believed for as long as it was steady`, () => {
    const clock = new SteadyClock({ nowMs, elapsedMs: 5 })
    let [wall, elapsed] = [nowMs, 5]
    const steady = jumps.map((hours) => {
      elapsed += DAY_MS
      wall += DAY_MS + hours * HOUR_MS
      return clock.look({ nowMs: wall, elapsedMs: elapsed }) / HOUR_MS
    })
    assert.deepEqual(steady, expected)
  })
}

test('tokens that expired a week ago go when the clock has been steady for three days, not before', async (t) => {
  const directory = join(await temporaryDirectory(t), 'tokens')
  const grants = new Grants(directory, new Directories())
  const issue = async (minutes: number) => (await grants.issue({ project: 'study', participant: undefined, minutes, nowMs })).grant.tokenSha256
  const [short, long] = [await issue(60), await issue(60 * 24 * 30)]
  const left = async () => (await readdir(directory)).map((name) => name.slice(0, 64)).toSorted()
  const rows = [
    { afterMs: 38 * DAY_MS, steadyMs: 0, removed: 0, kept: [short, long] },
    { afterMs: 38 * DAY_MS, steadyMs: 3 * DAY_MS - 1, removed: 0, kept: [short, long] },
    { afterMs: 7 * DAY_MS, steadyMs: 3 * DAY_MS, removed: 0, kept: [short, long] },
    { afterMs: 8 * DAY_MS, steadyMs: 3 * DAY_MS, removed: 1, kept: [long] },
  ]
  for (const { afterMs, steadyMs, removed, kept } of rows) {
    assert.equal(await grants.sweep(nowMs + afterMs, steadyMs), removed)
    assert.deepEqual(await left(), kept.toSorted())
  }
  assert.equal(grants.countAlive(nowMs + 8 * DAY_MS), 1)
})

test('a server that begins removes no token, however long ago its clock says that it expired', async (t) => {
  const basedir = await temporaryDirectory(t)
  const grants = new Grants(join(basedir, 'tokens'), new Directories())
  const issue = async (issuedAtMs: number) => (await grants.issue({ project: 'study', participant: undefined, minutes: 60, nowMs: issuedAtMs })).authToken
  const expired = await issue(nowMs)
  await issue(Date.now())
  const server = await startServer(t, { basedir })
  const readMetrics = () => request(`${server.url}/metrics`, { headers: { Authorization: `Bearer ${ADMIN_TOKEN}` } })
  await until('it has looked at its tokens', async () => /^reproschema_backend_tokens_alive 1$/m.test((await readMetrics()).text))
  const body = new FormData()
  body.append('responses', '{}')
  body.append('auth_token', expired)
  assert.equal((await request(`${server.url}/submit`, { method: 'POST', body })).json['code'], 'token_expired')
})
