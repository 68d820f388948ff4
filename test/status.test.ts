import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { askToken, listFiles, runProgram, startServer, submitForm, temporaryDirectory } from './harness.ts'
import { activityUpload, answer, finalZip, makeWav, openApp, send, slice } from './web-app.ts'

const SLICE = 5000
const status = (basedir: string, ...args: string[]) => runProgram(['status', '--basedir', basedir, ...args])

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

  const before = await listFiles(server.basedir)
  const { status: code, stdout, stderr } = status(server.basedir, 'study', '--json')
  assert.equal(code, 0, stderr)
  const [project] = JSON.parse(stdout).projects
  await t.test('it counts sessions, participants and submissions', () => {
    assert.deepEqual(
      [project.sessions, project.complete, project.incomplete, project.participants, project.messages, project.submissions],
      [3, 1, 2, 3, 1, before.filter((path) => path.startsWith('uploads/responses/')).length],
    )
    assert.deepEqual(Object.values(project.per_day), [project.submissions])
  })
  await t.test('it names the slices and the recordings that are missing', () => {
    const missing = new Map(project.attention.map((each: { session: string; missing: string[] }) => [each.session, each.missing]))
    assert.match(String(missing.get(lost.id)), /^slices 1-2 of upload /)
    assert.deepEqual(missing.get(silent.id), [`recording ${name}`])
  })
  await t.test('it says whether a participant has arrived', () => {
    for (const [participant, expected] of [['anna', 0], ['ben', 0], ['carla', 0], ['dora', 1]] as const) {
      const told = status(server.basedir, 'study', '--participant', participant)
      assert.equal(told.status, expected, told.stdout)
      assert.match(told.stdout, expected === 0 ? /last arrival/ : /^Nothing of dora has arrived in study\.$/m)
      assert.equal(JSON.parse(status(server.basedir, 'study', '--participant', participant, '--json').stdout).arrived, expected === 0)
    }
  })
  await t.test('it prints a table and a bar for each day', () => {
    const { stdout: text } = status(server.basedir)
    assert.match(text, /^project +sessions +complete +incomplete/)
    assert.match(text, /^study +3 +1 +2 +3 +\d+ /m)
    assert.match(text, /^ {2}\d{4}-\d\d-\d\d #{40} \d+$/m)
    assert.match(text, /^ {6}missing: slices 1-2 of upload [0-9a-f-]{36}$/m)
  })
  await t.test('it changes nothing', async () => {
    assert.deepEqual(await listFiles(server.basedir), before)
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
  const [project] = JSON.parse(status(basedir, '--json').stdout).projects
  assert.deepEqual([project.sessions, project.complete, project.participants, project.messages], [1, 1, 1, 1])
  assert.deepEqual(project.per_day, { '2024-01-01': 1, '2024-01-02': 1 })
})

const mistakes = [
  { name: 'a participant without a project', args: ['--participant', 'x'], says: /--participant needs a project/ },
  { name: 'an unknown flag', args: ['--fix'], says: /--fix/ },
]
for (const { name, args, says } of mistakes) {
  test(`${name} is a mistake`, async (t) => {
    const { status: code, stderr } = status(await temporaryDirectory(t), ...args)
    assert.equal(code, 2)
    assert.match(stderr, says)
  })
}
