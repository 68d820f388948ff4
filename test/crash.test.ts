import assert from 'node:assert/strict'
import { cp, readdir, readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { checkKept, checkReceipts, listProject, listStaged } from './evidence.ts'
import {
  askToken,
  needs,
  readAll,
  sleep,
  startServer,
  submitForm,
  temporaryDirectory,
  until,
  type Answer,
  type Entry,
} from './harness.ts'
import { sha256Of } from './sha256.ts'
import { askRecorded, numberOf, startTraced, type Call } from './trace.ts'

const THREE: readonly Entry[] = [
  ['f', Buffer.from('one'), 'a.wav'],
  ['f', Buffer.from('two'), 'b.wav'],
  ['responses', '{"a":1}'],
]

test('what was acknowledged under load is whole after kill -9 and a restart', async (t) => {
  const basedir = await temporaryDirectory(t)
  const seed = Math.floor(Math.random() * 2 ** 31)
  t.diagnostic(`seed ${seed}`)
  const random = randomFrom(seed)
  const sent = new Set<string>()
  const kept: Answer[] = []
  const authToken = await askToken(await startServer(t, { basedir }))
  for (let round = 0; round < 6; round++) {
    const server = await startServer(t, { basedir })
    assert.deepEqual(await listStaged(basedir), [], 'what a dead process staged is gone before the next one listens')
    const ongoing = Array.from({ length: 12 }, async (_, worker) => {
      for (let count = 0; ; count++) {
        const entries = makeEntries(`${round}.${worker}.${count}`, random)
        for (const [, content] of entries) sent.add(sha256Of(content))
        const answer = await submitForm(server, [...entries, ['auth_token', authToken]])
        assert.equal(answer.status, 200)
        kept.push(answer)
      }
    })
    const ended = Promise.allSettled(ongoing)
    await sleep(random() * 400)
    await server.stop('SIGKILL')
    for (const outcome of await ended) assert.ok(isCutOff(outcome), String((outcome as PromiseRejectedResult).reason))
  }
  await startServer(t, { basedir })
  t.diagnostic(`${kept.length} submissions acknowledged`)
  assert.deepEqual(await listStaged(basedir), [])
  for (const answer of kept) await checkKept(basedir, answer)
  await checkNoneIsPartial(basedir, sent)
})

// Each row is a call of a submission of three files, the first of its project; the server is killed as it makes it.
const isSync = ({ name }: Call) => name === 'fsync'
const rows: { name: string; before: number; completes: boolean; find: (call: Call) => boolean }[] = [
  { name: 'the sync of the note of what is to be linked', before: 0, completes: true, find: (call) => isSync(call) && path(call).endsWith('.intent.json') },
  { name: 'the first link', before: 0, completes: true, find: (call) => call.name === 'link' && path(call).endsWith('a.wav') },
  { name: 'the second link', before: 1, completes: true, find: (call) => call.name === 'link' && path(call).endsWith('b.wav') },
  { name: 'the third link', before: 2, completes: true, find: (call) => call.name === 'link' && path(call).endsWith('messages.json') },
  { name: 'the sync of the project directory', before: 3, completes: true, find: (call) => isSync(call) && path(call).endsWith('responses/study') },
  { name: 'the sync of the receipts directory', before: 3, completes: true, find: (call) => isSync(call) && path(call).endsWith('receipts/study') },
  { name: 'the sync of the receipt', before: 3, completes: true, find: (call) => isSync(call) && /\/receipts\/.*\.ndjson$/.test(path(call)) },
  { name: 'the removal of the note', before: 3, completes: true, find: (call) => call.name === 'unlink' && path(call).endsWith('.intent.json') },
  { name: 'the removal of what was staged', before: 3, completes: true, find: (call) => call.name === 'unlink' && path(call).endsWith('.part') },
  { name: 'the sync of the last file', before: 0, completes: false, find: (call) => isSync(call) && path(call).endsWith('2.part') },
]

test('a submission of several files that is killed is whole after the next start, or not there', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const calls = await traceSubmission(t)
  for (const { name, before, completes, find } of rows) {
    await t.test(`killed at ${name}`, async (t) => {
      const basedir = await temporaryDirectory(t)
      await killAt(t, basedir, calls, find)
      assert.equal((await listProject(basedir, 'study')).length, before)
      await startServer(t, { basedir })
      await checkWholeOrNot(basedir, completes)
    })
  }
})

test('a submission of one file that is killed between link and receipt is whole, and its staged name is gone', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const one = THREE.slice(0, 1)
  const basedir = await temporaryDirectory(t)
  const calls = await traceSubmission(t, one)
  await killAt(t, basedir, calls, (call) => isSync(call) && path(call).endsWith('responses/study'), one)
  await startServer(t, { basedir })
  await checkNoneIsPartial(basedir, new Set([sha256Of('one')]))
  assert.deepEqual([await listStaged(basedir), await checkReceipts(basedir, 'study')], [[], []])
})

// Each row is a call of the recovery of a submission that was killed at its second link; the server is killed there again.
const recoveryRows: { name: string; find: (call: Call) => boolean }[] = [
  { name: 'a link', find: (call) => call.name === 'link' && path(call).endsWith('b.wav') },
  { name: 'the sync of the project directory', find: (call) => isSync(call) && path(call).endsWith('responses/study') },
  { name: 'the sync of the receipt', find: (call) => isSync(call) && /\/receipts\/.*\.ndjson$/.test(path(call)) },
  { name: 'the removal of the note', find: (call) => call.name === 'unlink' && path(call).endsWith('.intent.json') },
  { name: 'the removal of what was staged', find: (call) => call.name.startsWith('unlink') && path(call).endsWith('.part') },
]

test('a recovery that is killed is taken up by the next one, and by the one after that', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const killed = await temporaryDirectory(t)
  await killAt(t, killed, await traceSubmission(t), (call) => call.name === 'link' && path(call).endsWith('b.wav'))
  const copyOf = async (t: TestContext) => {
    const copy = await temporaryDirectory(t)
    await cp(killed, copy, { recursive: true, preserveTimestamps: true }) // two copies of what was linked are no longer one
    return copy
  }
  const calls = await (await startTraced(t, undefined, { basedir: await copyOf(t) })).calls()
  for (const { name, find } of recoveryRows) {
    await t.test(`killed at ${name}`, async (t) => {
      const basedir = await copyOf(t)
      const found = calls.find(find)
      assert.ok(found !== undefined, 'the recovery makes this call')
      const inject = `${found.name}:signal=KILL:when=${numberOf(calls, found)}`
      await assert.rejects(startTraced(t, inject, { basedir }))
      await Promise.allSettled([startTraced(t, inject, { basedir }).then((server) => server.stop('SIGKILL'))])
      await startServer(t, { basedir })
      await checkWholeOrNot(basedir, true)
    })
  }
})

test('two processes on one base directory leave each other in peace', async (t) => {
  const basedir = await temporaryDirectory(t)
  const [first, second] = await Promise.all([startServer(t, { basedir }), startServer(t, { basedir })])
  const authToken = await askToken(first)
  const [inFirst, inSecond] = [beginUpload(first, authToken), beginUpload(second, authToken)]
  await until('both have staged', async () => (await listStaged(basedir)).length === 2)
  await second.stop('SIGKILL')
  const third = await startServer(t, { basedir })
  assert.equal((await listStaged(basedir)).length, 1, 'what the dead one staged is gone, what the living one stages is not')
  const inThird = beginUpload(third, authToken)
  inFirst.socket.write(TAIL)
  inThird.socket.write(TAIL)
  assert.match(await inFirst.answer, /^HTTP\/1\.1 200 /)
  assert.match(await inThird.answer, /^HTTP\/1\.1 200 /)
  assert.equal(await inSecond.answer, '')
  const answers = await Promise.all([first, third].map((server) => submitForm(server, [['auth_token', authToken], ...THREE])))
  for (const answer of answers) await checkKept(basedir, answer)
  assert.equal(await first.stop(), 0)
  assert.equal(await third.stop(), 0)
  assert.deepEqual(await readdir(join(basedir, 'uploads', 'staging')), [])
})

test('two processes that begin the same project at the same moment keep everything', async (t) => {
  const basedir = await temporaryDirectory(t)
  const servers = await Promise.all([startServer(t, { basedir }), startServer(t, { basedir })])
  const authToken = await askToken({ url: servers[0]?.url ?? '' })
  const submissions = Array.from({ length: 60 }, (_, index) =>
    submitForm(servers[index % 2] ?? { url: '' }, [['auth_token', authToken], ...THREE]),
  )
  for (const answer of await Promise.all(submissions)) await checkKept(basedir, answer)
  assert.equal((await listProject(basedir, 'study')).length, 180)
})

const HEAD = '--b\r\nContent-Disposition: form-data; name="f"; filename="slow.wav"\r\n\r\n'
const TAIL = `${'v'.repeat(100_000)}\r\n--b--\r\n`
const STAGED = 'v'.repeat(400_000)

function beginUpload(server: { port: number }, authToken: string): { socket: Socket; answer: Promise<string> } {
  const socket = connect(server.port, '127.0.0.1')
  const answer = readAll(socket)
  socket.write(
    `POST /submit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer ${authToken}\r\n` +
      'Content-Type: multipart/form-data; boundary=b\r\n' +
      `Content-Length: ${HEAD.length + STAGED.length + TAIL.length}\r\n\r\n${HEAD}${STAGED}`,
  )
  return { socket, answer }
}

function path(call: Call): string {
  return call.paths.at(-1) ?? ''
}

async function traceSubmission(t: TestContext, entries = THREE): Promise<Call[]> {
  const server = await startTraced(t)
  await submitForm(server, [['auth_token', await askRecorded(server)], ...entries])
  return server.calls()
}

async function killAt(t: TestContext, basedir: string, calls: readonly Call[], find: (call: Call) => boolean, entries = THREE): Promise<void> {
  const found = calls.find(find)
  assert.ok(found !== undefined, 'the submission makes this call')
  const server = await startTraced(t, `${found.name}:signal=KILL:when=${numberOf(calls, found)}`, { basedir })
  const authToken = await askRecorded(server)
  await assert.rejects(submitForm(server, [['auth_token', authToken], ...entries]), 'the server was killed before it answered')
  await server.stop('SIGKILL')
}

async function checkWholeOrNot(basedir: string, isWhole: boolean): Promise<void> {
  const names = (await listProject(basedir, 'study')).map((name) => name.replace(/^.*Z-/, ''))
  assert.deepEqual(names, isWhole ? ['a.wav', 'b.wav', 'messages.json'] : [])
  await checkNoneIsPartial(basedir, new Set([sha256Of('one'), sha256Of('two'), sha256Of('{"a":1}')]))
  assert.equal((await checkReceipts(basedir, 'study')).length, isWhole ? 1 : 0)
  assert.deepEqual(await listStaged(basedir), [])
  assert.equal((await readdir(join(basedir, 'uploads', 'staging'))).length, 1)
}

/** Every visible file is one that was sent, whole, and what was sent together is there together. */
async function checkNoneIsPartial(basedir: string, sent: ReadonlySet<string>): Promise<void> {
  const found = new Map<string, number>()
  for (const name of await listProject(basedir, 'study')) {
    const content = await readFile(join(basedir, 'uploads', 'responses', 'study', name))
    assert.ok(sent.has(sha256Of(content)), `${name} is no file that was sent`)
    const [, group = '', size = '1'] = /-(\d+\.\d+\.\d+)-of-(\d+)/.exec(name) ?? []
    if (group !== '') found.set(`${group} of ${size}`, (found.get(`${group} of ${size}`) ?? 0) + 1)
  }
  for (const [group, count] of found) assert.equal(count, Number(group.split(' ').at(-1)), `a part of submission ${group}`)
}

function makeEntries(group: string, random: () => number): [string, Uint8Array, string][] {
  const count = 1 + Math.floor(random() * 3)
  return Array.from({ length: count }, (_, index) => {
    const content = Buffer.alloc(Math.floor(random() ** 3 * 600_000), `${group}.${index} `)
    return ['file', content, `${group}-of-${count}-${index}.bin`]
  })
}

// The client sees that the connection broke, and no refusal.
function isCutOff(outcome: PromiseSettledResult<unknown>): boolean {
  return outcome.status === 'rejected' && outcome.reason instanceof TypeError
}

function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
}
