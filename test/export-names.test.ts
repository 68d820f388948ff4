import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { exportAndCheck } from './exported.ts'
import { askToken, listFiles, needs, startServer, temporaryDirectory } from './harness.ts'
import { activityUpload, answer, finalZip, makeWav, openApp, send, slice } from './web-app.ts'

const UUID = '0f6c1b1e-5a3b-4c1d-9e2f-00112233aabb'
const LONG = 'x'.repeat(300)

// Each session has an upload that is set aside, so that its name stands in every part of the tree.
const sessions = [
  ...['reasons.csv', 'sessions', 'SHA256SUMS', 'README', '.export.json', '.unfinished', '..', 'con'].map((id) => ({ participant: 'anna', id })),
  ...[LONG, `${LONG}y`, '名'.repeat(100)].map((id) => ({ participant: 'anna', id })),
  ...['case', 'Case', 'Zoë', 'Zoe\u0308'].map((id) => ({ participant: 'anna', id })),
  ...['Ben', 'ben', 'Jose\u0301', 'José', 'responses.csv', 'z'.repeat(190)].map((participant) => ({ participant, id: `of ${participant}` })),
]

test('whatever names participants, sessions and items have, all is exported, apart on every disk', async (t) => {
  if (!needs(t, 'python3', 'python3') || !needs(t, 'unzip', 'unzip')) return
  const server = await startServer(t)
  for (const { participant, id } of sessions) {
    const authToken = await askToken(server, { participant_id: participant })
    const sitting = { ...openApp(), id }
    const { given } = answer(sitting, 'voice', { say: makeWav(800, 16_000, 1), Say: makeWav(800, 16_000, 2), [LONG]: 'long' })
    const renamed = given.map((each, index) => rename(each, ['say', 'Say'][index]))
    sitting.activities.splice(0, 1, { name: 'voice', given: renamed })
    await send(server, authToken, [activityUpload(sitting, 0), ...slice(finalZip(sitting), 1000).slice(1, 2)])
  }
  const out = join(await temporaryDirectory(t), 'out')
  const exported = await exportAndCheck(server.basedir, out)
  assert.deepEqual(exported.sessions.map((row) => [row['participant'], row['session']]), sessions.map(({ participant, id }) => [participant, id]))
  assert.deepEqual(new Set(exported.sessions.map((row) => row['state'])), new Set(['incomplete']))
  for (const { id } of sessions) {
    const asides = exported.incomplete.filter((row) => row['session'] === id)
    assert.deepEqual(asides.map((row) => /^incomplete\/sessions\/[^/]+\/[^/]+$/.test(row['file'] ?? '')), [true], id)
    const recordings = exported.recordings.filter((row) => row['session'] === id).map((row) => row['file'] ?? '')
    assert.equal(recordings.length, 2, id)
    const contents = await Promise.all(recordings.map((path) => readFile(join(out, path))))
    assert.ok(!contents[0]?.equals(contents[1] ?? Buffer.alloc(0)), 'two recordings stay two')
  }
  const paths = exported.files.map((path) => path.normalize('NFC').toLowerCase())
  assert.equal(new Set(paths).size, paths.length, 'no two files are one to a disk that does not tell capitals apart')
  const folders = (files: readonly string[]) => new Set(files.flatMap((path) => path.split('/').slice(0, -1).map((_, depth, all) => all.slice(0, depth + 1).join('/'))))
  assert.equal(folders(paths).size, folders(exported.files).size, 'nor two directories')
  for (const path of exported.files) assert.ok(path.split('/').every((each) => Buffer.byteLength(each) <= 180), path)

  await t.test('an export that is completed has the same names', async () => {
    await exportAndCheck(server.basedir, out, '--resume')
    assert.deepEqual(await listFiles(out), exported.files)
  })
  await t.test('a selection has the same names', async () => {
    const one = await exportAndCheck(server.basedir, join(await temporaryDirectory(t), 'one'), '--participant', 'Ben')
    const all = new Set(exported.files)
    assert.equal(one.sessions.length, 1)
    assert.deepEqual(one.files.filter((path) => !all.has(path) && path !== 'unassigned/reasons.csv'), [])
  })
})

// The names of recordings differ by their capitals alone.
function rename<Given extends { elements: readonly object[]; recording: { name: string; content: Buffer } | undefined }>(given: Given, item: string | undefined): Given {
  if (given.recording === undefined) return given
  const name = `${item}-${UUID}.wav`
  const elements = JSON.parse(JSON.stringify(given.elements).replaceAll(given.recording.name, name)) as object[]
  return { ...given, elements, recording: { ...given.recording, name } }
}
