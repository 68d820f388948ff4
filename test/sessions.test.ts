import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { runCommand } from './commanded.ts'
import { exportAndCheck, type Exported, type Row } from './exported.ts'
import { askToken, listUploads, needs, startServer, temporaryDirectory } from './harness.ts'
import { activityUpload, answer, finalZip, makeWav, openApp, send, slice, type Sent, type Sitting } from './web-app.ts'
import { writeZip, type ZipInput } from './zip-writer.ts'

const SLICE = 3000

/** What `status` and `export` say after everything was sent. */
interface Told {
  readonly exported: Exported
  /** The row of a session in sessions.csv, by its id or the uuid of an upload without one. */
  readonly row: (id: string) => Row
  /** The same session in the JSON of `status`. */
  readonly attention: (id: string) => { missing: string[]; conflicts: string[]; complete: boolean } | undefined
}

interface Sender {
  readonly token: (participant?: string) => Promise<string>
  readonly send: (authToken: string, files: readonly Sent[]) => Promise<unknown>
  /** Overwrites what is stored of the files that were given these names: a fault of the disk. */
  readonly spoilStored: (names: readonly string[]) => Promise<void>
}

/** Sends something, and gives what is to be found of it. */
interface Case {
  readonly name: string
  readonly act: (sender: Sender) => Promise<(told: Told) => void | Promise<void>>
}

const uuidOf = ({ name }: Sent) => name.slice(0, 36)
const elementsOf = (sitting: Sitting, index = 0) => sitting.activities[index]?.given.flatMap(({ elements }) => elements) ?? []
const recordingsOf = (sitting: Sitting) => sitting.activities.flatMap(({ given }) => given.flatMap(({ recording }) => recording ?? []))

/** A zip at the end of a session with entries of the test's own. */
function zipOf(uid: string, entries: readonly ZipInput[]): Sent {
  return { name: `${randomUUID()}-${uid}.zip`, content: writeZip(entries) }
}

/** The end of the directory is gone: nothing in it can be read. */
function breakZip({ name, content }: Sent): Sent {
  return { name, content: Buffer.concat([content.subarray(0, -400), Buffer.alloc(378), content.subarray(-22)]) }
}

function voice(uid: string, id: string = randomUUID()): Sitting {
  const sitting = { ...openApp(uid), id }
  answer(sitting, 'voice', { say: makeWav(800), mood: 3 })
  return sitting
}

const adoptions: Case[] = [
  {
    name: 'an upload that cannot be read is not put to the session of whoever else had the same token',
    act: async ({ token, send }) => {
      const clinic = await token()
      const [first, second] = [voice(''), voice('')]
      const broken = breakZip(finalZip(second))
      await send(clinic, slice(finalZip(first), SLICE))
      await send(clinic, slice(broken, SLICE))
      return ({ row }) => {
        assert.equal(row(first.id)['state'], 'complete')
        assert.equal(row(first.id)['conflicts'], '')
        assert.equal(row(`upload-${uuidOf(broken)}`)['state'], 'incomplete')
        assert.equal(row(`upload-${uuidOf(broken)}`)['participant'], '')
      }
    },
  },
  {
    name: 'an upload without an answer is not put to the session of whoever else had the same token',
    act: async ({ token, send }) => {
      const clinic = await token()
      const first = voice('')
      const empty = openApp('')
      answer(empty, 'welcome', {})
      const zip = finalZip(empty)
      await send(clinic, slice(finalZip(first), SLICE))
      await send(clinic, slice(zip, SLICE))
      return ({ row }) => {
        assert.equal(row(first.id)['sources']?.includes(uuidOf(zip)), false)
        assert.equal(row(`upload-${uuidOf(zip)}`)['responses'], '0')
      }
    },
  },
  {
    name: 'an upload with answers that name no session keeps them to itself',
    act: async ({ token, send }) => {
      const authToken = await token('adopt-answers')
      const first = voice('')
      const other = openApp('')
      answer(other, 'voice', { said: makeWav(700), record_id: 'somebody else' })
      const bare = elementsOf(other).map((element) => ({ ...element, wasAttributedTo: undefined }))
      const [recording] = recordingsOf(other)
      const zip = zipOf('', [{ name: 'x/activity_0.jsonld', content: JSON.stringify(bare) }, { name: `x/${recording?.name}`, content: recording?.content ?? '' }])
      await send(authToken, [...slice(finalZip(first), SLICE), ...slice(zip, SLICE)])
      return ({ row, exported }) => {
        const id = `upload-${uuidOf(zip)}`
        assert.equal(row(first.id)['recordings'], '1')
        assert.equal(row(id)['responses'], '2')
        assert.ok(exported.recordings.some((each) => each['session'] === id && each['file']?.endsWith(recording?.name ?? '')), 'its recording is with it')
      }
    },
  },
  {
    name: 'an upload that cannot be read is put to the only session of its participant, and that is told',
    act: async ({ token, send }) => {
      const [known, clinic] = [await token('adopt-known'), await token()]
      const sittings = [voice(''), voice('adopt-uid')]
      const broken = sittings.map((sitting) => breakZip(finalZip(sitting)))
      for (const [index, authToken] of [known, clinic].entries()) {
        await send(authToken, [activityUpload(sittings[index] ?? openApp(), 0), ...slice(broken[index] ?? { name: '', content: Buffer.alloc(0) }, SLICE)])
      }
      return ({ row, attention }) => {
        for (const [index, { id }] of sittings.entries()) {
          const uuid = uuidOf(broken[index] ?? { name: '', content: Buffer.alloc(0) })
          const says = `upload ${uuid} names no session that can be read; it was put here as the only session of its token and uid`
          assert.equal(row(id)['conflicts'], says)
          assert.deepEqual(attention(id)?.conflicts, [says])
          assert.match(row(id)['missing'] ?? '', new RegExp(`^upload ${uuid}, which cannot be read: `))
        }
      }
    },
  },
  {
    name: 'an upload that cannot be read stays alone where its participant has two sessions',
    act: async ({ token, send }) => {
      const authToken = await token('adopt-twice')
      const sittings = [voice(''), voice('')]
      const broken = breakZip(finalZip(voice('')))
      await send(authToken, [...sittings.flatMap((sitting) => slice(finalZip(sitting), SLICE)), ...slice(broken, SLICE)])
      return ({ row }) => {
        for (const { id } of sittings) assert.equal(row(id)['conflicts'], '')
        assert.equal(row(`upload-${uuidOf(broken)}`)['participant'], 'adopt-twice')
      }
    },
  },
  {
    name: 'two uploads that cannot be read stay two, though they have one uuid',
    act: async ({ token, send }) => {
      const clinic = await token()
      const broken = breakZip(finalZip(voice('uuid-a')))
      const other = { name: broken.name.replace('uuid-a', 'uuid-b'), content: broken.content }
      await send(clinic, [broken])
      await send(clinic, [other])
      return ({ exported }) => {
        const rows = exported.sessions.filter((each) => each['session']?.startsWith(`upload-${uuidOf(broken)}`))
        assert.deepEqual(rows.map((each) => [each['participant'], each['conflicts']]), [['uuid-a', ''], ['uuid-b', '']])
      }
    },
  },
]

const NOT_A_LIST = 'It is not a JSON list.'
const DAMAGED = 'The content of the entry is damaged: its checksum is wrong.'

/** The zip of a session whose second file of answers is not as it should be. */
function zipWith(sitting: Sitting, second: Omit<ZipInput, 'name'>): Sent {
  const recordings = recordingsOf(sitting).map(({ name, content }) => ({ name: `x/${name}`, content }))
  const first = { name: 'x/activity_0.jsonld', content: JSON.stringify(elementsOf(sitting, 0), null, 2) }
  return zipOf(sitting.uid, [first, { name: 'x/activity_1.jsonld', ...second }, ...recordings])
}

const damages: Case[] = [
  ...[
    { name: 'whose checksum is wrong', second: { content: '[]', both: { crc32: 7 } }, reason: DAMAGED },
    { name: 'of null', second: { content: 'null' }, reason: NOT_A_LIST },
    { name: 'of an object', second: { content: '{}' }, reason: NOT_A_LIST },
    { name: 'of a list within a list', second: { content: '[[]]' }, reason: 'It holds something that is not a JSON object.' },
    { name: 'of half a list', second: { content: '[{"@type":' }, reason: 'It is not JSON.' },
    { name: 'that is encrypted', second: { content: '[]', both: { flags: 1 } }, reason: 'The entry is encrypted.' },
  ].map(
    ({ name, second, reason }): Case => ({
      name: `a file of answers ${name} is missing`,
      act: async ({ token, send }) => {
        const sitting = voice('')
        const zip = zipWith(sitting, second)
        await send(await token(`damage ${name}`), slice(zip, SLICE))
        return ({ row, attention }) => {
          const says = `activity_1.jsonld of upload ${uuidOf(zip)}, which cannot be used: ${reason}`
          assert.equal(row(sitting.id)['state'], 'incomplete')
          assert.equal(row(sitting.id)['missing'], says)
          assert.deepEqual([attention(sitting.id)?.complete, attention(sitting.id)?.missing], [false, [says]])
        }
      },
    }),
  ),
  {
    name: 'an entry that is refused is missing, though no answer names it',
    act: async ({ token, send }) => {
      const sitting = voice('')
      const [recording] = recordingsOf(sitting)
      const content = JSON.stringify(elementsOf(sitting))
      const refused = { name: 'x/other.wav', content: makeWav(10), both: { flags: 1 } }
      const zip = zipOf('', [{ name: 'x/activity_0.jsonld', content }, { name: `x/${recording?.name}`, content: recording?.content ?? '' }, refused])
      await send(await token('refused'), slice(zip, SLICE))
      return ({ row, attention }) => {
        const says = `other.wav of upload ${uuidOf(zip)}, which cannot be used: The entry is encrypted.`
        assert.equal(row(sitting.id)['missing'], says)
        assert.deepEqual(attention(sitting.id)?.missing, [says])
      }
    },
  },
  {
    name: 'a damaged file of answers is not missing where another upload of the session has the same content',
    act: async ({ token, send }) => {
      const authToken = await token('supplied')
      const sitting = voice('')
      answer(sitting, 'form', { today: 'good' })
      const content = JSON.stringify(elementsOf(sitting, 1), null, 2)
      const good = Buffer.from(writeZip([{ name: 'a', content }]))
      const crc32 = good.readUInt32LE(14)
      const zip = zipWith(sitting, { content: content.replace('good', 'evil'), both: { crc32, bytes: Buffer.byteLength(content) } })
      await send(authToken, [activityUpload(sitting, 1), ...slice(zip, SLICE)])
      return ({ row, exported }) => {
        assert.equal(row(sitting.id)['state'], 'complete')
        assert.deepEqual(exported.surveys['supplied']?.[sitting.id]?.['activity_1.jsonld'], { today: 'good' })
        assert.ok(exported.incomplete.some((each) => each['session'] === sitting.id && each['file']?.endsWith('.zip')), 'the damaged archive is set aside')
      }
    },
  },
  {
    name: 'a damaged file of answers is not missing where the session was sent again, whole',
    act: async ({ token, send }) => {
      const authToken = await token('sent again')
      const sitting = voice('')
      const broken = zipWith(sitting, { content: 'null' })
      await send(authToken, slice(broken, SLICE))
      answer(sitting, 'form', { today: 'good' })
      await send(authToken, slice(finalZip(sitting), SLICE))
      return ({ row }) => assert.equal(row(sitting.id)['missing'], '')
    },
  },
  {
    name: 'an activity that cannot be read is missing where the zip at the end has no answer',
    act: async ({ token, send }) => {
      const authToken = await token('hollow')
      const sitting = voice('')
      answer(sitting, 'form', { today: 'good' })
      const broken = breakZip(activityUpload(sitting, 1))
      const hollow = openApp('')
      answer(hollow, 'welcome', {})
      await send(authToken, [activityUpload(sitting, 0), broken, ...slice(finalZip(hollow), SLICE)])
      return ({ row }) => assert.match(row(sitting.id)['missing'] ?? '', new RegExp(`^upload ${uuidOf(broken)}, which cannot be read: `))
    },
  },
  {
    name: 'a recording of another format that is damaged is missing',
    act: async ({ token, send }) => {
      const sitting = openApp('')
      const name = `say-${randomUUID()}.webm`
      answer(sitting, 'voice', { say: name })
      const content = JSON.stringify(elementsOf(sitting))
      const zip = zipOf('', [{ name: 'x/activity_0.jsonld', content }, { name: `x/${name}`, content: 'sound', both: { crc32: 7 } }])
      await send(await token('webm'), slice(zip, SLICE))
      return ({ row }) => {
        assert.equal(row(sitting.id)['state'], 'incomplete')
        assert.equal(row(sitting.id)['missing'], `${name} of upload ${uuidOf(zip)}, which cannot be used: ${DAMAGED}`)
      }
    },
  },
]

const withValue = (elements: readonly object[], value: unknown) => elements.map((element) => ('value' in element ? { ...element, value } : element))

const differences: Case[] = [
  {
    name: 'of two uploads the one at the end is taken, and where the other one stands is told',
    act: async ({ token, send }) => {
      const authToken = await token('differ-two')
      const sitting = openApp('')
      answer(sitting, 'form', { mood: 'secret early' })
      const early = activityUpload(sitting, 0)
      const final = zipOf('', [{ name: 'x/activity_0.jsonld', content: JSON.stringify(withValue(elementsOf(sitting), 'secret late')) }])
      await send(authToken, [early, ...slice(final, SLICE)])
      return ({ row, exported }) => {
        assert.deepEqual(exported.surveys['differ-two']?.[sitting.id], { 'activity_0.jsonld': { mood: 'secret late' } })
        const places = `activity_0.jsonld of upload ${uuidOf(final)} and activity_0.jsonld of upload ${uuidOf(early)}`
        assert.equal(row(sitting.id)['conflicts'], `an answer differs under one @id between ${places}: the latter was left out, its archive has it`)
        assert.equal(row(sitting.id)['state'], 'complete')
      }
    },
  },
  {
    name: 'of one upload both stay where they stand',
    act: async ({ token, send }) => {
      const sitting = openApp('')
      answer(sitting, 'form', { mood: 'one' })
      const elements = elementsOf(sitting)
      const content = JSON.stringify([...elements, ...withValue(elements, 'two')])
      const zip = zipOf('', [{ name: 'x/activity_0.jsonld', content }])
      await send(await token('differ-one'), slice(zip, SLICE))
      return ({ row, exported }) => {
        const answers = exported.responses.filter((each) => each['session'] === sitting.id)
        assert.deepEqual(answers.map((each) => each['value']), ['one', 'two'])
        assert.equal(readFileSync(join(exported.out, answers[0]?.['file'] ?? ''), 'utf8'), content)
        assert.match(row(sitting.id)['conflicts'] ?? '', /^an answer differs under one @id between .*: both were taken$/)
      }
    },
  },
]

/** One zip with the answers and recordings of several sittings, each file with those of all. */
function mix(uid: string, sittings: readonly Sitting[], ...further: readonly ZipInput[]): Sent {
  const recordings = sittings.flatMap(recordingsOf).map(({ name, content }) => ({ name: `x/${name}`, content }))
  const content = JSON.stringify(sittings.flatMap((sitting) => elementsOf(sitting)))
  return zipOf(uid, [{ name: 'x/activity_0.jsonld', content }, ...recordings, ...further])
}

const SPLIT = 'has answers of several sessions; each session got its own, with the recordings that they name'

const mixtures: Case[] = [
  {
    name: 'each session gets its answers and the recordings that they name, and the first what none names',
    act: async ({ token, send }) => {
      const sittings = [voice(''), voice('')]
      const stray = { name: `x/stray-${randomUUID()}.wav`, content: makeWav(10) }
      const zip = mix('', sittings, stray)
      await send(await token('mixed'), slice(zip, SLICE))
      return ({ row, exported }) => {
        for (const [index, sitting] of sittings.entries()) {
          assert.deepEqual([row(sitting.id)['state'], row(sitting.id)['responses'], row(sitting.id)['participant']], ['complete', '2', 'mixed'])
          assert.equal(row(sitting.id)['conflicts'], `upload ${uuidOf(zip)} ${SPLIT}`)
          const names = exported.recordings.filter((each) => each['session'] === sitting.id).map((each) => each['file']?.split('/').at(-1))
          const own = recordingsOf(sitting).map((recording) => recording.name)
          assert.deepEqual(names, index === 0 ? [...own, stray.name.slice(2)] : own)
          assert.deepEqual(Object.keys(exported.surveys['mixed']?.[sitting.id]?.['activity_0.jsonld'] ?? {}), ['say', 'mood'])
        }
        const archives = exported.files.filter((path) => path.includes(uuidOf(zip)) && path.endsWith('.zip'))
        assert.equal(archives.length, 1, 'the archive is there once')
        assert.match(archives[0] ?? '', /^incomplete\//)
      }
    },
  },
  {
    name: 'who sent the zip does not take a session from the participant whose own upload names it',
    act: async ({ token, send }) => {
      const [anna, ben] = [voice('mix-anna'), voice('mix-ben')]
      const clinic = await token()
      await send(clinic, slice(finalZip(ben), SLICE))
      await send(clinic, slice(mix('mix-anna', [anna, ben]), SLICE))
      return ({ row, exported }) => {
        assert.equal(row(anna.id)['participant'], 'mix-anna')
        assert.equal(row(ben.id)['participant'], 'mix-ben')
        assert.match(row(ben.id)['conflicts'] ?? '', /^file name: mix-ben, mix-anna; upload /)
        assert.deepEqual(Object.keys(exported.surveys['mix-anna'] ?? {}), [anna.id])
      }
    },
  },
  {
    name: 'a recording is missing from the session whose answer names it, and from no other',
    act: async ({ token, send }) => {
      const sittings = [voice(''), voice('')]
      const lost = recordingsOf(sittings[1] ?? openApp())[0]?.name ?? ''
      const recordings = sittings.flatMap(recordingsOf).filter(({ name }) => name !== lost)
      const content = JSON.stringify(sittings.flatMap((sitting) => elementsOf(sitting)))
      const zip = zipOf('', [{ name: 'x/activity_0.jsonld', content }, ...recordings.map((each) => ({ name: `x/${each.name}`, content: each.content }))])
      await send(await token('mixed-lost'), slice(zip, SLICE))
      return ({ row }) => assert.deepEqual(sittings.map(({ id }) => row(id)['missing']), ['', `recording ${lost}`])
    },
  },
  {
    name: 'where an answer names no session nothing is split',
    act: async ({ token, send }) => {
      const sittings = [voice(''), voice(''), voice('')]
      const elements = sittings.map((sitting) => elementsOf(sitting))
      const content = JSON.stringify([...(elements[0] ?? []), ...(elements[1] ?? []), ...(elements[2] ?? []).map((each) => ({ ...each, wasAttributedTo: undefined }))])
      const zip = zipOf('', [{ name: 'x/activity_0.jsonld', content }])
      await send(await token('mixed-bare'), slice(zip, SLICE))
      return ({ row }) => {
        const { responses, conflicts } = row(sittings[0]?.id ?? '')
        assert.equal(responses, '6')
        assert.equal(conflicts, `upload ${uuidOf(zip)} has answers of several sessions and some that name none; all of them were put here`)
      }
    },
  },
]

/** The slices of a session at its end, cut small; the second is in the middle of a recording that is stored. */
function slicesOf(sitting: Sitting): Sent[] {
  return slice(finalZip(sitting, { method: 'stored' }), SLICE)
}

/** A session of one long recording with its slices, of which some copies come first that are not as they should be. */
function choice(name: string, spoil: (slices: readonly Sent[]) => readonly Sent[], count = (aside: number, spoiled: number) => assert.equal(aside, spoiled)): Case {
  return {
    name,
    act: async ({ token, send }) => {
      const authToken = await token(`choice ${name}`)
      const sitting = openApp('')
      answer(sitting, 'voice', { say: makeWav(10_000) })
      const slices = slicesOf(sitting)
      const spoiled = spoil(slices)
      for (const each of [...spoiled, ...slices]) await send(authToken, [each])
      return ({ row, attention, exported }) => {
        assert.equal(row(sitting.id)['state'], 'complete', row(sitting.id)['missing'])
        assert.equal(attention(sitting.id), undefined)
        const [recording] = recordingsOf(sitting)
        const file = exported.recordings.find((each) => each['session'] === sitting.id)?.['file'] ?? ''
        assert.ok(readFileSync(join(exported.out, file)).equals(recording?.content ?? Buffer.alloc(0)), 'the recording is as it was')
        assert.ok(readFileSync(join(exported.out, 'archives', `${sitting.id}.zip`)).equals(Buffer.concat(slices.map(({ content }) => content))), 'so is the archive')
        count(exported.incomplete.filter((each) => each['session'] === sitting.id).length, spoiled.length)
      }
    },
  }
}

const zeros = ({ name, content }: Sent) => ({ name, content: Buffer.alloc(content.length) })
const some = (slices: readonly Sent[], ...numbers: readonly number[]) => numbers.flatMap((number) => slices.at(number) ?? [])

const choices: Case[] = [
  choice('the first slice', (slices) => some(slices, 0).map(zeros)),
  choice('the last slice', (slices) => some(slices, -1).map(zeros)),
  choice('a slice within a recording', (slices) => some(slices, 1).map(zeros)),
  choice('all slices', (slices) => slices.map(zeros)),
  choice('the first two and the last one', (slices) => some(slices, 0, 1, -1).map(zeros)),
  choice('a slice that has bytes of another upload in front', (slices) => some(slices, 1).map(({ name, content }) => ({ name, content: Buffer.concat([Buffer.alloc(100, 1), content]) }))),
  choice('two slices that end too early', (slices) => some(slices, 0, 2).map(({ name, content }) => ({ name, content: content.subarray(0, -10) }))),
  choice('one slice a dozen times', (slices) => Array.from({ length: 12 }, (_, index) => some(slices, 2).map(({ name, content }) => ({ name, content: Buffer.alloc(content.length, index) }))).flat()),
  {
    name: 'a slice that was damaged on the disk, and the same slice again',
    act: async ({ token, send, spoilStored }) => {
      const tokens = [await token('choice-disk'), await token('choice-disk')]
      const sitting = openApp('')
      answer(sitting, 'voice', { say: makeWav(10_000) })
      const slices = slicesOf(sitting)
      for (const numbers of [[0], [1], [-1]]) await send(tokens[0] ?? '', some(slices, ...numbers))
      await spoilStored(some(slices, 0, 1, -1).map(({ name }) => name))
      await send(tokens[1] ?? '', slices)
      return ({ row, exported }) => {
        assert.equal(row(sitting.id)['state'], 'complete', row(sitting.id)['missing'])
        assert.ok(readFileSync(join(exported.out, 'archives', `${sitting.id}.zip`)).equals(Buffer.concat(slices.map(({ content }) => content))), 'the archive is as it was')
        assert.equal(exported.incomplete.filter((each) => each['session'] === sitting.id).length, 3, 'the damaged ones are set aside')
      }
    },
  },
]

const APART = (id: string) => `uploads of other participants name the same session, ${id}; each participant's were kept apart`

const shared: Case[] = [
  {
    name: 'whoever sends the session of another gets nothing of it, and changes nothing in it',
    act: async ({ token, send }) => {
      const sitting = voice('')
      const thief = voice('', sitting.id)
      await send(await token('owner'), [activityUpload(sitting, 0), ...slice(finalZip(sitting), SLICE)])
      await send(await token('thief'), slice(finalZip(thief), SLICE))
      return ({ row, exported, attention }) => {
        for (const [participant, each] of [['owner', sitting], ['thief', thief]] as const) {
          const id = `${sitting.id}-of-${participant}`
          assert.deepEqual([row(id)['participant'], row(id)['state'], row(id)['conflicts']], [participant, 'complete', APART(sitting.id)])
          assert.deepEqual(attention(id)?.conflicts, [APART(sitting.id)])
          const names = exported.files.filter((path) => path.startsWith(`audio/${participant}/`)).map((path) => path.split('/').at(-1))
          assert.deepEqual(names, recordingsOf(each).map((recording) => recording.name))
          assert.ok(exported.files.includes(`archives/${id}.zip`))
        }
      }
    },
  },
  {
    name: 'an app that gives every page load one identifier does not make two participants of one token the same',
    act: async ({ token, send }) => {
      const clinic = await token()
      const sittings = ['const-a', 'const-b'].map((uid) => voice(uid, 'constant'))
      for (const sitting of sittings) await send(clinic, [activityUpload(sitting, 0), ...slice(finalZip(sitting), SLICE)])
      const nobody = voice('', 'constant')
      await send(clinic, slice(finalZip(nobody), SLICE))
      return ({ row, exported }) => {
        for (const sitting of sittings) {
          const id = `constant-of-${sitting.uid}`
          assert.deepEqual([row(id)['participant'], row(id)['responses'], row(id)['recordings']], [sitting.uid, '2', '1'])
          assert.ok(exported.files.includes(`audio/${sitting.uid}/${id}/${recordingsOf(sitting)[0]?.name}`))
        }
        assert.deepEqual([row('constant-of-nobody')['participant'], row('constant-of-nobody')['recordings']], ['', '1'])
      }
    },
  },
  {
    name: 'uploads of one participant stay one session, also where only some of them say whose they are',
    act: async ({ token, send }) => {
      const [known, clinic] = [await token('stay'), await token()]
      const sitting = voice('stay-uid')
      answer(sitting, 'more', { mood: 4 })
      await send(known, [activityUpload(sitting, 0)])
      await send(clinic, [activityUpload(sitting, 1)])
      await send(clinic, slice(finalZip({ ...sitting, uid: '' }), SLICE))
      return ({ row }) => {
        assert.deepEqual([row(sitting.id)['participant'], row(sitting.id)['responses']], ['stay', '3'])
        assert.equal(row(sitting.id)['conflicts'], 'token: stay; file name: stay-uid')
      }
    },
  },
  {
    name: 'a zip of several sessions does not change what a participant sent alone',
    act: async ({ token, send }) => {
      const [own, other] = [voice(''), voice('')]
      await send(await token('mixed-own'), slice(finalZip(own), SLICE))
      const forged = { ...own, activities: own.activities.map((activity) => ({ ...activity, given: activity.given.map((each) => ({ ...each, elements: withValue(each.elements, 'forged') })) })) }
      await send(await token('mixed-other'), slice(mix('', [other, forged]), SLICE))
      return ({ row, exported }) => {
        assert.equal(row(own.id)['participant'], 'mixed-own')
        assert.ok(!exported.responses.some((each) => each['session'] === own.id && each['value'] === 'forged'))
        assert.match(row(own.id)['conflicts'] ?? '', /2 answers differs under one @id/)
        assert.equal(row(other.id)['participant'], 'mixed-other')
      }
    },
  },
]

const groups = [
  { name: 'uploads of several participants that name one session', cases: shared },
  { name: 'of a slice that came more than once the copy is taken that makes the zip whole', cases: choices },
  { name: 'an upload of several sessions', cases: mixtures },
  { name: 'answers that differ under one @id', cases: differences },
  { name: 'an upload that names no session', cases: adoptions },
  { name: 'what cannot be read is missing', cases: damages },
]

test('whatever participants sent to one study is told', async (t) => {
  if (!needs(t, 'python3', 'python3') || !needs(t, 'unzip', 'unzip')) return
  const server = await startServer(t)
  const sender: Sender = {
    token: (participant) => askToken(server, participant === undefined ? {} : { participant_id: participant }),
    send: (authToken, files) => send(server, authToken, files),
    spoilStored: async (names) => {
      const stored = await listUploads(server.basedir)
      for (const path of stored.filter((each) => names.some((given) => each.endsWith(given)))) {
        const { size } = await stat(join(server.basedir, 'uploads', path))
        await writeFile(join(server.basedir, 'uploads', path), Buffer.alloc(size))
      }
    },
  }
  const expectations = new Map<Case, (told: Told) => void | Promise<void>>()
  for (const each of groups.flatMap(({ cases }) => cases)) expectations.set(each, await each.act(sender))
  const { stdout } = await runCommand(['status', '--basedir', server.basedir, 'study', '--json'])
  const { attention } = JSON.parse(stdout).projects[0]
  const exported = await exportAndCheck(server.basedir, join(await temporaryDirectory(t), 'out'))
  const row = (id: string) => {
    const found = exported.sessions.filter((each) => each['session'] === id)
    assert.equal(found.length, 1, `one session ${id}`)
    return found[0] ?? {}
  }
  const told: Told = { exported, row, attention: (id) => attention.find((each: { session: string }) => each.session === id) }
  for (const { name, cases } of groups) {
    await t.test(name, async (t) => {
      for (const each of cases) await t.test(each.name, () => expectations.get(each)?.(told))
    })
  }
})
