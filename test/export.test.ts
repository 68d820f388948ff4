import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { exportAndCheck, type Exported, type Row } from './exported.ts'
import { askToken, listData, needs, startServer, submitForm, temporaryDirectory, type Running } from './harness.ts'
import { sha256Of } from './sha256.ts'
import { activityUpload, answer, finalZip, makeWav, openApp, send, slice, type Sent, type Sitting } from './web-app.ts'
import { writeZip } from './zip-writer.ts'

const SLICE = 3000
const DOTS = '..dots' // no name of a directory
const doubtful = JSON.stringify([{ '@type': 'reproschema:Response', '@id': 'a', isAbout: 'items/record_id', value: 'another' }])

/** Where a case sends its session, and with what. */
interface Sender {
  readonly server: Running
  /** Asks for a token of its own; without a participant where none is named. */
  readonly token: (participant?: string) => Promise<string>
  readonly send: (authToken: string, files: readonly Sent[]) => Promise<unknown>
  /** The server as it is after a restart: it does not know any more what it has stored. */
  readonly restart: () => Promise<void>
}

interface Case {
  readonly name: string
  /** Sends something; what it gives is what `expect` compares with. */
  readonly act: (sender: Sender) => Promise<Sitting>
  readonly expect: (exported: Exported, sitting: Sitting, row: Row | undefined) => void | Promise<void>
}

const fileOf = (uuid: string) => uuid.split('/').at(-1) ?? ''

async function holdsRecordings({ out, recordings }: Exported, sitting: Sitting): Promise<void> {
  const given = sitting.activities.flatMap((activity) => activity.given.flatMap(({ recording }) => recording ?? []))
  const rows = recordings.filter((row) => row['session'] === sitting.id)
  assert.deepEqual(rows.map((row) => fileOf(row['file'] ?? '')).toSorted(), given.map(({ name }) => name).toSorted())
  for (const { name, content } of given) {
    const row = rows.find((each) => each['file']?.endsWith(name))
    assert.ok(content.equals(await readFile(join(out, row?.['file'] ?? ''))), name)
  }
}

const cases: Case[] = [
  {
    name: 'a session of more than eleven slices, in parallel and in any order, is joined byte for byte',
    act: async ({ token, send }) => {
      const authToken = await token('anna')
      const sitting = openApp('anna')
      answer(sitting, 'voice', { say: makeWav(16_000), again: makeWav(8000), mood: 3 })
      await send(authToken, [activityUpload(sitting, 0)])
      answer(sitting, 'mood', { today: 'good', many: [1, 2], nothing: null })
      await send(authToken, [activityUpload(sitting, 1)])
      const slices = slice(finalZip(sitting, { method: 'stored' }), SLICE)
      assert.ok(slices.length > 11)
      await send(authToken, slices.toReversed())
      return sitting
    },
    expect: async (exported, sitting, row) => {
      assert.equal(row?.['state'], 'complete')
      assert.equal(row?.['participant'], 'anna')
      const survey = exported.surveys['anna']?.[sitting.id] ?? {}
      assert.deepEqual(Object.keys(survey), ['activity_0.jsonld', 'activity_1.jsonld'])
      assert.deepEqual(survey['activity_1.jsonld'], { today: 'good', many: [1, 2], nothing: null })
      await holdsRecordings(exported, sitting)
      assert.ok(exported.files.includes(`archives/${sitting.id}.zip`))
      assert.equal(exported.files.filter((path) => path.startsWith(`archives/${sitting.id}-`)).length, 2)
      const responses = exported.responses.filter((each) => each['session'] === sitting.id)
      assert.deepEqual(responses.map((each) => each['item']), ['say', 'again', 'mood', 'today', 'many', 'nothing'])
      assert.deepEqual(responses.map((each) => each['value']).slice(2).map((value) => value?.replace(/\s/g, '')), ['3', 'good', '[1,2]', 'null'])
      assert.match(responses[0]?.['file'] ?? '', /^audio\/anna\//)
    },
  },
  ...(['first', 'middle', 'last'] as const).map((which): Case => ({
    name: `without its ${which} slice a session is incomplete, and what came after each activity is taken`,
    act: async ({ token, send }) => {
      const authToken = await token(`lost-${which}`)
      const sitting = openApp()
      answer(sitting, 'voice', { say: makeWav(8000) })
      await send(authToken, [activityUpload(sitting, 0)])
      const slices = slice(finalZip(sitting), SLICE)
      const lost = { first: 0, middle: 2, last: slices.length - 1 }[which]
      await send(authToken, slices.toSpliced(lost, 1))
      return { ...sitting, uid: String(lost) }
    },
    expect: async (exported, sitting, row) => {
      assert.equal(row?.['state'], 'incomplete')
      const missing = which === 'last' ? `^slices ${sitting.uid} and what follows of upload ` : `^slice ${sitting.uid} of upload `
      assert.match(row?.['missing'] ?? '', new RegExp(missing))
      await holdsRecordings(exported, sitting)
      const aside = exported.incomplete.filter((each) => each['session'] === sitting.id)
      assert.ok(aside.length >= 3 && aside.every((each) => exported.files.includes(each['file'] ?? '')))
    },
  })),
  {
    name: 'bytes left over from another upload in front are cut off and kept',
    act: async ({ token, send }) => {
      const sitting = openApp()
      answer(sitting, 'voice', { say: makeWav(8000) })
      const { name, content } = finalZip(sitting)
      await send(await token('leftover'), slice({ name, content: Buffer.concat([content.subarray(0, SLICE + 100), content]) }, SLICE))
      return sitting
    },
    expect: async (exported, sitting, row) => {
      assert.equal(row?.['state'], 'complete')
      await holdsRecordings(exported, sitting)
      const [aside] = exported.incomplete.filter((each) => each['session'] === sitting.id)
      assert.equal((await readFile(join(exported.out, aside?.['file'] ?? ''))).length, SLICE + 100)
    },
  },
  {
    name: 'the same slice stored three times counts once',
    act: async ({ token, send, restart }) => {
      const authToken = await token('retry')
      const sitting = openApp()
      answer(sitting, 'voice', { say: makeWav(8000) })
      const slices = slice(finalZip(sitting), SLICE)
      await send(authToken, slices)
      for (let time = 0; time < 2; time++) {
        await restart()
        await send(authToken, slices.slice(1, 2))
      }
      return sitting
    },
    expect: async (exported, sitting, row) => {
      assert.equal(row?.['state'], 'complete')
      assert.equal(exported.files.filter((path) => path.startsWith(`incomplete/sessions/${sitting.id}`)).length, 0)
      await holdsRecordings(exported, sitting)
    },
  },
  {
    name: 'another content under the name of a slice is set aside',
    act: async ({ token, send }) => {
      const authToken = await token('other')
      const sitting = openApp()
      answer(sitting, 'voice', { say: makeWav(8000) })
      const slices = slice(finalZip(sitting), SLICE)
      await send(authToken, slices)
      await send(authToken, [{ name: slices[1]?.name ?? '', content: Buffer.alloc(SLICE, 7) }])
      return sitting
    },
    expect: (exported, sitting, row) => {
      assert.equal(row?.['state'], 'complete')
      const [aside] = exported.incomplete.filter((each) => each['session'] === sitting.id)
      assert.match(aside?.['reason'] ?? '', /another content already/)
    },
  },
  {
    name: 'two participants with one token are told apart by the names of their files',
    act: async ({ token, send }) => {
      const authToken = await token()
      const sittings = ['p-one', 'p-two'].map((uid) => openApp(uid))
      for (const sitting of sittings) answer(sitting, 'voice', { say: makeWav(8000) })
      await send(authToken, sittings.flatMap((sitting) => slice(finalZip(sitting), SLICE)))
      return sittings[1] ?? openApp()
    },
    expect: (exported, sitting, row) => {
      assert.equal(row?.['participant'], 'p-two')
      assert.equal(row?.['conflicts'], '')
      assert.deepEqual(Object.keys(exported.surveys['p-two'] ?? {}), [sitting.id])
      assert.equal(Object.keys(exported.surveys['p-one'] ?? {}).length, 1)
    },
  },
  {
    name: 'the token says who it is, and claims that contradict it are listed',
    act: async ({ token, send }) => {
      const sitting = openApp('uid-7')
      answer(sitting, 'form', { record_id: 'r-7' })
      await send(await token('token-7'), slice(finalZip(sitting), SLICE))
      return sitting
    },
    expect: (_, __, row) => {
      assert.equal(row?.['participant'], 'token-7')
      assert.equal(row?.['conflicts'], 'token: token-7; file name: uid-7; answer: r-7')
    },
  },
  {
    name: 'without token and uid the answer to record_id says who it is',
    act: async ({ token, send }) => {
      const sitting = openApp()
      answer(sitting, 'form', { record_id: 42 })
      await send(await token(), slice(finalZip(sitting), SLICE))
      return sitting
    },
    expect: (exported, sitting, row) => {
      assert.equal(row?.['participant'], '42')
      assert.ok(exported.surveys['42']?.[sitting.id])
    },
  },
  {
    name: 'where nothing says who it is a session is unassigned, with all that it has',
    act: async ({ token, send }) => {
      const sitting = openApp()
      answer(sitting, 'voice', { say: makeWav(8000) })
      await send(await token(), slice(finalZip(sitting), SLICE))
      return sitting
    },
    expect: async (exported, sitting, row) => {
      assert.equal(row?.['participant'], '')
      assert.ok(exported.files.includes(`unassigned/survey/${sitting.id}/activity_0.jsonld`))
      assert.ok(exported.unassigned.some((each) => each['session'] === sitting.id))
      await holdsRecordings(exported, sitting)
    },
  },
  {
    name: 'of a session that was left after an activity that activity is there',
    act: async ({ token, send }) => {
      const sitting = openApp('left')
      answer(sitting, 'voice', { say: makeWav(8000) })
      await send(await token(), [activityUpload(sitting, 0)])
      return sitting
    },
    expect: async (exported, sitting, row) => {
      assert.equal(row?.['missing'], 'the upload at the end of the session')
      assert.ok(exported.surveys['left']?.[sitting.id])
      await holdsRecordings(exported, sitting)
    },
  },
  {
    name: 'where the zip at the end is broken what came after each activity is taken',
    act: async ({ token, send }) => {
      const authToken = await token('broken')
      const sitting = openApp()
      answer(sitting, 'voice', { say: makeWav(8000) })
      await send(authToken, [activityUpload(sitting, 0)])
      const { name, content } = finalZip(sitting)
      await send(authToken, slice({ name, content: Buffer.concat([content.subarray(0, -400), Buffer.alloc(378), content.subarray(-22)]) }, SLICE))
      return sitting
    },
    expect: async (exported, sitting, row) => {
      assert.match(row?.['missing'] ?? '', /^upload .* cannot be read: /)
      await holdsRecordings(exported, sitting)
      assert.ok(exported.incomplete.some((each) => each['session'] === sitting.id && each['source']?.endsWith('.zip.000')))
    },
  },
  {
    name: 'a recording whose data are damaged is taken from the other upload, and the damaged archive is set aside',
    act: async ({ token, send }) => {
      const authToken = await token('damaged')
      const sitting = openApp()
      const { given } = answer(sitting, 'voice', { say: makeWav(8000) })
      await send(authToken, [activityUpload(sitting, 0)])
      const { name, content } = finalZip(sitting)
      const at = content.indexOf(given[0]?.recording?.content.subarray(1000, 1100) ?? '')
      content.fill(0, at, at + 50)
      await send(authToken, slice({ name, content }, SLICE))
      return sitting
    },
    expect: async (exported, sitting, row) => {
      assert.equal(row?.['state'], 'complete')
      await holdsRecordings(exported, sitting)
      assert.ok(!exported.files.includes(`archives/${sitting.id}.zip`))
      assert.ok(exported.incomplete.some((each) => each['session'] === sitting.id && each['file']?.endsWith('.zip')))
    },
  },
  {
    name: 'a recording that an answer names and no zip has is missing, and nothing else is',
    act: async ({ token, send }) => {
      const sitting = openApp()
      const { given } = answer(sitting, 'voice', { say: makeWav(8000), again: makeWav(800) })
      await send(await token('lacking'), slice(finalZip(sitting, { without: [given[0]?.recording?.name ?? ''] }), SLICE))
      return sitting
    },
    expect: (exported, sitting, row) => {
      const [lost, kept] = sitting.activities[0]?.given.map(({ recording }) => recording?.name) ?? []
      assert.equal(row?.['missing'], `recording ${lost}`)
      assert.deepEqual(exported.recordings.filter((each) => each['session'] === sitting.id).map((each) => fileOf(each['file'] ?? '')), [kept])
    },
  },
  {
    name: 'a recording that is encrypted is missing, and its archive is set aside',
    act: async ({ token, send }) => {
      const sitting = openApp()
      const { given } = answer(sitting, 'voice', { say: makeWav(8000) })
      const content = JSON.stringify(given.flatMap(({ elements }) => elements))
      const encrypted = { name: `x/${given[0]?.recording?.name}`, content: makeWav(8000), both: { flags: 1 } }
      await send(await token('encrypted'), [{ name: `${randomUUID()}-.zip.000`, content: writeZip([{ name: 'x/activity_0.jsonld', content }, encrypted]) }])
      return sitting
    },
    expect: (exported, sitting, row) => {
      assert.equal(row?.['missing'], `recording ${sitting.activities[0]?.given[0]?.recording?.name}`)
      assert.ok(exported.incomplete.some((each) => each['session'] === sitting.id && each['file']?.endsWith('.zip')))
    },
  },
  {
    name: 'of two uploads at the end of a session the last one is the session',
    act: async ({ token, send }) => {
      const authToken = await token('twice')
      const sitting = openApp()
      answer(sitting, 'form', { mood: 1 })
      await send(authToken, slice(finalZip(sitting), SLICE))
      answer(sitting, 'more', { mood: 2 })
      await send(authToken, slice(finalZip(sitting), SLICE))
      return sitting
    },
    expect: (exported, sitting, row) => {
      assert.equal(row?.['state'], 'complete')
      const listed = spawnSync('unzip', ['-Z1', join(exported.out, 'archives', `${sitting.id}.zip`)], { encoding: 'utf8' }).stdout
      assert.match(listed, /activity_1\.jsonld/)
      assert.equal(exported.files.filter((path) => path.startsWith(`archives/${sitting.id}`)).length, 2)
      assert.equal(Object.keys(exported.surveys['twice']?.[sitting.id] ?? {}).length, 2)
    },
  },
  {
    name: 'activities without answers are left out',
    act: async ({ token, send }) => {
      const sitting = openApp()
      answer(sitting, 'welcome', {})
      answer(sitting, 'form', { mood: 1 })
      await send(await token('empty'), [...slice(finalZip(sitting), SLICE), activityUpload(sitting, 0)])
      return sitting
    },
    expect: (exported, sitting) => {
      assert.deepEqual(Object.keys(exported.surveys['empty']?.[sitting.id] ?? {}), ['activity_0.jsonld'])
    },
  },
  {
    name: 'an answer that was changed later does not come back, and none is dropped',
    act: async ({ token, send }) => {
      const authToken = await token('changed')
      const sitting = openApp()
      answer(sitting, 'form', { mood: 'first', only: 'here' })
      await send(authToken, [activityUpload(sitting, 0)])
      await new Promise((done) => setTimeout(done, 5)) // the times of the answers differ
      const later = { ...openApp(), id: sitting.id }
      answer(later, 'form', { mood: 'second' })
      await send(authToken, slice(finalZip(later), SLICE))
      return sitting
    },
    expect: (exported, sitting) => {
      assert.deepEqual(exported.surveys['changed']?.[sitting.id], { 'activity_0.jsonld': { mood: 'second', only: 'here' } })
      const values = exported.responses.filter((each) => each['session'] === sitting.id).map((each) => each['value'])
      assert.deepEqual(values.toSorted(), ['first', 'here', 'second'])
    },
  },
  {
    name: 'names and answers in any script, quotes and line breaks arrive as they were',
    act: async ({ token, send }) => {
      const sitting = openApp()
      answer(sitting, 'fragebögen', { 'größe': 'ja, "sehr"\r\n😀', formula: '=1+1', negative: -3.5, 'голос': makeWav(8000) })
      await send(await token('Åsa Ωmega/../x'), slice(finalZip(sitting), SLICE))
      return sitting
    },
    expect: async (exported, sitting, row) => {
      assert.equal(row?.['participant'], 'Åsa Ωmega/../x')
      const rows = exported.responses.filter((each) => each['session'] === sitting.id)
      assert.deepEqual(rows.slice(0, 3).map((each) => [each['item'], each['value']]), [['größe', 'ja, "sehr"\r\n😀'], ['formula', "'=1+1"], ['negative', '-3.5']])
      assert.ok(Object.keys(exported.surveys).some((name) => /^x-[0-9a-f]{16}$/.test(name)))
      await holdsRecordings(exported, sitting)
    },
  },
  {
    name: 'the record at the end of a zip may begin in the last slice but one',
    act: async ({ token, send }) => {
      const sitting = openApp()
      answer(sitting, 'form', { mood: 1 })
      const zip = finalZip(sitting)
      await send(await token('straddling'), slice(zip, zip.content.length - 10))
      return sitting
    },
    expect: (_, __, row) => assert.equal(row?.['state'], 'complete'),
  },
  {
    name: 'an entry that would escape is refused by name, and its archive is not put beside the good ones',
    act: async ({ token, send }) => {
      const sitting = openApp()
      answer(sitting, 'form', { mood: 1 })
      const content = JSON.stringify(sitting.activities[0]?.given.flatMap(({ elements }) => elements))
      const entries = [{ name: 'x/activity_0.jsonld', content }, { name: '../../evil.wav', content: makeWav(10) }, { name: 'x/notes.txt', content: 'note' }]
      await send(await token('escape'), [{ name: `${randomUUID()}-.zip.000`, content: writeZip(entries) }])
      return sitting
    },
    expect: async (exported, sitting) => {
      const reasons = exported.incomplete.filter((each) => each['session'] === sitting.id)
      assert.ok(reasons.some((each) => each['reason']?.includes('../../evil.wav')))
      assert.ok(reasons.some((each) => each['file']?.endsWith('.zip')))
      const note = reasons.find((each) => each['file']?.includes('notes'))
      assert.equal(await readFile(join(exported.out, note?.['file'] ?? ''), 'utf8'), 'note')
      assert.ok(exported.surveys['escape']?.[sitting.id])
      assert.ok(!exported.files.some((path) => path.includes('evil')))
    },
  },
  {
    name: 'JSON submissions and files of any other name are there too',
    act: async ({ token, server }) => {
      const [known, nobody] = [await token('json'), await token()]
      await submitForm(server, [['responses', '{"n": 12345678901234567890}'], ['auth_token', known]])
      await submitForm(server, [['responses', '[1]'], ['auth_token', nobody]])
      await submitForm(server, [['responses', doubtful], ['auth_token', await token('json-doubt')]])
      await submitForm(server, [['file', Buffer.from('notes'), 'notes.txt'], ['auth_token', known]])
      await submitForm(server, [['responses', Buffer.from('no JSON'), 'input.bin'], ['auth_token', known]])
      return openApp()
    },
    expect: async (exported) => {
      const messages = exported.files.filter((path) => path.startsWith('messages/json/'))
      assert.equal(await readFile(join(exported.out, messages[0] ?? ''), 'utf8'), '{"n": 12345678901234567890}')
      assert.equal(exported.files.filter((path) => path.startsWith('unassigned/messages/')).length, 1)
      const rows = exported.messages.filter((each) => each['participant'] !== DOTS)
      assert.deepEqual(rows.map((each) => [each['participant'], dirname(each['file'] ?? ''), each['bytes'], each['note']]), [
        ['json', 'messages/json', '27', ''],
        ['', 'unassigned/messages', '3', ''],
        ['json-doubt', 'messages/json-doubt', String(doubtful.length), 'It is in doubt whose answers these are: token: json-doubt; answer: another'],
      ])
      for (const { file = '', source = '', sha256, arrival } of rows) {
        assert.equal(sha256, sha256Of(await readFile(join(exported.out, file))))
        assert.equal(arrival?.replaceAll(/[:-]/g, ''), source.split('-')[0])
      }
      const doubt = exported.unassigned.find((each) => each['participant'] === 'json-doubt')
      assert.equal(doubt?.['reason'], 'It is in doubt whose answers these are: token: json-doubt; answer: another')
      assert.match(doubt?.['file'] ?? '', /^messages\/json-doubt\//)
      assert.ok(exported.unassigned.some((each) => each['file']?.endsWith('-notes.txt') && each['participant'] === 'json'))
      assert.ok(exported.unassigned.some((each) => /^unassigned\/files\/.*-input\.bin$/.test(each['file'] ?? '')), 'a file input may be called responses')
    },
  },
  {
    name: 'a participant who sent JSON alone stands in a table, with the name as it was given',
    act: async ({ token, server }) => {
      await submitForm(server, [['responses', '[2]'], ['auth_token', await token(DOTS)]])
      return openApp()
    },
    expect: (exported) => {
      const rows = exported.messages.filter((each) => each['participant'] === DOTS)
      assert.equal(rows.length, 1)
      assert.match(rows[0]?.['file'] ?? '', /^messages\/dots-[0-9a-f]{16}\//)
    },
  },
]

test('what participants sent becomes a dataset', async (t) => {
  if (!needs(t, 'python3', 'python3') || !needs(t, 'unzip', 'unzip')) return
  let server = await startServer(t)
  const sittings: Sitting[] = []
  for (const { act } of cases) {
    const sender: Sender = {
      server,
      token: (participant) => askToken(server, participant === undefined ? {} : { participant_id: participant }),
      send: (authToken, files) => send(server, authToken, files),
      restart: async () => {
        await server.stop()
        server = await startServer(t, { basedir: server.basedir })
      },
    }
    sittings.push(await act(sender))
  }
  const before = await listData(server.basedir)
  const exported = await exportAndCheck(server.basedir, join(await temporaryDirectory(t), 'out'))
  assert.deepEqual(await listData(server.basedir), before, 'the base directory is as it was')
  for (const [index, { name, expect }] of cases.entries()) {
    const sitting = sittings[index] ?? openApp()
    await t.test(name, () => expect(exported, sitting, exported.sessions.find((row) => row['session'] === sitting.id)))
  }
})
