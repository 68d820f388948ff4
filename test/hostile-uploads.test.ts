import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { check, type Exported } from './exported.ts'
import { isSoak, needs, PROGRAM, temporaryDirectory } from './harness.ts'
import { answer, finalZip, makeWav, openApp } from './web-app.ts'
import { writeZip, type ZipInput } from './zip-writer.ts'

const HEAP_MEGABYTES = 500
const MEGABYTE = 1_000_000
const FOR_EVER_MS = isSoak ? 900_000 : 300_000 // what this would take without its bound is hours, and a part of one for what is smaller
const ANSWERS = isSoak ? 100_000 : 30_000
const QUOTES = '"'.repeat(10 * MEGABYTE)
const FORKS = isSoak ? 12 : 10 // two to the power of it are the names that become one
const list = (length: number, each: (index: number) => string) => `[${Array.from({ length }, (_, index) => each(index)).join()}]`
const BEYOND = isSoak ? `"${'x'.repeat(10 * MEGABYTE)}"` : list(70_000, () => '[]') // of a session, sixteen times: by its bytes, or its marks

interface Hostile {
  readonly name: string
  /** The zips, a megabyte or two at most, or JSON submissions; the session is theirs alone. */
  readonly uploads: (session: string) => readonly (readonly ZipInput[])[]
  readonly messages?: readonly string[]
  /** Why they were set aside; empty where they are exported as they are. */
  readonly reason?: RegExp
  readonly expect?: (exported: Exported, session: string) => void
}

// The converters read `used` of the first element.
const FIRST = '{"@type":"reproschema:ResponseActivity","@id":"first","used":["item","activity","study"],"startedAtTime":"1","endedAtTime":"1"}'
const answers = (content: string): ZipInput => ({ name: 'x/activity_0.jsonld', content: content.replace('[', `[${FIRST},`) })

function response(id: string, session: string, value: unknown, item = 'item'): string {
  return JSON.stringify({ '@type': 'reproschema:Response', '@id': id, wasAttributedTo: { '@id': session }, isAbout: item, value })
}

const activity = (generated: string) => FIRST.replace('"first"', `"of-${generated}","generated":"${generated}"`)

const hostile: Hostile[] = [
  {
    name: 'very many answers under one @id',
    uploads: (session) => [[answers(list(ANSWERS, (index) => response('a', session, index)))]],
    expect: ({ responses }, session) => assert.equal(responses.filter((row) => row['session'] === session).length, ANSWERS),
  },
  {
    name: 'a text of ten million quotation marks, and another under one @id',
    uploads: (session) => [QUOTES, `${isSoak ? QUOTES : ''}x`].map((text) => [answers(`[${response('a', session, text)}]`)]),
    expect: ({ sessions }, session) => assert.match(sessions.find((row) => row['session'] === session)?.['conflicts'] ?? '', /^an answer differs under one @id/),
  },
  {
    name: 'answers of more sessions than are split',
    uploads: () => [[answers(list(30_000, (index) => response(`a${index}`, `many-${index}`, 1)))]],
    reason: /^It has answers of more than 200 sessions\.$/,
  },
  {
    name: 'more entries than are read',
    uploads: (session) => [Array.from({ length: 20_001 }, (_, index) => ({ name: `x/${index}.jsonld`, content: `[${response(`a${index}`, session, 1)}]` }))],
    reason: /^The archive has more than 20000 entries\.$/,
  },
  {
    name: 'as many entries as are read, all of one name when they are written',
    uploads: (session) => [[answers(`[${response('a', session, 1)}]`), ...Array.from({ length: 2 ** FORKS }, (_, index) => ({ name: `x/${index.toString(2).padStart(FORKS, '0').replaceAll('0', 'a_').replaceAll('1', 'a/')}b`, content: 'x' }))]],
    expect: ({ incomplete }, session) => assert.equal(incomplete.filter((row) => row['session'] === session).length, 2 ** FORKS),
  },
  {
    name: 'more content than is unpacked',
    uploads: (session) => [[answers(`[${response('a', session, 1)}]`), { name: 'x/bomb.wav', content: '', data: Buffer.alloc(1.3 * MEGABYTE), both: { bytes: 1200 * MEGABYTE } }]],
    reason: /^The content of the archive is too large\. Its name in the archive: x\/bomb\.wav$|^Some of its entries cannot be used/,
  },
  {
    name: 'names of sessions of two megabytes',
    uploads: () => Array.from({ length: 3 }, (_, index) => [answers(`[${response('a', `${index}`.padEnd(2 * MEGABYTE, 'x'), 1)}]`)]),
    reason: /^The name of a session or an activity in it has more than 4096 characters\.$/,
  },
  {
    name: 'names of participants of two megabytes',
    uploads: (session) => Array.from({ length: 3 }, (_, index) => [answers(`[${activity(`a${index}`)},${response(`a${index}`, session, `${index}`.padEnd(2 * MEGABYTE, 'x'), 'record_id')}]`)]),
    expect: ({ sessions }, session) => assert.doesNotMatch(sessions.find((row) => row['session'] === session)?.['conflicts'] ?? '', /answer: /),
  },
  {
    name: 'more answers of one session than are held in memory',
    uploads: (session) => Array.from({ length: 16 }, (_, index) => [answers(`[${activity(`a${index}`)},${response(`a${index}`, session, 1).slice(0, -1)},"note":${BEYOND}}]`)]),
    reason: /^The answers of this session have more than \d+ bytes, or \d+ commas and brackets, with it\.$/,
    expect: ({ sessions, incomplete, responses }, session) => {
      const row = sessions.find((each) => each['session'] === session)
      const lacking = row?.['missing']?.split('; ').filter((each) => /^activity_0\.jsonld of upload \S+, which cannot be used: The answers of this session/.test(each)) ?? []
      assert.deepEqual([row?.['state'], lacking.length], ['incomplete', incomplete.length])
      assert.equal(responses.filter((each) => each['session'] === session).length, 16 - incomplete.length)
    },
  },
  {
    name: 'JSON submissions of millions of objects',
    uploads: () => [],
    messages: Array<string>(4).fill(`[${'{},'.repeat(5 * MEGABYTE)}{}]`),
    expect: ({ files }) => assert.equal(files.filter((path) => path.startsWith('unassigned/messages/')).length, 4),
  },
]

test('no upload that means harm stops an export, or keeps the data of others out of it', async (t) => {
  if (!needs(t, 'python3', 'python3') || !needs(t, 'unzip', 'unzip')) return
  const directory = await temporaryDirectory(t)
  for (const { name, uploads, messages = [], reason, expect } of hostile) {
    await t.test(name, async () => {
      const base = await temporaryDirectory(t)
      const stored = join(base, 'uploads', 'responses', 'study')
      await mkdir(stored, { recursive: true })
      let second = 10
      const store = (given: string, content: Buffer | string) => writeFile(join(stored, `20240101T0000${second++}.000000Z-${given}`), content)
      const honest = openApp('honest')
      answer(honest, 'voice', { say: makeWav(8000) })
      const { name: honestName, content } = finalZip(honest)
      await store(honestName, content)
      for (const upload of uploads('harm')) await store(`${randomUUID()}-harm.zip`, writeZip(upload))
      for (const text of messages) await store('messages.json', text)
      const run = (...args: string[]) => {
        const options = { encoding: 'utf8', timeout: FOR_EVER_MS, maxBuffer: 2 ** 28 } as const
        const { status, stdout, stderr, signal } = spawnSync(process.execPath, [`--max-old-space-size=${HEAP_MEGABYTES}`, PROGRAM, ...args, '--basedir', base], options)
        assert.equal(status, 0, `${signal} ${stdout.slice(-2000)} ${stderr.slice(-2000)}`)
      }
      run('status', 'study', '--participant', 'honest')
      const out = join(directory, `out-${second}-${uploads.length}-${randomUUID()}`)
      run('export', 'study', out)
      const exported = await check(out)
      assert.equal(exported.sessions.find((row) => row['session'] === honest.id)?.['state'], 'complete')
      const aside = exported.incomplete.filter((row) => row['participant'] === 'harm')
      if (reason !== undefined) {
        assert.ok(aside.length > 0, 'it was set aside')
        for (const row of aside) assert.match(row['reason'] ?? '', reason)
        assert.ok(aside.some((row) => exported.files.includes(row['file'] ?? '')), 'and nothing of it was lost')
      }
      expect?.(exported, 'harm')
    })
  }
})
