import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { checkKept, checkReceipts, listProject, listStaged } from './evidence.ts'
import {
  ADMIN_TOKEN,
  askToken,
  listFiles,
  listUploads,
  needs,
  request,
  startServer,
  submitForm,
  temporaryDirectory,
  until,
  type Answer,
  type Entry,
  type Running,
} from './harness.ts'
import { askRecorded, injectInto, numberOf, startTraced, type Call } from './trace.ts'
import { fileStart, submitHead, Wire } from './wire.ts'

const TWO: readonly Entry[] = [
  ['f', Buffer.from('one'), 'a.wav'],
  ['f', Buffer.from('two'), 'b.wav'],
]

const path = (call: Call) => call.paths.at(-1) ?? ''
const syncOf = (name: RegExp) => (call: Call) => call.name === 'fsync' && name.test(path(call))
const linkTo = (name: RegExp) => (call: Call) => call.name === 'link' && name.test(path(call))
const mkdirOf = (name: RegExp) => (call: Call) => call.name === 'mkdir' && name.test(path(call))

// Each row makes one call fail, of a submission of two files that is the first of its project.
const submissionRows: { name: string; find: (call: Call) => boolean; error: string; status: number }[] = [
  { name: 'the sync of the first file', find: syncOf(/0\.part$/), error: 'EIO', status: 500 },
  { name: 'the sync of the second file', find: syncOf(/1\.part$/), error: 'EIO', status: 500 },
  { name: 'the sync of the second file', find: syncOf(/1\.part$/), error: 'ENOSPC', status: 507 },
  { name: 'the sync of the new project', find: syncOf(/\/responses$/), error: 'EIO', status: 500 },
  { name: 'the sync of the note', find: syncOf(/\.intent\.json$/), error: 'EIO', status: 500 },
  { name: 'the sync of the note’s name', find: syncOf(/\/staging\/[^/]+Z-\w+$/), error: 'EIO', status: 500 },
  { name: 'the sync of the project directory', find: syncOf(/\/responses\/study$/), error: 'EIO', status: 500 },
  { name: 'the sync of the new receipts directory', find: syncOf(/\/receipts$/), error: 'EIO', status: 500 },
  { name: 'the sync of the receipts file’s name', find: syncOf(/\/receipts\/study$/), error: 'EIO', status: 500 },
  { name: 'the sync of the receipt', find: syncOf(/\/receipts\/.*\.ndjson$/), error: 'EIO', status: 500 },
  { name: 'the sync of the receipt', find: syncOf(/\/receipts\/.*\.ndjson$/), error: 'EDQUOT', status: 507 },
  { name: 'the first link', find: linkTo(/a\.wav$/), error: 'EIO', status: 500 },
  { name: 'the first link', find: linkTo(/a\.wav$/), error: 'EROFS', status: 500 },
  { name: 'the second link', find: linkTo(/b\.wav$/), error: 'ENOSPC', status: 507 },
  { name: 'the second link', find: linkTo(/b\.wav$/), error: 'EDQUOT', status: 507 },
  { name: 'the making of the project', find: mkdirOf(/\/responses\/study$/), error: 'ENOSPC', status: 507 },
  { name: 'the making of the receipts directory', find: mkdirOf(/\/receipts\/study$/), error: 'EROFS', status: 500 },
]

test('a call that fails is told, leaves nothing, and the next submission works', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const normal = await startTraced(t)
  await submitForm(normal, [['auth_token', await askRecorded(normal)], ...TWO])
  const calls = await normal.calls()
  for (const { name, find, error, status } of submissionRows) {
    await t.test(`${name} fails with ${error}: ${status}`, async (t) => {
      const server = await startTraced(t, failing(calls, find, error))
      const authToken = await askRecorded(server)
      const refused = await submitForm(server, [['auth_token', authToken], ...TWO])
      assert.equal(refused.status, status)
      assertRefusal(refused)
      assert.deepEqual(await listUploads(server.basedir), [])
      assert.deepEqual(await listFiles(join(server.basedir, 'receipts')), [])
      await checkKept(server.basedir, await submitForm(server, [['auth_token', authToken], ...TWO]))
      assert.deepEqual(await listStaged(server.basedir), [])
      assertNotSyncedAgain(await server.calls())
    })
  }
})

// The thread that publishes opens nothing but these itself, and the directories that hold the project's, in this order.
const openingRows: { name: string; number: number; error: string; status: number }[] = [
  { name: 'the creation of the first file', number: 2, error: 'EMFILE', status: 503 },
  { name: 'the creation of the second file', number: 3, error: 'ENOSPC', status: 507 },
  { name: 'the creation of the note', number: 4, error: 'EROFS', status: 500 },
  { name: 'the opening of the staging directory', number: 5, error: 'EMFILE', status: 503 },
  { name: 'the opening of the project directory', number: 6, error: 'EMFILE', status: 503 },
  { name: 'the creation of the receipts file', number: 7, error: 'EDQUOT', status: 507 },
  { name: 'the opening of the receipts directory', number: 8, error: 'ENFILE', status: 503 },
]

test('a file that cannot be created is told, leaves nothing, and the next submission works', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  for (const { name, number, error, status } of openingRows) {
    await t.test(`${name} fails with ${error}: ${status}`, async (t) => {
      const server = await startServer(t)
      await injectInto(t, await findPublishingThread(server), `openat:error=${error}:when=${number}`)
      const authToken = await askToken(server)
      const refused = await submitForm(server, [['auth_token', authToken], ...TWO])
      assert.equal(refused.status, status)
      assertRefusal(refused)
      assert.deepEqual(await listProject(server.basedir, 'study'), [])
      assert.deepEqual(await listStaged(server.basedir), [])
      assert.deepEqual((await listFiles(join(server.basedir, 'receipts'))).filter((file) => file.startsWith('study/')), [])
      await checkKept(server.basedir, await submitForm(server, [['auth_token', authToken], ...TWO]))
      assert.deepEqual(await listStaged(server.basedir), [])
    })
  }
})

const tokenRows: { name: string; find: (call: Call) => boolean; error: string; status: number }[] = [
  { name: 'the sync of the record', find: syncOf(/\/tokens\/.*json$/), error: 'EIO', status: 500 },
  { name: 'the sync of its name', find: syncOf(/\/tokens$/), error: 'EIO', status: 500 },
]

test('a token that cannot be made durable is not issued', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const normal = await startTraced(t)
  await askToken(normal)
  const calls = await normal.calls()
  for (const { name, find, error, status } of tokenRows) {
    await t.test(`${name} fails with ${error}: ${status}`, async (t) => {
      const server = await startTraced(t, failing(calls, find, error))
      const refused = await request(`${server.url}/token?token=${ADMIN_TOKEN}`)
      assert.equal(refused.status, status)
      assertRefusal(refused)
      assert.deepEqual(await readdir(join(server.basedir, 'tokens')), [])
      await askToken(server)
    })
  }
})

test('a token whose record cannot be created is not issued', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const server = await startServer(t, { env: { UV_THREADPOOL_SIZE: '1' } })
  await injectInto(t, await findPoolThread(server), 'openat:error=ENOSPC:when=1')
  const before = await readdir(join(server.basedir, 'tokens'))
  const refused = await request(`${server.url}/token?token=${ADMIN_TOKEN}`)
  assert.equal(refused.status, 507)
  assertRefusal(refused)
  assert.deepEqual(await readdir(join(server.basedir, 'tokens')), before)
  await askToken(server)
})

test('a later receipt that fails leaves no part of a line before the next', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const normal = await startTraced(t)
  await submitInTurn(normal, 2)
  const calls = await normal.calls()
  const last = calls.findLast(syncOf(/\/receipts\/.*\.ndjson$/))
  const server = await startTraced(t, failing(calls, (call) => call === last, 'EIO'))
  const answers = await submitInTurn(server, 3)
  assert.deepEqual(answers.map(({ status }) => status), [200, 500, 200])
  for (const answer of answers) if (answer.status === 200) await checkKept(server.basedir, answer)
  assert.equal((await checkReceipts(server.basedir, 'study')).length, 2)
  assert.equal((await readdir(join(server.basedir, 'receipts', 'study'))).length, 2)
  assert.equal((await listProject(server.basedir, 'study')).length, 4)
})

test('a file that the disk cannot hold is 507 and gives its space back; smaller ones go on', async (t) => {
  if (!needs(t, 'prlimit', 'util-linux')) return
  const server = await startServer(t, { through: ['prlimit', '--fsize=1000000'] })
  const authToken = await askToken(server)
  const refused = await submitForm(server, [['auth_token', authToken], ...TWO, ['f', Buffer.alloc(3_000_000), 'large.wav']])
  assert.equal(refused.status, 507)
  assertRefusal(refused)
  assert.deepEqual(await listUploads(server.basedir), [])
  await checkKept(server.basedir, await submitForm(server, [['auth_token', authToken], ...TWO]))
})

test('a receipts file that cannot grow in the middle of a line is followed by a new one', async (t) => {
  if (!needs(t, 'prlimit', 'util-linux')) return
  const server = await startServer(t, { through: ['prlimit', '--fsize=4000'] })
  const answers = await submitInTurn(server, 16)
  const statuses = answers.map(({ status }) => status)
  assert.deepEqual([...new Set(statuses)].toSorted(), [200, 507])
  assert.equal(statuses.join(' ').includes('507 507'), false, 'the next one works')
  for (const answer of answers) if (answer.status === 200) await checkKept(server.basedir, answer)
  assert.equal((await checkReceipts(server.basedir, 'study')).length, statuses.filter((status) => status === 200).length)
})

const fullRows: { name: string; mount: string; fill: Entry[] }[] = [
  { name: 'bytes', mount: 'size=4m', fill: [['f', Buffer.alloc(5_000_000), 'large.wav']] },
  {
    name: 'inodes',
    mount: 'size=4m,nr_inodes=40',
    fill: Array.from({ length: 50 }, (_, index): Entry => ['f', Buffer.from('x'), `${index}.wav`]),
  },
]

test('a disk that is full is 507, and works again when there is room', async (t) => {
  if (!needs(t, 'unshare', 'util-linux')) return
  for (const { name, mount, fill } of fullRows) {
    await t.test(name, async (t) => {
      const basedir = await temporaryDirectory(t)
      const through = mounting(basedir, mount)
      if (spawnSync(through[0] ?? '', [...through.slice(1), 'true']).status !== 0) return t.skip('this system does not let tests mount')
      const server = await startServer(t, { basedir, through })
      const inside = `/proc/${server.process.pid}/root${basedir}` // the mount is seen by the server only
      const authToken = await askToken(server)
      for (let count = 0; count < 3; count++) {
        const refused = await submitForm(server, [['auth_token', authToken], ...fill])
        assert.equal(refused.status, 507)
        assertRefusal(refused)
        assert.deepEqual(await listUploads(inside), [])
      }
      await checkKept(inside, await submitForm(server, [['auth_token', authToken], ...TWO]))

      await fillUp(join(inside, 'filler'))
      const token = await request(`${server.url}/token?token=${ADMIN_TOKEN}`)
      assert.equal(token.status, 507)
      const refused = await submitForm(server, [['auth_token', authToken], ['f', Buffer.from('three'), 'c.wav']]) // a repeat needs no room
      assert.equal(refused.status, 507)
      assert.equal((await request(`${server.url}/`)).status, 200)
      await rm(join(inside, 'filler'), { recursive: true })
      await checkKept(inside, await submitAgain(server, await askToken(server))) // the free space is looked at once a second
      assert.equal((await listProject(inside, 'study')).length, 4)
      assert.deepEqual(await listStaged(inside), [])
    })
  }
})

const LIMIT = 128

test('a server that runs out of descriptors refuses, and recovers', async (t) => {
  if (!needs(t, 'prlimit', 'util-linux')) return
  const server = await startServer(t, { through: ['prlimit', `--nofile=${LIMIT}`] })
  const authToken = await askToken(server)
  const descriptors = async () => (await readdir(`/proc/${server.process.pid}/fd`)).length
  const wires: Wire[] = []
  while ((await descriptors()) + wires.length < LIMIT + 10) { // more than it can have, by what it may close meanwhile too
    const wire = await Wire.open(server.port)
    await wire.write(submitHead('Content-Length: 1000000', `Authorization: Bearer ${authToken}`, 'Expect: 100-continue'))
    await wire.answers(1) // its token has been read, which takes a descriptor for a moment
    wires.push(wire)
  }
  for (const wire of wires) await wire.write(Buffer.concat([fileStart(), Buffer.alloc(900_000)])) // now each needs a file
  const received = () => wires.map((wire) => wire.received).join('')
  await until('it refuses', () => /HTTP\/1\.1 503 [^]*"code":"too_busy"/.test(received()))
  await until('it has files as well', async () => (await listStaged(server.basedir)).length > 0)
  assert.deepEqual([...new Set(received().match(/HTTP\/1\.1 \d+/g))], ['HTTP/1.1 100', 'HTTP/1.1 503'])
  for (const wire of wires) wire.socket.destroy()
  // While it still works off what those sockets sent it may refuse more, or not take a connection: a client tries again.
  await checkKept(server.basedir, await submitAgain(server, authToken))
  await until('nothing is left in staging', async () => (await listStaged(server.basedir)).length === 0)
  assert.equal(server.process.exitCode, null)
})

// What somebody does to the data tree between two submissions; a 200 that follows must be true on the disk.
const RESPONSES = 'uploads/responses'
const away = (path: string) => (basedir: string) => rename(join(basedir, path), join(basedir, `${path}-away`))
const removed = (path: string) => (basedir: string) => rm(join(basedir, path), { recursive: true, maxRetries: 10 }) // a line of a log may come in between
const replaced = (path: string) => async (basedir: string) => {
  await away(path)(basedir)
  await mkdir(join(basedir, path))
}
const harmRows: { name: string; harm: (basedir: string) => Promise<unknown>; status: number }[] = [
  { name: 'the base directory was removed', harm: removed('.'), status: 200 },
  { name: 'the base directory was moved away', harm: (basedir) => rename(basedir, `${basedir}-away`), status: 200 },
  { name: 'the project directory was removed', harm: removed(`${RESPONSES}/study`), status: 200 },
  { name: 'the project directory was moved away', harm: away(`${RESPONSES}/study`), status: 200 },
  { name: 'the project directory was replaced', harm: replaced(`${RESPONSES}/study`), status: 200 },
  { name: 'all projects were removed', harm: removed(RESPONSES), status: 200 },
  { name: 'the uploads were removed', harm: removed('uploads'), status: 200 },
  { name: 'staging was removed', harm: removed('uploads/staging'), status: 200 },
  { name: 'staging was replaced', harm: replaced('uploads/staging'), status: 200 },
  { name: 'the receipts were removed', harm: removed('receipts'), status: 200 },
  { name: 'the receipts were moved away', harm: away('receipts'), status: 200 },
  { name: 'the project’s receipts were removed', harm: removed('receipts/study'), status: 200 },
  { name: 'the project’s receipts were replaced', harm: replaced('receipts/study'), status: 200 },
  { name: 'the receipts file was removed', harm: (basedir) => eachReceiptsFile(basedir, (file) => rm(file)), status: 200 },
  { name: 'the receipts file was moved away', harm: (basedir) => eachReceiptsFile(basedir, (file) => rename(file, `${file}-away`)), status: 200 },
  { name: 'the receipts file was emptied', harm: (basedir) => eachReceiptsFile(basedir, (file) => truncate(file)), status: 200 },
  { name: 'the tokens were removed', harm: removed('tokens'), status: 200 },
  {
    name: 'the project directory is a link',
    harm: async (basedir) => {
      await away(`${RESPONSES}/study`)(basedir)
      await symlink(join(basedir, `${RESPONSES}/study-away`), join(basedir, `${RESPONSES}/study`))
    },
    status: 409,
  },
  {
    name: 'the project directory is a plain file',
    harm: async (basedir) => {
      await away(`${RESPONSES}/study`)(basedir)
      await writeFile(join(basedir, `${RESPONSES}/study`), 'mine')
    },
    status: 409,
  },
  {
    name: 'the receipts directory is a plain file',
    harm: async (basedir) => {
      await away('receipts/study')(basedir)
      await writeFile(join(basedir, 'receipts/study'), 'mine')
    },
    status: 409,
  },
]

test('what somebody did to the data tree while the server runs makes no 200 untrue', async (t) => {
  for (const { name, harm, status } of harmRows) {
    await t.test(`${name}: ${status}`, async (t) => {
      const basedir = join(await temporaryDirectory(t), 'base')
      const server = await startServer(t, { basedir })
      assert.equal((await submitForm(server, [['auth_token', await askToken(server)], ...TWO])).status, 200)
      await harm(basedir)
      const before = status === 200 ? [] : await listAround(basedir)
      for (let count = 0; count < 2; count++) {
        const answer = await submitForm(server, [['auth_token', await askToken(server)], ...TWO])
        assert.equal(answer.status, status)
        if (status === 200) await checkKept(basedir, answer)
        else assertRefusal(answer)
      }
      if (status !== 200) assert.deepEqual(await listAround(basedir), before)
      assert.equal(await server.stop(), 0)
    })
  }
})

test('a project directory that is a link or a plain file at the start is not written through', async (t) => {
  const basedir = await temporaryDirectory(t)
  const elsewhere = await temporaryDirectory(t)
  await mkdir(join(basedir, RESPONSES), { recursive: true })
  await symlink(elsewhere, join(basedir, RESPONSES, 'linked'))
  await writeFile(join(basedir, RESPONSES, 'plain'), 'mine')
  const server = await startServer(t, { basedir })
  for (const project of ['linked', 'plain']) {
    const refused = await submitForm(server, [['auth_token', await askToken(server, { project })], ...TWO])
    assert.equal(refused.status, 409)
    assertRefusal(refused)
  }
  assert.deepEqual(await readdir(elsewhere), [])
  assert.equal(await readFile(join(basedir, RESPONSES, 'plain'), 'utf8'), 'mine')
  assert.deepEqual(await listStaged(basedir), [])
})

/** Finds the thread that publishes: the one that writes what a small file holds. */
async function findPublishingThread(server: Running): Promise<string> {
  const authToken = await askToken(server, { project: 'earlier' })
  const before = await countWritten(server)
  await submitForm(server, [['auth_token', authToken], ['f', Buffer.alloc(100_000), 'held.wav']])
  const after = await countWritten(server)
  const [thread = ''] = [...after].find(([id, bytes]) => bytes - (before.get(id) ?? 0) >= 100_000) ?? []
  return thread
}

/** The one thread that writes tokens, of a server whose pool has one. */
async function findPoolThread(server: Running): Promise<string> {
  const before = await countWritten(server)
  await askRecorded(server)
  const after = await countWritten(server)
  const [thread = ''] = [...after].find(([id, bytes]) => Number(id) !== server.process.pid && bytes > (before.get(id) ?? 0)) ?? []
  return thread
}

/** How many bytes each thread of a server has written so far. */
async function countWritten({ process: { pid } }: Running): Promise<Map<string, number>> {
  const tasks = `/proc/${pid}/task`
  const written = new Map<string, number>()
  for (const id of await readdir(tasks)) {
    const text = await readFile(join(tasks, id, 'io'), 'utf8') // proc(5)
    written.set(id, Number(/^wchar: (\d+)$/m.exec(text)?.[1]))
  }
  return written
}

function failing(calls: readonly Call[], find: (call: Call) => boolean, error: string): string {
  const found = calls.find(find)
  assert.ok(found !== undefined, 'the request makes this call')
  return `${found.name}:error=${error}:when=${numberOf(calls, found)}`
}

function assertRefusal({ headers, json }: Answer): void {
  assert.equal(headers.get('content-type'), 'application/json')
  assert.equal(headers.get('access-control-allow-origin'), '*')
  assert.equal(json['status'], 'failed')
}

// After a failed fsync a second one proves nothing: the descriptor is closed before its file is touched again.
function assertNotSyncedAgain(calls: readonly Call[]): void {
  const failed = calls.filter(({ name, result }) => name === 'fsync' && result.includes('INJECTED'))
  for (const call of failed.filter(({ paths }) => /\.\w+$/.test(paths[0] ?? ''))) {
    const later = calls.filter(({ name, paths, began }) => began > call.ended && name === 'fsync' && paths[0] === call.paths[0])
    assert.deepEqual(later, [])
  }
}

function mounting(basedir: string, options: string): string[] {
  const script = `mount -t tmpfs -o ${options} none "$0" && exec "$@"`
  return ['unshare', process.getuid?.() === 0 ? '-m' : '-Urm', 'sh', '-c', script, basedir]
}

async function fillUp(directory: string): Promise<void> {
  await mkdir(directory)
  for (let count = 0; ; count++) {
    try {
      await writeFile(join(directory, String(count)), Buffer.alloc(64 * 1024))
    } catch (error) {
      assert.ok(error instanceof Error && 'code' in error && error.code === 'ENOSPC', 'error instanceof Error && code in error && error.code === EN')
      return
    }
  }
}

/** Submits as a client does that tries again until it is accepted. */
async function submitAgain(server: Running, authToken: string): Promise<Answer> {
  let answer: Answer | undefined
  await until('a submission is accepted', async () => {
    answer = await submitForm(server, [['auth_token', authToken], ...TWO]).catch(() => undefined)
    return answer?.status === 200
  })
  assert.ok(answer !== undefined, 'the answer that was waited for is there')
  return answer
}

async function submitInTurn(server: Running, count: number): Promise<Answer[]> {
  const authToken = await askRecorded(server)
  const answers: Answer[] = []
  for (let number = 0; number < count; number++) {
    const files: Entry[] = [['f', Buffer.from(`one ${number}`), 'a.wav'], ['f', Buffer.from(`two ${number}`), 'b.wav']]
    answers.push(await submitForm(server, [['auth_token', authToken], ...files])) // never the same ones: those are stored once
  }
  return answers
}

async function eachReceiptsFile(basedir: string, harm: (file: string) => Promise<unknown>): Promise<void> {
  const directory = join(basedir, 'receipts', 'study')
  for (const entry of await readdir(directory)) await harm(join(directory, entry))
}

async function listAround(basedir: string): Promise<string[]> {
  return (await listFiles(basedir)).filter((path) => !/^(logs|tokens|audit)\//.test(path))
}
