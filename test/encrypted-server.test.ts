import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { runCommand } from './commanded.ts'
import { makeIdentity } from './encrypted.ts'
import { issueToken, settingsFor } from './encrypting.ts'
import { check, runExport } from './exported.ts'
import { listFiles, runProgram, startServer, submitForm, temporaryDirectory, type Entry } from './harness.ts'
import { activityUpload, answer, finalZip, makeWav, openApp, send, slice, type Sent } from './web-app.ts'

const SLICE = 200_000
const STAMP = /\d{8}T\d{6}\.\d{6}Z|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/g

/** What one participant and some other program send: the same to each server, in two halves. */
function makeUploads(): { files: readonly (readonly Sent[])[]; forms: readonly (readonly Entry[])[] } {
  const sitting = openApp('anna')
  answer(sitting, 'voice', { say: makeWav(300_000), mood: 3 })
  const first = activityUpload(sitting, 0)
  answer(sitting, 'mood', { today: 'good' })
  const slices = slice(finalZip(sitting, { method: 'stored' }), SLICE)
  const note: Entry[] = [['file', Buffer.from('a note'), 'notes.txt'], ['comment', 'a word'], ['long', 'a long word '.repeat(10_000)]]
  return {
    files: [[first], slices.slice(0, 2), slices.slice(2), [activityUpload(sitting, 1)]],
    forms: [note, [['responses', '[{"mood": 1.0}]'], ['comment', 'another']]],
  }
}

/** A tree without the moments when things arrived, which are another for each server. */
async function readTree(out: string): Promise<Record<string, string>> {
  const tree: Record<string, string> = {}
  for (const path of await listFiles(out)) {
    if (path === '.export.json' || path === 'SHA256SUMS') continue
    tree[path.replace(STAMP, 'STAMP')] = (await readFile(join(out, path), 'latin1')).replace(STAMP, 'STAMP')
  }
  return tree
}

test('what a server stores encrypted is read with the key, and exported as what it stores plain', async (t) => {
  const root = await temporaryDirectory(t)
  const identity = await makeIdentity(join(root, 'key'))
  const uploads = makeUploads()
  const key = ['--identity', join(root, 'key')]

  /** Sends everything to a server, which is started again in the middle with other settings. */
  const collect = async (t: TestContext, halves: readonly [env: Record<string, string>, env: Record<string, string>]): Promise<string> => {
    const basedir = await temporaryDirectory(t)
    for (const [half, env] of halves.entries()) {
      const server = await startServer(t, { basedir, env })
      const authToken = await issueToken(basedir)
      for (const files of uploads.files.slice(2 * half, 2 * half + 2)) for (const file of files) await send(server, authToken, [file])
      for (const form of uploads.forms.slice(half, half + 1)) assert.equal((await submitForm(server, [...form, ['auth_token', authToken]])).status, 200)
      await server.stop()
    }
    return basedir
  }

  const plain = join(root, 'plain')
  assert.equal((await runExport(await collect(t, [{}, {}]), plain)).status, 0)
  const expected = await readTree(plain)
  const cases = [
    { name: 'all of it is encrypted', halves: [settingsFor([identity]), settingsFor([identity])] },
    { name: 'encryption began in the middle of an upload', halves: [{}, settingsFor([identity])] },
    { name: 'it ended in the middle of an upload', halves: [settingsFor([identity]), {}] },
  ] as const
  for (const [index, { name, halves }] of cases.entries()) {
    await t.test(`where ${name}`, async (t) => {
      const basedir = await collect(t, halves)
      const out = join(root, `out-${index}`)
      const { status, stdout, stderr } = await runExport(basedir, out, ...key)
      assert.equal(status, 0, stdout + stderr)
      assert.deepEqual((await check(out)).sessions.map((row) => row['state']), ['complete'])
      assert.deepEqual(await readTree(out), expected)

      const verified = await runCommand(['verify', '--basedir', basedir, ...key])
      assert.equal(verified.status, 0, verified.stdout)
      assert.match(verified.stdout, /; \d+ encrypted files opened; nothing missing or changed$/m)
      const [project] = JSON.parse((await runCommand(['status', '--basedir', basedir, '--json'])).stdout).projects
      assert.deepEqual([project.incomplete, project.complete], [0, 0])
      assert.ok(project.unknown > 0, 'without a key it is neither complete nor incomplete')
      assert.equal(JSON.parse((await runCommand(['status', '--basedir', basedir, '--json', ...key])).stdout).projects[0].complete, 1)
    })
  }
  await t.test('the lengths of slices and the zip at their end are told without a key', async (t) => {
    const basedir = await collect(t, cases[0].halves)
    const { sessions } = JSON.parse(runProgram(['status', 'study', '--participant', 'anna', '--basedir', basedir, '--json']).stdout)
    const [first] = sessions
    assert.deepEqual([first.complete, first.missing, first.unknown], [null, [], []])
    assert.deepEqual(first.encrypted, { uploads: 2, entries: 4, activities: 2 })
  })
})
