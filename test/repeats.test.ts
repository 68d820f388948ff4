import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Submission } from '../lib/store/publisher.ts'
import type { Receipt } from '../lib/store/receipt.ts'
import { Repeats } from '../lib/store/repeats.ts'
import { askToken, filesOf, listUploads, readReceipts, startServer, submitForm, type Entry } from './harness.ts'

const slice = randomBytes(300_000)

test('a file that is sent again is answered with its first receipt and stored once', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const entries: Entry[] = [['file', slice, 'X.zip.000'], ['auth_token', authToken], ['expires', '20300101T000000Z']]
  const first = await submitForm(server, entries)
  const again = await submitForm(server, entries)
  assert.equal(again.status, 200)
  assert.deepEqual(again.json, { ...first.json, repeated: true })
  assert.equal('repeated' in first.json, false)
  assert.equal((await listUploads(server.basedir)).length, 1)
  const receipts = await readReceipts(server.basedir, 'study')
  assert.deepEqual(receipts.map((receipt) => receipt['repeats']), [undefined, first.json['id']])
  assert.deepEqual(receipts[1]?.['files'], [])
  assert.deepEqual(receipts[1]?.['fields'], [{ name: 'expires', value: '20300101T000000Z' }])
})

const different: { name: string; change: (entries: Entry[], otherToken: string) => Entry[] }[] = [
  { name: 'another name', change: ([, token]) => [['file', slice, 'X.zip.001'], token ?? ['', '']] },
  { name: 'other bytes', change: ([, token]) => [['file', slice.subarray(1), 'X.zip.000'], token ?? ['', '']] },
  { name: 'another token', change: ([file], otherToken) => [file ?? ['', ''], ['auth_token', otherToken]] },
  { name: 'another field', change: ([, token]) => [['other', slice, 'X.zip.000'], token ?? ['', '']] },
  { name: 'answers beside the file', change: (entries) => [...entries, ['responses', '1']] },
  { name: 'a second file', change: (entries) => [...entries, ['file', slice, 'Y.zip.000']] },
]

for (const { name, change } of different) {
  test(`${name} is not a repeat`, async (t) => {
    const server = await startServer(t)
    const entries: Entry[] = [['file', slice, 'X.zip.000'], ['auth_token', await askToken(server)]]
    await submitForm(server, entries)
    const second = await submitForm(server, change(entries, await askToken(server)))
    assert.equal(second.status, 200)
    assert.equal('repeated' in second.json, false)
    assert.equal((await listUploads(server.basedir)).length, 1 + filesOf(second).length)
  })
}

test('the same answers again are stored again', async (t) => {
  const server = await startServer(t)
  const entries: Entry[] = [['responses', '[1]'], ['auth_token', await askToken(server)]]
  await submitForm(server, entries)
  assert.equal('repeated' in (await submitForm(server, entries)).json, false)
  assert.equal((await listUploads(server.basedir)).length, 2)
})

test('what was stored and is gone from the disk is stored again', async (t) => {
  const server = await startServer(t)
  const entries: Entry[] = [['file', slice, 'X.zip.000'], ['auth_token', await askToken(server)]]
  const [file] = filesOf(await submitForm(server, entries))
  await rm(join(server.basedir, 'uploads', 'responses', 'study', file?.stored_as ?? ''))
  const again = await submitForm(server, entries)
  assert.equal('repeated' in again.json, false)
  assert.equal((await listUploads(server.basedir)).length, 1)
})

function makeKnown(number: number): { submission: Submission; receipt: Receipt } {
  const file = { isAnswers: false, path: '', field: 'f', name: `${number}.wav`, mediaType: undefined, bytes: 1, sha256: '00' }
  const submission = { id: String(number), project: 'study', tokenSha256: '11', grantedAtMs: 0, participant: undefined, fields: [], files: [file] }
  const fields = [{ name: 'a', value: 'b' }]
  return { submission, receipt: { id: String(number), received_at: '', project: 'study', token_sha256: '11', fields, files: [] } }
}

test('what is remembered of forms is bounded, however long their names are, and holds no media types', () => {
  const repeats = new Repeats()
  const make = (number: number) => {
    const { submission, receipt } = makeKnown(number)
    const [file] = submission.files
    const name = `${number}-${'x'.repeat(3900)}`
    const kept = { field: 'f', name, stored_as: name, bytes: 1, sha256: '00' }
    return { submission: { ...submission, files: file === undefined ? [] : [{ ...file, name }] }, receipt: { ...receipt, files: [{ ...kept, media_type: 'y'.repeat(16_000) }] }, kept }
  }
  for (let number = 0; number < 3000; number++) repeats.remember(make(number).submission, make(number).receipt)
  assert.equal(repeats.find(make(0).submission), undefined)
  assert.deepEqual(repeats.find(make(2999).submission)?.files, [make(2999).kept])
})

test('the last forms are known when they come again, the oldest are forgotten, and no text fields are kept', () => {
  const repeats = new Repeats()
  for (let number = 0; number < 24_900; number++) {
    const { submission, receipt } = makeKnown(number)
    repeats.remember(submission, receipt)
  }
  const find = (number: number) => repeats.find(makeKnown(number).submission)
  for (let number = 14_900; number < 24_900; number++) assert.deepEqual(find(number), { ...makeKnown(number).receipt, fields: [] })
  for (let number = 0; number < 14_000; number++) assert.equal(find(number), undefined)
})
