import assert from 'node:assert/strict'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import test, { type TestContext } from 'node:test'
import type { Worker } from 'node:worker_threads'
import type { Submission } from '../lib/store/publisher.ts'
import type { PublishingParts } from '../lib/store/publishing-thread.ts'
import { checkKept, checkReceipts, listProject, listStaged } from './evidence.ts'
import { askToken, PROGRAM, ROOT, startServer, submitForm, temporaryDirectory, type Entry } from './harness.ts'
import { sha256Of } from './sha256.ts'

// From dist/: a thread of its own runs JavaScript only.
const built = join(ROOT, 'dist', 'lib', 'store', 'publishing-thread.js')
const { PublishingThread } = require(built) as typeof import('../lib/store/publishing-thread.ts')
const nothingLeft = async () => undefined
const PROCESS = '20241101T120000.000000Z-0123abcd'

/** A base directory with the record of the token that `submissionOf` names. */
async function makeBasedir(t: TestContext): Promise<string> {
  const basedir = await temporaryDirectory(t)
  await mkdir(join(basedir, 'tokens'))
  await writeFile(join(basedir, 'tokens', `${'1'.repeat(64)}.json`), '{}')
  return basedir
}

function submissionOf(basedir: string, text: string): Submission {
  const held = new TextEncoder().encode(text)
  const path = join(basedir, 'uploads', 'staging', PROCESS, '0.part')
  const sha256 = sha256Of(held)
  const file = { path, isAnswers: false, field: 'f', name: 'a.wav', mediaType: undefined, bytes: held.length, sha256, held: [held] }
  return { id: '0'.repeat(32), project: 'study', tokenSha256: '1'.repeat(64), grantedAtMs: Date.now(), participant: undefined, fields: [], files: [file] }
}

test('a file that is held in memory is stored as it was, one that was stored before is a repeat', async (t) => {
  const basedir = await makeBasedir(t)
  const publishing = new PublishingThread({ basedir, processName: PROCESS }, nothingLeft)
  t.after(() => publishing.close())
  const { receipt, isRepeated } = await publishing.publish(submissionOf(basedir, 'voice'))
  assert.equal(isRepeated, false)
  const stored = receipt.files[0]?.stored_as ?? ''
  assert.equal(await readFile(join(basedir, 'uploads', 'responses', 'study', stored), 'utf8'), 'voice')
  assert.deepEqual(await publishing.publish(submissionOf(basedir, 'voice')), { receipt: { ...receipt, fields: [] }, isRepeated: true })
})

test('a submission whose token was found good a while ago is stored only while the record of the token is there', async (t) => {
  const basedir = await makeBasedir(t)
  const publishing = new PublishingThread({ basedir, processName: PROCESS }, nothingLeft)
  t.after(() => publishing.close())
  const old = () => ({ ...submissionOf(basedir, 'voice'), grantedAtMs: Date.now() - 1000 })
  assert.equal((await publishing.publish(old())).isRepeated, false)
  await rm(join(basedir, 'tokens', `${'1'.repeat(64)}.json`))
  await assert.rejects(publishing.publish(old()), { code: 'unauthorized_token' })
  assert.equal((await publishing.publish(submissionOf(basedir, 'other'))).isRepeated, false)
  assert.deepEqual([(await listProject(basedir, 'study')).length, (await checkReceipts(basedir, 'study')).length], [2, 2])
})

test('an error comes from the thread with its code', async (t) => {
  const basedir = await makeBasedir(t)
  const publishing = new PublishingThread({ basedir: join(basedir, 'plain'), processName: PROCESS }, nothingLeft)
  t.after(() => publishing.close())
  await mkdir(join(basedir, 'plain', 'uploads', 'responses'), { recursive: true })
  await assert.rejects(publishing.publish({ ...submissionOf(basedir, 'voice'), project: '../out' }), /not the name of a project/)
  const submission = submissionOf(basedir, 'voice')
  const unnamed = { ...submission, files: submission.files.map((file) => ({ ...file, path: '/proc/none' })) }
  await assert.rejects(publishing.publish(unnamed), { code: 'ENOENT' })
})

test('a submission that does not reach the thread whole fails, and the next does not', async (t) => {
  const basedir = await makeBasedir(t)
  const publishing = new PublishingThread({ basedir, processName: PROCESS }, nothingLeft)
  t.after(() => publishing.close())
  const spent = submissionOf(basedir, 'voice')
  await publishing.publish(spent)
  await assert.rejects(publishing.publish(spent), /deserialize/)
  assert.equal((await publishing.publish(submissionOf(basedir, 'voice'))).receipt.files.length, 1)
})

test('a thread that dies fails what it had, and the next submission begins another', async (t) => {
  const basedir = await makeBasedir(t)
  const publishing = new PublishingThread({} as PublishingParts, nothingLeft) // it ends as soon as it has begun
  for (let count = 0; count < 2; count++) {
    const submissions = ['a', 'b'].map((text) => publishing.publish(submissionOf(basedir, text)))
    const outcomes = await Promise.allSettled(submissions)
    assert.deepEqual(outcomes.map(({ status }) => status), ['rejected', 'rejected'])
  }
  await publishing.close()
})

test('a submission that comes as a thread dies goes to the next one', async (t) => {
  const basedir = await makeBasedir(t)
  const publishing = new PublishingThread({ basedir, processName: PROCESS }, nothingLeft)
  t.after(() => publishing.close())
  const begun = new Promise<Worker>((resolve) => process.once('worker', resolve))
  await publishing.publish(submissionOf(basedir, 'first'))
  const worker = await begun
  const late = new Promise((resolve, reject) => {
    worker.prependOnceListener('exit', () => publishing.publish(submissionOf(basedir, 'late')).then(resolve, reject))
  })
  await worker.terminate()
  await late
})

// Loaded into the thread before its own code: it ends there, once, as where memory runs out.
const formatDeath = (name: string, mark: string) => `
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { isMainThread } from 'node:worker_threads'
const { linkSync } = fs
fs.linkSync = (from, to) => {
  if (to.endsWith(${JSON.stringify(name)}) && !fs.existsSync(${JSON.stringify(mark)})) {
    fs.writeFileSync(${JSON.stringify(mark)}, '')
    process.exit(1)
  }
  linkSync(from, to)
}
if (!isMainThread) syncBuiltinESMExports()
`

for (const name of ['-a.wav', '-b.wav']) {
  test(`a thread that dies before it links ${name} leaves no part of a submission`, async (t) => {
    const directory = await temporaryDirectory(t)
    const death = join(directory, 'death.mjs')
    await writeFile(death, formatDeath(name, join(directory, 'died')))
    const server = await startServer(t, { env: { NODE_OPTIONS: `--import ${death}` } })
    const authToken = await askToken(server)
    const entries: Entry[] = [['auth_token', authToken], ['f', Buffer.from('one'), 'a.wav'], ['f', Buffer.from('two'), 'b.wav']]
    assert.equal((await submitForm(server, entries)).status, 500)
    const names = (await listProject(server.basedir, 'study')).map((stored) => stored.replace(/^.*Z-/, ''))
    assert.deepEqual(names, ['a.wav', 'b.wav'], 'as after a crash: completed from its note')
    assert.equal((await checkReceipts(server.basedir, 'study')).length, 1)
    assert.deepEqual(await listStaged(server.basedir), [])
    await checkKept(server.basedir, await submitForm(server, entries))
    assert.equal((await checkReceipts(server.basedir, 'study')).length, 2)
    assert.deepEqual(await listStaged(server.basedir), [])
    assert.equal(await server.stop(), 0)
  })
}

test('a server whose program is replaced before the first submission goes on', async (t) => {
  const program = join(await temporaryDirectory(t), 'program')
  await cp(dirname(PROGRAM), join(program, 'dist'), { recursive: true })
  await cp(join(dirname(PROGRAM), '..', 'package.json'), join(program, 'package.json'))
  const server = await startServer(t, { program: join(program, 'dist', 'serve.js') })
  await rm(program, { recursive: true })
  await checkKept(server.basedir, await submitForm(server, [['auth_token', await askToken(server)], ['f', Buffer.from('one'), 'a.wav']]))
})

test('a thread that cannot begin is told to whoever starts the server', async () => {
  const publishing = new PublishingThread({} as PublishingParts, nothingLeft)
  await assert.rejects(publishing.begin(), { code: 'ERR_INVALID_ARG_TYPE' })
  await publishing.close()
})
