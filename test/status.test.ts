import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { runCommand } from './commanded.ts'
import { askToken, listData, runProgram, startServer, submitForm, temporaryDirectory } from './harness.ts'
import { sha256Of } from './sha256.ts'
import { activityUpload, answer, finalZip, makeWav, openApp, send, slice } from './web-app.ts'

const SLICE = 5000
const status = (basedir: string, ...args: string[]) => runCommand(['status', '--basedir', basedir, ...args])

test('status tells what has arrived and what is missing, while the server runs', async (t) => {
  const server = await startServer(t)
  const tokens = { anna: await askToken(server, { participant_id: 'anna' }), nobody: await askToken(server) }

  const whole = openApp('anna')
  answer(whole, 'voice', { say: makeWav(8000), mood: 3 })
  await send(server, tokens.anna, [activityUpload(whole, 0)])
  await send(server, tokens.anna, slice(finalZip(whole), SLICE))

  const lost = openApp('ben')
  answer(lost, 'voice', { say: makeWav(8000) })
  await send(server, tokens.nobody, [activityUpload(lost, 0)])
  const slices = slice(finalZip(lost), SLICE)
  await send(server, tokens.nobody, slices.filter((_, index) => index !== 1 && index !== 2))

  const silent = openApp()
  const { given } = answer(silent, 'voice', { say: makeWav(8000), record_id: 'carla' })
  const name = given[0]?.recording?.name ?? ''
  await send(server, tokens.nobody, slice(finalZip(silent, { without: [name] }), SLICE))
  await submitForm(server, [['responses', '[1]'], ['auth_token', tokens.nobody]])

  const before = await listData(server.basedir)
  const { status: code, stdout, stderr } = runProgram(['status', '--basedir', server.basedir, 'study', '--json'])
  assert.equal(code, 0, stderr)
  const [project] = JSON.parse(stdout).projects
  await t.test('it counts sessions, participants and submissions', async () => {
    assert.deepEqual(
      [project.sessions, project.complete, project.incomplete, project.participants, project.messages, project.submissions],
      [3, 1, 2, 3, 1, before.filter((path) => path.startsWith('uploads/responses/')).length],
    )
    assert.deepEqual(Object.values(project.per_day), [project.submissions])
  })
  await t.test('it names the slices and the recordings that are missing', async () => {
    const missing = new Map(project.attention.map((each: { session: string; missing: string[] }) => [each.session, each.missing]))
    assert.match(String(missing.get(lost.id)), /^slices 1-2 of upload /)
    assert.deepEqual(missing.get(silent.id), [`recording ${name}`])
  })
  await t.test('it says whether a participant has arrived', async () => {
    for (const [participant, expected] of [['anna', 0], ['ben', 0], ['carla', 0], ['dora', 1]] as const) {
      const told = await status(server.basedir, 'study', '--participant', participant)
      assert.equal(told.status, expected, told.stdout)
      assert.match(told.stdout, expected === 0 ? /last arrival/ : /^Nothing of dora has arrived in study\.$/m)
      assert.equal(JSON.parse((await status(server.basedir, 'study', '--participant', participant, '--json')).stdout).arrived, expected === 0)
    }
  })
  await t.test('it prints a table and a bar for each day', async () => {
    const { stdout: text } = await status(server.basedir)
    assert.match(text, /^project +sessions +complete +incomplete/)
    assert.match(text, /^study +3 +1 +2 +3 +\d+ /m)
    assert.match(text, /^ {2}\d{4}-\d\d-\d\d #{40} \d+$/m)
    assert.match(text, /^ {6}missing: slices 1-2 of upload [0-9a-f-]{36}$/m)
  })
  await t.test('it changes nothing', async () => {
    assert.deepEqual(await listData(server.basedir), before)
  })
})

test('files of the seed server are counted, without any receipt', async (t) => {
  const basedir = await temporaryDirectory(t)
  const directory = join(basedir, 'uploads', 'responses', 'study')
  await mkdir(directory, { recursive: true })
  const sitting = openApp('anna')
  answer(sitting, 'voice', { say: makeWav(8000) })
  for (const { name, content } of slice(finalZip(sitting), SLICE)) await writeFile(join(directory, `20240101T000000.000000Z-${name}`), content)
  await writeFile(join(directory, '20240102T000000.000000Z-messages.json'), '[]')
  const [project] = JSON.parse((await status(basedir, '--json')).stdout).projects
  assert.deepEqual([project.sessions, project.complete, project.participants, project.messages], [1, 1, 1, 1])
  assert.deepEqual(project.per_day, { '2024-01-01': 1, '2024-01-02': 1 })
})

test('whether a participant has arrived is told of everything that names one', async (t) => {
  const server = await startServer(t)
  const [clinic, token] = [await askToken(server), await askToken(server, { participant_id: 'by-token' })]
  const sitting = (uid: string, items: Readonly<Record<string, unknown>>) => {
    const opened = openApp(uid)
    answer(opened, 'form', items)
    return opened
  }
  const named = sitting('by-uid', { record_id: 'by-answer' })
  await send(server, token, slice(finalZip(named)))
  // The same upload with another token: each of the three is one that may have sent it.
  const again = finalZip(sitting('', { mood: 1 }))
  await send(server, token, slice(again))
  await send(server, await askToken(server, { participant_id: 'by-repeat' }), slice(again))
  const elements = (participant: string) => JSON.stringify(sitting('', { participant_id: participant }).activities[0]?.given.flatMap((given) => given.elements))
  await submitForm(server, [['responses', elements('by-message')], ['auth_token', clinic]])
  await submitForm(server, [['responses', elements('by-other-message')], ['auth_token', token]])
  await submitForm(server, [['file', Buffer.from('note'), 'notes.txt'], ['auth_token', await askToken(server, { participant_id: 'by-file' })]])
  await submitForm(server, [['file', Buffer.from('sound'), 'interview-by-name.wav'], ['auth_token', clinic]])
  await submitForm(server, [['responses', '[{"note":"by-text"}]'], ['auth_token', token]])

  const cases: { participant: string; says: RegExp; counts: readonly [sessions: number, messages: number, files: number, mentions: number] }[] = [
    { participant: 'by-token', says: /^ {2}by-token {2}session /m, counts: [2, 2, 0, 0] },
    { participant: 'by-uid', says: /conflict: token: by-token; file name: by-uid; answer: by-answer$/m, counts: [1, 0, 0, 0] },
    { participant: 'by-answer', says: /conflict: token: by-token; file name: by-uid; answer: by-answer$/m, counts: [1, 0, 0, 0] },
    { participant: 'by-repeat', says: /conflict: token: by-token, by-repeat$/m, counts: [1, 0, 0, 0] },
    { participant: 'by-message', says: /^ {2}by-message {2}messages \S+-messages\.json, /m, counts: [0, 1, 0, 0] },
    { participant: 'by-other-message', says: /^ {6}conflict: token: by-token; answer: by-other-message$/m, counts: [0, 1, 0, 0] },
    { participant: 'by-file', says: /^ {2}by-file {2}other file \S+-notes\.txt, /m, counts: [0, 0, 1, 0] },
    { participant: 'by-name', says: /^ {2}\(unassigned\) {2}file \S+-interview-by-name\.wav, .*\n {6}names by-name, /m, counts: [0, 0, 0, 1] },
    { participant: 'by-text', says: /^ {2}by-token {2}file \S+-messages\.json, .*\n {6}names by-text, /m, counts: [0, 0, 0, 1] },
    { participant: 'nobody', says: /^Nothing of nobody has arrived in study\.$/m, counts: [0, 0, 0, 0] },
  ]
  for (const { participant, says, counts } of cases) {
    await t.test(participant, async () => {
      const told = await status(server.basedir, 'study', '--participant', participant)
      assert.match(told.stdout, says)
      const json = JSON.parse((await status(server.basedir, 'study', '--participant', participant, '--json')).stdout)
      assert.deepEqual([json.sessions.length, json.messages.length, json.files.length, json.mentions.length], counts)
      const hasArrived = counts.some((count) => count > 0)
      assert.deepEqual([told.status, json.arrived], [hasArrived ? 0 : 1, hasArrived])
    })
  }
})

test('a receipt that says that files came again names its own participant too', async (t) => {
  const basedir = await temporaryDirectory(t)
  const [upload] = slice(finalZip(((sitting) => (answer(sitting, 'form', { mood: 1 }), sitting))(openApp(''))))
  const { name, content } = upload ?? { name: '', content: Buffer.alloc(0) }
  const [responses, receipts] = [join(basedir, 'uploads', 'responses', 'study'), join(basedir, 'receipts', 'study')]
  for (const directory of [responses, receipts]) await mkdir(directory, { recursive: true })
  const stored = `20240101T000000.000000Z-${name}`
  await writeFile(join(responses, stored), content)
  const files = [{ field: 'file', name, stored_as: stored, bytes: content.length, sha256: sha256Of(content) }]
  const first = { id: 'a'.repeat(32), received_at: '2024-01-01T00:00:00.000000Z', project: 'study', token_sha256: '1', participant: 'anna', fields: [], files, previous: null }
  const line = JSON.stringify(first)
  const second = { ...first, id: 'b'.repeat(32), received_at: '2024-01-02T00:00:00.000000Z', token_sha256: '2', participant: 'ben', files: [], repeats: first.id }
  const previous = sha256Of(line)
  await writeFile(join(receipts, '20240101T000000.000000Z-00000000.ndjson'), `${line}\n${JSON.stringify({ ...second, previous })}\n`)
  for (const participant of ['anna', 'ben']) {
    const { status: code, stdout } = await status(basedir, 'study', '--participant', participant, '--json')
    assert.equal(code, 0)
    assert.deepEqual(JSON.parse(stdout).sessions[0].conflicts, ['token: anna, ben'])
  }
  const [project] = JSON.parse((await status(basedir, '--json')).stdout).projects
  assert.deepEqual([project.files, project.submissions, project.bytes], [1, 2, content.length])
})

const mistakes = [
  { name: 'a participant without a project', args: ['--participant', 'x'], says: /--participant needs a project/ },
  { name: 'a participant without a name', args: ['study', '--participant', ''], says: /^--participant is empty: name a participant, or leave it out\.$/m },
  { name: 'an unknown flag', args: ['--fix'], says: /--fix/ },
]
for (const { name, args, says } of mistakes) {
  test(`${name} is a mistake`, async (t) => {
    const { status: code, stderr } = await status(await temporaryDirectory(t), ...args)
    assert.equal(code, 2)
    assert.match(stderr, says)
  })
}
