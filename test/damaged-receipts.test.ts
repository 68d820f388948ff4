import assert from 'node:assert/strict'
import { cp, mkdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { readArrivals } from '../lib/dataset/arrivals.ts'
import { Layout } from '../lib/store/layout.ts'
import { runCommand } from './commanded.ts'
import { check, runExport } from './exported.ts'
import { askToken, listFiles, needs, startServer, temporaryDirectory } from './harness.ts'
import { activityUpload, answer, finalZip, makeWav, openApp, send, slice, type Sitting } from './web-app.ts'

const status = (basedir: string, ...args: string[]) => runCommand(['status', 'study', '--basedir', basedir, ...args])

/** A base directory of years ago: what has no receipt is not taken for a file that is arriving. */
async function makeBasedir(t: TestContext): Promise<{ basedir: string; receipts: string; sitting: Sitting }> {
  const server = await startServer(t)
  const sitting = openApp('anna')
  answer(sitting, 'voice', { say: makeWav(8000), mood: 3 })
  const authToken = await askToken(server, { participant_id: 'token-anna' })
  await send(server, authToken, [activityUpload(sitting, 0)])
  await send(server, authToken, slice(finalZip(sitting), 5000))
  await server.stop()
  const uploads = join(server.basedir, 'uploads', 'responses', 'study')
  for (const name of await listFiles(uploads)) await rename(join(uploads, name), join(uploads, `2020${name.slice(4)}`))
  const [name = ''] = await listFiles(join(server.basedir, 'receipts', 'study'))
  const receipts = join(server.basedir, 'receipts', 'study', name)
  await writeFile(receipts, (await readFile(receipts, 'utf8')).replaceAll(/"stored_as":"\d{4}/g, '"stored_as":"2020'))
  return { basedir: server.basedir, receipts, sitting }
}

const damages: { name: string; damage: (line: string) => string }[] = [
  { name: 'that is cut', damage: (line) => line.slice(0, 40) },
  { name: 'of zeros', damage: (line) => '\0'.repeat(line.length) },
  { name: 'that is JSON of another shape', damage: () => '{"id":1}' },
  { name: 'of another project', damage: (line) => line.replace('"project":"study"', '"project":"other"') },
  { name: 'with a moment that is none', damage: (line) => line.replace(/"received_at":"[^"]*"/, '"received_at":"yesterday"') },
]

test('a receipt that cannot be read is told, and the files that it named are not lost', async (t) => {
  if (!needs(t, 'python3', 'python3') || !needs(t, 'unzip', 'unzip')) return
  const whole = await makeBasedir(t)
  await t.test('where every receipt can be read nothing is told', async () => {
    assert.equal(JSON.parse((await status(whole.basedir, '--json')).stdout).projects[0].unreadable_receipts, 0)
    assert.doesNotMatch((await status(whole.basedir)).stdout, /WARNING/)
  })
  for (const { name, damage } of damages) {
    await t.test(`a line ${name}`, async (t) => {
      const directory = await temporaryDirectory(t)
      const basedir = join(directory, 'copy')
      await cp(whole.basedir, basedir, { recursive: true })
      const receipts = whole.receipts.replace(whole.basedir, basedir)
      const lines = (await readFile(receipts, 'utf8')).trimEnd().split('\n')
      const last = lines.length - 1 // of the zip at the end of the session
      await writeFile(receipts, `${lines.with(last, damage(lines[last] ?? '')).join('\n')}\n`)

      const told = await status(basedir)
      assert.equal(told.status, 0, told.stderr)
      assert.match(told.stdout, /^WARNING: 1 receipt of study cannot be read \(run verify\)/m)
      assert.match((await status(basedir, '--participant', 'token-anna')).stdout, /^WARNING: 1 receipt/m)
      assert.equal(JSON.parse((await status(basedir, '--participant', 'token-anna', '--json')).stdout).unreadable_receipts, 1)
      const [project] = JSON.parse((await status(basedir, '--json')).stdout).projects
      assert.deepEqual([project.unreadable_receipts, project.sessions, project.complete, project.lost_files], [1, 1, 1, 0])

      const ran = await runExport(basedir, join(directory, 'out'))
      assert.equal(ran.status, 0, ran.stdout + ran.stderr)
      assert.match(ran.stdout, /^WARNING: 1 receipt of study cannot be read/m)
      const exported = await check(join(directory, 'out'))
      assert.deepEqual(exported.sessions.map((row) => [row['session'], row['participant'], row['state']]), [[whole.sitting.id, 'token-anna', 'complete']])
      const row = exported.incomplete.find((each) => each['source']?.endsWith(`, line ${last + 1}`))
      assert.match(row?.['reason'] ?? '', /^This receipt cannot be read/)
    })
  }
  await t.test('a line that was never finished was never a promise', async (t) => {
    const basedir = join(await temporaryDirectory(t), 'copy')
    await cp(whole.basedir, basedir, { recursive: true })
    const receipts = whole.receipts.replace(whole.basedir, basedir)
    await writeFile(receipts, '{"id":', { flag: 'a' })
    assert.equal(JSON.parse((await status(basedir, '--json')).stdout).projects[0].unreadable_receipts, 0)
  })
})

const moments = [
  { name: 'a day that is none', storedAs: '99999999T000000.000000Z-a.txt', expected: 'mtime' },
  { name: 'the 30th of February', storedAs: '20240230T000000.000000Z-a.txt', expected: 'mtime' },
  { name: 'the 60th minute', storedAs: '20240101T006000.000000Z-a.txt', expected: 'mtime' },
  { name: 'the 24th hour', storedAs: '20240101T240000.000000Z-a.txt', expected: 'mtime' },
  { name: 'no stamp at all', storedAs: 'a.txt', expected: 'mtime' },
  { name: 'the 29th of February', storedAs: '20240229T235959.123456Z-a.txt', expected: '2024-02-29T23:59:59.123456Z' },
]
for (const { name, storedAs, expected } of moments) {
  test(`a file without a receipt arrived when its stamp says so, else when it was written: ${name}`, async (t) => {
    const layout = new Layout(await temporaryDirectory(t))
    await mkdir(layout.responsesOf('study'), { recursive: true })
    const path = join(layout.responsesOf('study'), storedAs)
    await writeFile(path, '')
    await utimes(path, 0, 1_600_000_000)
    const [submission] = (await readArrivals(layout, 'study')).submissions
    assert.equal(submission?.receivedAt, expected === 'mtime' ? new Date(1_600_000_000_000).toISOString() : expected)
    assert.deepEqual(submission?.files.map((file) => file.name), ['a.txt'])
  })
}

test('a file without a receipt that is gone meanwhile is told, and stops nothing', async (t) => {
  const layout = new Layout(await temporaryDirectory(t))
  const directory = layout.responsesOf('study')
  await mkdir(directory, { recursive: true })
  const names = ['a', 'b'].map((name) => `20200101T000000.000000Z-${name}.txt`)
  for (const name of names) await writeFile(join(directory, name), '')
  const { snapshot } = await readArrivals(layout, 'study')
  await rm(join(directory, names[0] ?? ''))
  const { submissions, vanished } = await readArrivals(layout, 'study', snapshot)
  assert.deepEqual(vanished, names.slice(0, 1))
  assert.deepEqual(submissions.flatMap(({ files }) => files.map(({ storedAs }) => storedAs)), names.slice(1))
})
