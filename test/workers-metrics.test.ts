import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { Counter } from '../lib/metrics/counter.ts'
import type { Family } from '../lib/metrics/family.ts'
import { Reading } from '../lib/metrics/reading.ts'
import { takeCensus } from '../lib/workers/census.ts'
import { Tally } from '../lib/workers/tally.ts'
import { askBeside, consoleOf, countOf, startFleet, workersOf } from './fleet.ts'
import { askToken, needs, request, submitForm, until, type Running } from './harness.ts'

const NEW = { connection: 'close' } // each connection goes to another worker

async function scrape(server: Running): Promise<string> {
  const { status, text } = await request(`${server.url}/metrics`, { headers: NEW })
  assert.equal(status, 200, text)
  return text
}

/** The value of a sample, by its name and labels as they are written; undefined where there is none. */
function valueOf(text: string, sample: string): number | undefined {
  const line = text.split('\n').find((each) => each.startsWith(`reproschema_backend_${sample} `))
  return line === undefined ? undefined : Number(line.split(' ').at(-1))
}

const STORED = 'submissions_total{project="study"}'
const TIMED = 'request_duration_seconds_count{route="/submit"}'
const ANSWERED = 'workers_answered'

async function submitMany(server: Running, count: number): Promise<void> {
  const authToken = await askToken(server)
  for (let sent = 0; sent < count; sent++) {
    assert.equal((await submitForm(server, [['auth_token', authToken], ['responses', `[${sent}]`]], NEW)).status, 200)
  }
}

test('whichever worker is asked, the metrics are those of all', async (t) => {
  const server = await startFleet(t, { workers: 3 })
  await submitMany(server, 6)
  await until('all are counted', async () => valueOf(await scrape(server), TIMED) === 6)
  for (let count = 0; count < 6; count++) {
    const text = await scrape(server)
    assert.deepEqual([STORED, TIMED, 'workers'].map((sample) => valueOf(text, sample)), [6, 6, 3], text)
  }
  await until('all workers answer', async () => valueOf(await scrape(server), ANSWERED) === 3)
  const text = await scrape(server)
  const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1])
  assert.deepEqual(names, [...new Set(names)])
  assert.equal(await server.stop(), 0)
  if (!needs(t, 'promtool', 'prometheus')) return
  const checked = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
  assert.deepEqual([checked.status, checked.stdout, checked.stderr], [0, '', ''])
})

test('no counter goes backwards when workers end and are replaced', async (t) => {
  const server = await startFleet(t)
  await submitMany(server, 4)
  await until('all are counted by all', async () => {
    const text = await scrape(server)
    return valueOf(text, TIMED) === 4 && valueOf(text, ANSWERED) === 2
  })
  const count = async (line: RegExp) => countOf(await consoleOf(server.basedir), line)
  const look = async () => {
    const text = await scrape(server)
    assert.deepEqual([STORED, TIMED].map((sample) => valueOf(text, sample)), [4, 4])
  }
  for (const [index, pid] of (await workersOf(server)).entries()) {
    process.kill(pid, 'SIGKILL')
    await until('its end is seen', async () => (await count(/ ERROR worker ended /g)) === index + 1) // before that it is handed a connection
    await look()
    await until('it is replaced', () => look().then(async () => (await count(/worker replaced/g)) === index + 1))
    await look()
  }
  await submitMany(server, 2)
  await until('those are counted on top', async () => valueOf(await scrape(server), TIMED) === 6)
  assert.equal(await server.stop(), 0)
})

test('a worker that stands still is left out of what is measured, not of what was counted; submissions go on', async (t) => {
  const server = await startFleet(t)
  await submitMany(server, 4)
  await until('all are counted by all', async () => {
    const text = await scrape(server)
    return valueOf(text, TIMED) === 4 && valueOf(text, ANSWERED) === 2
  })
  const [still = 0] = await workersOf(server)
  process.kill(still, 'SIGSTOP')
  await until('one has answered', async () => {
    const { status, text } = await askBeside(server, '/metrics')
    assert.deepEqual([status, valueOf(text, STORED), valueOf(text, 'workers')], [200, 4, 2])
    return valueOf(text, ANSWERED) === 1
  })
  assert.equal((await askBeside(server, '/livez')).status, 200)
  process.kill(still, 'SIGCONT')
  await until('both answer', async () => valueOf(await scrape(server), ANSWERED) === 2)
  assert.equal(await server.stop(), 0)
})

function measured(count: number): Family[] {
  const counter = new Counter({ name: 'reproschema_backend_count', help: '-' })
  counter.add({}, count)
  const reading = new Reading({ name: 'reproschema_backend_reading', help: '-', merge: 'sum' }, () => count)
  return [counter, reading].map((metric) => metric.read())
}

async function numbersOf(tallies: readonly Tally[]): Promise<(number | undefined)[]> {
  const families = await takeCensus(tallies, () => [])
  return ['count', 'reading', ANSWERED].map((name) => families.find((family) => family.name === `reproschema_backend_${name}`)?.samples[0]?.value)
}

test('the numbers of a worker: those it tells, what it told last where it does not answer, and what it had counted when it ended', async () => {
  let answer: (question: number) => void = (question) => tally.take(question, measured(5))
  const tally: Tally = new Tally((question) => answer(question))
  assert.deepEqual(await numbersOf([tally]), [undefined, undefined, 0])
  tally.begin()
  assert.deepEqual(await numbersOf([tally]), [5, 5, 1])
  const late: number[] = []
  answer = (question) => late.push(question)
  assert.deepEqual(await numbersOf([tally]), [5, undefined, 0])
  tally.take(late[0] ?? 0, measured(6))
  assert.deepEqual(await numbersOf([tally]), [6, undefined, 0])
  answer = () => tally.end()
  assert.deepEqual(await numbersOf([tally]), [6, undefined, 0])
  tally.take(1, measured(100)) // of one that has ended
  tally.begin()
  answer = (question) => tally.take(question, measured(2))
  assert.deepEqual(await numbersOf([tally]), [8, 2, 1])
})
