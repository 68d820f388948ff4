import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import type { Submission } from '../lib/store/publisher.ts'
import type { PublishingParts } from '../lib/store/publishing-thread.ts'
import { temporaryDirectory } from './harness.ts'

// From dist/: a thread of its own runs JavaScript only.
const built = new URL('../dist/lib/store/publishing-thread.js', import.meta.url).href
const { PublishingThread } = (await import(built)) as typeof import('../lib/store/publishing-thread.ts')
const PROCESS = '20241101T120000.000000Z-0123abcd'

function submissionOf(basedir: string, text: string): Submission {
  const held = new TextEncoder().encode(text)
  const path = join(basedir, 'uploads', 'staging', PROCESS, '0.part')
  const sha256 = createHash('sha256').update(held).digest('hex')
  const file = { path, isAnswers: false, field: 'f', name: 'a.wav', mediaType: undefined, bytes: held.length, sha256, held }
  return { id: '0'.repeat(32), project: 'study', tokenSha256: '1'.repeat(64), participant: undefined, fields: [], files: [file] }
}

test('a file that is held in memory is stored as it was, one that was stored before is a repeat', async (t) => {
  const basedir = await temporaryDirectory(t)
  const publishing = new PublishingThread({ basedir, processName: PROCESS })
  t.after(() => publishing.close())
  const { receipt, isRepeated } = await publishing.publish(submissionOf(basedir, 'voice'))
  assert.equal(isRepeated, false)
  const stored = receipt.files[0]?.stored_as ?? ''
  assert.equal(await readFile(join(basedir, 'uploads', 'responses', 'study', stored), 'utf8'), 'voice')
  assert.deepEqual(await publishing.publish(submissionOf(basedir, 'voice')), { receipt: { ...receipt, fields: [] }, isRepeated: true })
})

test('an error comes from the thread with its code', async (t) => {
  const basedir = await temporaryDirectory(t)
  const publishing = new PublishingThread({ basedir: join(basedir, 'plain'), processName: PROCESS })
  t.after(() => publishing.close())
  await mkdir(join(basedir, 'plain', 'uploads', 'responses'), { recursive: true })
  await assert.rejects(publishing.publish({ ...submissionOf(basedir, 'voice'), project: '../out' }), /not the name of a project/)
  const submission = submissionOf(basedir, 'voice')
  const unnamed = { ...submission, files: submission.files.map((file) => ({ ...file, path: '/proc/none' })) }
  await assert.rejects(publishing.publish(unnamed), { code: 'ENOENT' })
})

test('a submission that does not reach the thread whole fails, and the next does not', async (t) => {
  const basedir = await temporaryDirectory(t)
  const publishing = new PublishingThread({ basedir, processName: PROCESS })
  t.after(() => publishing.close())
  const spent = submissionOf(basedir, 'voice')
  await publishing.publish(spent)
  await assert.rejects(publishing.publish(spent), /deserialize/)
  assert.equal((await publishing.publish(submissionOf(basedir, 'voice'))).receipt.files.length, 1)
})

test('a thread that dies fails what it had, and the next submission begins another', async (t) => {
  const basedir = await temporaryDirectory(t)
  const publishing = new PublishingThread({} as PublishingParts) // it ends as soon as it has begun
  for (let count = 0; count < 2; count++) {
    const submissions = ['a', 'b'].map((text) => publishing.publish(submissionOf(basedir, text)))
    const outcomes = await Promise.allSettled(submissions)
    assert.deepEqual(outcomes.map(({ status }) => status), ['rejected', 'rejected'])
  }
  await publishing.close()
})
