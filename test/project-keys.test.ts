import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { ProjectKeys } from '../lib/access/project-keys.ts'
import { addProof, readProofs } from '../lib/access/proofs.ts'
import type { RecipientList } from '../lib/crypt/recipient-list.ts'
import { Directories } from '../lib/directories.ts'
import { HttpError } from '../lib/errors.ts'
import { Layout } from '../lib/store/layout.ts'
import { consoleOf, startFleet, workersOf } from './fleet.ts'
import { listFiles, request, runProgram, startServer, temporaryDirectory, until } from './harness.ts'
import { mistype, newList, proveLists, textOf, writeOwn } from './recipients.ts'

const [server, otherServer, own, otherOwn] = [newList(), newList(), newList(2), newList()]
const nameOf = (list: RecipientList | undefined) => ['server', 'other server', 'own', 'other own'][[server, otherServer, own, otherOwn].findIndex((each) => each.digest === list?.digest)]
const MISTYPED = mistype(textOf(own))

const cases: {
  readonly name: string
  readonly own?: string
  readonly serverProofs?: readonly RecipientList[]
  readonly ownProofs?: readonly RecipientList[]
  readonly expected: string
  readonly trouble?: RegExp
}[] = [
  { name: 'the server\'s list, proven', serverProofs: [server], expected: 'server' },
  { name: 'the server\'s list, not proven', expected: 'server', trouble: /^nobody has shown yet .* the server's recipients: / },
  { name: 'the server\'s list is changed and not proven', serverProofs: [otherServer], expected: 'other server', trouble: /^nobody has shown yet / },
  { name: 'the server\'s list, proven before another was', serverProofs: [server, otherServer], expected: 'server' },
  { name: 'a list of its own, proven', own: textOf(own), ownProofs: [own], expected: 'own' },
  { name: 'a list of its own in another order, with comments', own: `# us\n${textOf(own).trim().split('\n').toReversed().join(', ')}\r\n`, ownProofs: [own], expected: 'own' },
  { name: 'a list of its own that was proven as the server\'s', own: textOf(own), serverProofs: [own], expected: 'own' },
  { name: 'a list of its own, not proven, and nothing else is', own: textOf(own), expected: 'own', trouble: /^nobody has shown yet .* the recipients of study: / },
  { name: 'a list of its own, not proven, after another', own: textOf(own), ownProofs: [otherOwn], serverProofs: [server], expected: 'other own', trouble: /^nobody/ },
  { name: 'a list of its own, not proven, after one that was proven again', own: textOf(own), ownProofs: [otherOwn, otherServer, otherOwn], expected: 'other own', trouble: /^nobody/ },
  { name: 'a list of its own, not proven, after the server\'s', own: textOf(own), serverProofs: [server], expected: 'server', trouble: /^nobody/ },
  { name: 'a list of its own, less a recipient', own: textOf(own).split('\n')[0] ?? '', ownProofs: [own], expected: 'own', trouble: /^nobody/ },
  { name: 'a list of its own, mistyped', own: MISTYPED, ownProofs: [own, otherOwn], serverProofs: [server], expected: 'other own', trouble: /recipients cannot be used: the recipient "age1/ },
  { name: 'a list of its own, mistyped before it was proven', own: MISTYPED, serverProofs: [server, otherServer], expected: 'server', trouble: /cannot be used/ },
  { name: 'a list of its own, mistyped, and nothing is proven', own: MISTYPED, expected: 'server', trouble: /cannot be used/ },
  { name: 'a list of its own that is empty', own: '', ownProofs: [own], expected: 'own', trouble: /no recipient stands there/ },
  { name: 'a list of its own that is taken away', ownProofs: [own], serverProofs: [server], expected: 'server' },
  { name: 'a secret key', own: 'AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX', ownProofs: [own], expected: 'own', trouble: /is the secret key/ },
  { name: 'a file that is far too large', own: '#'.repeat(70_000), ownProofs: [own], expected: 'own', trouble: /no file of at most 65536 bytes$/ },
]
for (const { name, own: text, serverProofs = [], ownProofs = [], expected, trouble } of cases) {
  test(`whom a project's files are encrypted to: ${name}`, async (t) => {
    const layout = new Layout(await temporaryDirectory(t))
    if (text !== undefined) await writeOwn(layout.basedir, 'study', text)
    await proveLists(layout.basedir, serverProofs)
    await proveLists(layout.basedir, ownProofs, 'study')
    const keys = new ProjectKeys({ places: layout, serverList: server })
    assert.equal(nameOf(await keys.listFor('study')), expected)
    const said = await keys.findTrouble('study')
    if (trouble === undefined) return assert.equal(said, undefined)
    assert.match(said ?? '', trouble)
    assert.doesNotMatch(said ?? '', /GFPYY/)
    await assert.rejects(keys.requireProven('study'), (error) => error instanceof HttpError && error.code === 'key_not_proven' && error.httpStatus === 503 && error.detail === said)
  })
}

const strange = [
  { name: 'a directory', make: (path: string) => mkdir(path, { recursive: true }) },
  { name: 'a link to itself', make: (path: string) => mkdir(dirname(path), { recursive: true }).then(() => symlink(path, path)) },
  { name: 'something in the place of its directory', make: (path: string) => mkdir(dirname(dirname(path)), { recursive: true }).then(() => writeFile(dirname(path), '')) },
  { name: 'a pipe that nobody writes to', make: (path: string) => mkdir(dirname(path), { recursive: true }).then(() => void spawnSync('mkfifo', [path])) },
]
for (const { name, make } of strange) {
  test(`${name} where a project's list should be holds nothing up`, async (t) => {
    const layout = new Layout(await temporaryDirectory(t))
    await make(layout.keysOf('study').recipients)
    const keys = new ProjectKeys({ places: layout, serverList: server })
    assert.equal(nameOf(await keys.listFor('study')), 'server')
    assert.match((await keys.findTrouble('study')) ?? '', /\/projects\/study\/recipients /)
  })
}

test('where nothing is encrypted no project has a list, and none is in trouble', async (t) => {
  const keys = new ProjectKeys({ places: new Layout(await temporaryDirectory(t)), serverList: undefined })
  assert.equal(await keys.listFor('study'), undefined)
  await keys.requireProven('study')
})

test('a list that appears where nothing is encrypted stops the tokens of its project alone', async (t) => {
  const layout = new Layout(await temporaryDirectory(t))
  await writeOwn(layout.basedir, 'study', textOf(own))
  const keys = new ProjectKeys({ places: layout, serverList: undefined })
  assert.equal(await keys.listFor('study'), undefined)
  assert.match((await keys.findTrouble('study')) ?? '', /set REPROSCHEMA_BACKEND_RECIPIENTS too$/)
  assert.equal(await keys.findTrouble('other'), undefined)
})

test('that recipients are not used is told once for each reason, and again after all was well', async (t) => {
  const layout = new Layout(await temporaryDirectory(t))
  await proveLists(layout.basedir, [server])
  const told: string[] = []
  const anew = { places: layout, serverList: server, onFallback: (project: string, reason: string) => told.push(`${project}: ${reason.slice(0, 6)}`) }
  await writeOwn(layout.basedir, 'study', textOf(own))
  const keys = new ProjectKeys(anew)
  for (const _ of [1, 2, 3]) await keys.listFor('study')
  assert.deepEqual(told, ['study: nobody'])
  await new ProjectKeys(anew).listFor('study')
  assert.equal(told.length, 2)
})

test('what was read a moment ago is not read again, and a change is seen a second later', async (t) => {
  const layout = new Layout(await temporaryDirectory(t))
  await proveLists(layout.basedir, [server])
  const keys = new ProjectKeys({ places: layout, serverList: server })
  assert.equal(nameOf(await keys.listFor('study')), 'server')
  await proveLists(layout.basedir, [own], 'study')
  await writeOwn(layout.basedir, 'study', textOf(own))
  assert.equal(nameOf((await Promise.all(Array.from({ length: 50 }, () => keys.listFor('other'))))[49]), 'server')
  await until('the change is seen', async () => nameOf(await keys.listFor('study')) === 'own')
})

test('the digest of a list is that of its sorted lines', () => {
  const list = newList(5)
  const { stdout } = spawnSync('sh', ['-c', 'sort -u | sha256sum'], { input: `${textOf(list)}${list.recipients[2]?.text ?? ''}\n`, encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } })
  assert.equal(stdout.slice(0, 64), list.digest)
})

test('a proof is one small file of its owner, names the recipients and the time, and when it is proven again has the time of that', async (t) => {
  const basedir = await temporaryDirectory(t)
  const { proofs } = new Layout(basedir).keysOf('study')
  await addProof(proofs, { list: own, provenAtMs: Date.UTC(2024, 10, 1) }, new Directories())
  await addProof(proofs, { list: own, provenAtMs: Date.UTC(2024, 11, 1) }, new Directories())
  assert.deepEqual(await readdir(proofs), [`${own.digest}.json`])
  const path = join(proofs, `${own.digest}.json`)
  assert.deepEqual(JSON.parse(await readFile(path, 'utf8')), { recipients: own.recipients.map(({ text }) => text), proven_at: '2024-12-01T00:00:00.000Z' })
  assert.equal((await stat(path)).mode & 0o777, 0o600)
})

test('what is no proof of the list that it is named by proves nothing, and is never replaced', async (t) => {
  const basedir = await temporaryDirectory(t)
  const { proofs } = new Layout(basedir).keysOf('study')
  await proveLists(basedir, [own], 'study')
  const [path, otherPath] = [own, otherOwn].map((list) => join(proofs, `${list.digest}.json`)) as [string, string]
  await rename(path, otherPath)
  assert.deepEqual(await readProofs(proofs), [])
  for (const text of ['', '{"recipients":', '[]', 'null', '{"recipients":["x"],"proven_at":"2024-11-01"}', `{"recipients":[${JSON.stringify(textOf(own).slice(0, 62))}]}`]) {
    await writeFile(path, text)
    assert.deepEqual(await readProofs(proofs), [], text)
    await assert.rejects(proveLists(basedir, [own], 'study'), /is in the way and is no proof: move it away$/)
    assert.equal(await readFile(path, 'utf8'), text)
  }
  assert.equal((await readdir(proofs)).length, 2)
})

test('a proof that is interrupted anywhere is none, and the next one holds', async (t) => {
  const basedir = await temporaryDirectory(t)
  const { proofs } = new Layout(basedir).keysOf('study')
  await mkdir(proofs, { recursive: true })
  await writeFile(join(proofs, 'new-0123456789abcdef'), '{"recipients":["age1')
  assert.deepEqual(await readProofs(proofs), [])
  await proveLists(basedir, [own], 'study')
  assert.deepEqual((await readProofs(proofs)).map(({ list }) => list.digest), [own.digest])
})

for (const args of [[], ['--workers=2']]) {
  test(`a server${args.length === 0 ? '' : ' of several processes'} does not start with a project's list and none of its own, and says what to do`, async (t) => {
    const basedir = await temporaryDirectory(t)
    await writeOwn(basedir, 'study', textOf(own))
    const { status, stdout, stderr } = runProgram([...args, '--host=127.0.0.1', '--port=0', `--basedir=${basedir}`])
    assert.deepEqual([status, stdout], [1, ''])
    assert.match(stderr, /^\S+\/projects\/study\/recipients names recipients, and the server has none: set REPROSCHEMA_BACKEND_RECIPIENTS too, or move that file away\.\n$/)
    assert.deepEqual(await listFiles(basedir), ['projects/study/recipients'])
  })
}

test('a server starts with its list, whatever the lists of projects hold', async (t) => {
  const basedir = await temporaryDirectory(t)
  await writeOwn(basedir, 'study', MISTYPED)
  const running = await startServer(t, { basedir, env: { REPROSCHEMA_BACKEND_RECIPIENTS: textOf(server) } })
  assert.equal((await request(`${running.url}/`)).status, 200)
})

test('a worker that begins later has the recipients that the first process has read', async (t) => {
  const basedir = await temporaryDirectory(t)
  const file = join(await temporaryDirectory(t), 'recipients')
  await writeFile(file, textOf(server))
  const running = await startFleet(t, { basedir, args: [`--recipients-file=${file}`] })
  await rm(file)
  const [first] = await workersOf(running)
  assert.ok(first !== undefined, 'a worker runs')
  process.kill(first, 'SIGKILL')
  await until('another has begun', async () => (await consoleOf(basedir)).includes('worker replaced'))
})
