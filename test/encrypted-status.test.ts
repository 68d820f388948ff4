import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { collect } from '../lib/dataset/collection.ts'
import { findIncompleteUploads } from '../lib/dataset/recent-uploads.ts'
import { summariseSession, type SessionSummary } from '../lib/dataset/summary.ts'
import { Layout } from '../lib/store/layout.ts'
import { runCommand } from './commanded.ts'
import { copyEncrypted, makeIdentity, type Choose } from './encrypted.ts'
import { askToken, startServer, submitForm, temporaryDirectory } from './harness.ts'
import { activityUpload, answer, finalZip, makeWav, openApp, send, slice, type Sitting } from './web-app.ts'
import { extraField } from './zip-writer.ts'

const SLICE = 5000

async function ask(basedir: string, ...args: string[]) {
  const { status, stdout, stderr } = await runCommand(['status', '--basedir', basedir, ...args])
  return { status, stdout, stderr }
}

const summaryOf = async (basedir: string, ...args: string[]) => JSON.parse((await ask(basedir, '--json', ...args)).stdout).projects[0]

async function sessionsOf(basedir: string, participant: string): Promise<SessionSummary[]> {
  return JSON.parse((await ask(basedir, 'study', '--participant', participant, '--json')).stdout).sessions
}

async function tell(basedir: string): Promise<SessionSummary[]> {
  const { sessions, sealed } = await collect(new Layout(basedir), 'study')
  return [...sessions, ...sealed].map(summariseSession)
}

function sit(uid: string, frames = 8000): Sitting {
  const sitting = openApp(uid)
  answer(sitting, 'voice', { say: makeWav(frames), mood: 3 })
  return sitting
}

test('status tells without a key what receipts and names tell, and what they do not', async (t) => {
  const server = await startServer(t)
  const root = await temporaryDirectory(t)
  const identity = await makeIdentity(join(root, 'key'))
  const token = await askToken(server)
  const slicesOf = (sitting: Sitting) => slice(finalZip(sitting, { method: 'stored' }), SLICE)

  const whole = sit('whole')
  answer(whole, 'mood', { today: 1, tomorrow: 2 })
  await send(server, token, [activityUpload(whole, 0), activityUpload(whole, 1)])
  await send(server, token, slicesOf(whole))
  const [gap, cut, only] = [sit('gap'), sit('cut'), sit('only')]
  await send(server, token, [activityUpload(gap, 0)])
  await send(server, token, slicesOf(gap).toSpliced(1, 1))
  await send(server, token, slicesOf(cut).slice(0, 2))
  await send(server, token, [activityUpload(only, 0)])
  const twice = sit('twice')
  await send(server, token, [activityUpload(twice, 0)])
  await send(server, token, slicesOf(twice))
  await send(server, token, slicesOf(sit('twice')))
  const many = openApp('many')
  const items = Array.from({ length: 8 }, (_, index) => [`item${index}`, makeWav(10, 16_000, index)])
  answer(many, 'form', Object.fromEntries(items))
  await send(server, token, slice(finalZip(many, { central: { extra: extraField(0xcafe, Buffer.alloc(8000)) } }), 1_000_000))
  await send(server, await askToken(server, { participant_id: 'by-token' }), slicesOf(sit('')))
  await submitForm(server, [['responses', JSON.stringify(whole.activities.flatMap(({ given }) => given.flatMap(({ elements }) => elements)))], ['auth_token', token]])
  await server.stop()

  const copy = (name: string, choose: Choose) => copyEncrypted(server.basedir, join(root, name), choose)
  const all = await copy('all', () => [identity])

  const cases: { participant: string; complete: readonly (boolean | null)[]; missing?: RegExp; unknown?: RegExp }[] = [
    { participant: 'whole', complete: [null] },
    { participant: 'gap', complete: [false], missing: /^slice 1 of upload [0-9a-f-]{36}$/ },
    { participant: 'cut', complete: [null], unknown: /^whether slices follow the last one that has arrived: upload [0-9a-f-]{36}$/ },
    { participant: 'only', complete: [false], missing: /^the upload at the end of the session$/ },
    { participant: 'twice', complete: [null, null] },
    { participant: 'many', complete: [null], unknown: /^whether (its zip is whole|slices follow)/ },
    { participant: 'by-token', complete: [null] },
  ]
  for (const { participant, complete, missing, unknown } of cases) {
    await t.test(`of ${participant}`, async () => {
      const sessions = await sessionsOf(all, participant)
      assert.deepEqual(sessions.map((session) => session.complete), complete)
      const [first] = sessions
      assert.match(first?.missing.join('\n') ?? '', missing ?? /^$/)
      assert.match(first?.unknown.join('\n') ?? '', unknown ?? /^$/)
      assert.equal(first?.participant, participant)
    })
  }
  await t.test('it counts the entries of a zip and the files of answers among them', async () => {
    const [first] = await sessionsOf(all, 'whole')
    assert.deepEqual(first?.encrypted, { uploads: 3, entries: 4, activities: 2 }) // a folder, two activities, a recording
  })
  await t.test('the summary says how many sessions are not known, and why', async () => {
    const { sessions, complete, incomplete, unknown, participants, encrypted_files: files, without_key: why, bytes } = await summaryOf(all)
    assert.deepEqual([sessions, complete, incomplete, unknown, participants], [8, 0, 2, 6, 7])
    assert.equal(bytes, (await summaryOf(server.basedir)).bytes, 'as they were sent')
    assert.equal(files, (await summaryOf(server.basedir)).files)
    assert.match(why, /^What encrypted files hold is not known without a key: /)
    assert.equal((await summaryOf(server.basedir)).without_key, null)
    assert.equal((await summaryOf(server.basedir)).unknown, 0)
  })
  await t.test('it prints that', async () => {
    const { stdout } = await ask(all)
    assert.match(stdout, /^project +sessions +complete +incomplete +unknown +participants/)
    assert.match(stdout, /^study +8 +0 +2 +6 +7 /m)
    assert.match(stdout, /^ {2}What encrypted files hold is not known without a key: /m)
    assert.match(stdout, /^ {2}cut {2}session upload-[0-9a-f-]{36} {2}not known to be complete, /m)
    assert.match(stdout, /^ {6}not known without a key: whether slices follow /m)
    assert.doesNotMatch(stdout, /session upload-\S+ {2}complete/)
    assert.match((await ask(all, 'study', '--participant', 'whole')).stdout, /^ {2}whole {2}session upload-[0-9a-f-]{36} {2}all slices are there, encrypted, 4 entries in its zip, /m)
    assert.doesNotMatch((await ask(server.basedir)).stdout, /unknown|without a key/)
  })
  await t.test('the server is alarmed by the same uploads', async () => {
    const later = Date.now() + 2 * 3_600_000
    const [open, sealed] = await Promise.all([server.basedir, all].map((basedir) => findIncompleteUploads(new Layout(basedir), 'study', later)))
    assert.equal(open?.length, 2)
    assert.deepEqual(sealed, open)
  })
  await t.test('nobody is said not to have arrived without saying that a key may tell otherwise', async () => {
    const { status, stdout } = await ask(all, 'study', '--participant', 'nobody')
    assert.equal(status, 1)
    assert.match(stdout, /^Nothing of nobody has arrived in study, as far as is known without a key\.\nWhat encrypted files hold/)
  })
  await t.test('nor with a key that opens nothing', async () => {
    await makeIdentity(join(root, 'other key'))
    const { status, stdout } = await ask(all, 'study', '--participant', 'nobody', '--identity', join(root, 'other key'))
    assert.equal(status, 1)
    assert.match(stdout, /^Nothing of nobody has arrived in study, as far as is known without a key\.\nWhat \d+ of the encrypted files hold is not known: no identity that was given opens them\.\n$/)
    assert.match((await summaryOf(all, '--identity', join(root, 'other key'))).without_key, /^What \d+ of the encrypted files hold is not known/)
  })
  await t.test('with the key it tells what it tells of plain files', async () => {
    for (const args of [[], ['study', '--participant', 'whole']]) {
      const [open, sealed] = [await ask(server.basedir, ...args, '--json'), await ask(all, ...args, '--json', '--identity', join(root, 'key'))]
      const normal = (text: string) => text.replaceAll('.age"', '"').replace(/"(basedir|encrypted_files)":("[^"]*"|\d+)/g, '')
      assert.equal(normal(sealed.stdout), normal(open.stdout))
    }
  })

  const truth = await tell(server.basedir)
  const mixtures: { name: string; choose: Choose }[] = [
    { name: 'every second file', choose: (_, index) => (index % 2 === 0 ? [identity] : undefined) },
    { name: 'the first half', choose: (_, index) => (index < 12 ? [identity] : undefined) },
    { name: 'the second half', choose: (_, index) => (index < 12 ? undefined : [identity]) },
    { name: 'what was sent after activities', choose: ({ name }) => (name.includes('-activity') ? [identity] : undefined) },
    { name: 'what was sent at the end of sessions', choose: ({ name }) => (name.includes('-activity') ? undefined : [identity]) },
  ]
  for (const [index, { name, choose }] of mixtures.entries()) {
    await t.test(`it is never wrong where ${name} is encrypted`, async () => {
      const basedir = await copy(String(index), choose)
      const told = await tell(basedir)
      for (const { participant, missing } of cases) {
        const isComplete = truth.filter((session) => session.participant === participant).every((session) => session.complete === true)
        for (const session of told.filter((each) => each.participant === participant)) {
          if (session.complete === true) assert.ok(isComplete, `${participant} is not complete`)
          if (session.complete === false) assert.ok(!isComplete, `${participant} is complete, and is said to lack ${session.missing.join()}`)
          for (const each of session.missing) assert.match(each, missing ?? (participant === 'cut' ? /^slices 2 and what follows of upload |^the upload at the end/ : /^nothing$/), participant)
        }
      }
    })
  }
})
