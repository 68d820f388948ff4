import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { formatDone, Progress } from '../lib/commands/progress.ts'
import { needs, PROGRAM, runProgram, temporaryDirectory, until } from './harness.ts'

const rows = [
  { done: { files: 0, bytes: 0, ofFiles: 0, ofBytes: 0 }, seconds: 3, expected: 'looking at what has arrived' },
  { done: { files: 0, bytes: 0, ofFiles: 2, ofBytes: 900 }, seconds: 0, expected: '0 of 2 files, 0 bytes of 900 bytes, 0 bytes/s' },
  { done: { files: 3, bytes: 2_000_000, ofFiles: 12, ofBytes: 8_000_000 }, seconds: 2, expected: '3 of 12 files, 2.0 MB of 8.0 MB, 1.0 MB/s, 6 s left' },
  { done: { files: 3, bytes: 1_000_000, ofFiles: 12, ofBytes: 100_000_000 }, seconds: 1, expected: '3 of 12 files, 1.0 MB of 100.0 MB, 1.0 MB/s, 2 min left' },
  { done: { files: 3, bytes: 1_000_000, ofFiles: 12, ofBytes: 5_000_000_000 }, seconds: 1, expected: '3 of 12 files, 1.0 MB of 5.0 GB, 1.0 MB/s, 1 h 24 min left' },
  { done: { files: 1, bytes: 1000, ofFiles: 2, ofBytes: 3_600_000 }, seconds: 1, expected: '1 of 2 files, 1.0 kB of 3.6 MB, 1.0 kB/s, 1 h 0 min left' },
  { done: { files: 1, bytes: 1000, ofFiles: 2, ofBytes: 7_200_000 }, seconds: 1, expected: '1 of 2 files, 1.0 kB of 7.2 MB, 1.0 kB/s, 2 h 0 min left' },
  { done: { files: 1, bytes: 0, ofFiles: 2, ofBytes: 999_949 }, seconds: 1, expected: '1 of 2 files, 0 bytes of 999.9 kB, 0 bytes/s' },
  { done: { files: 1, bytes: 0, ofFiles: 2, ofBytes: 999_950 }, seconds: 1, expected: '1 of 2 files, 0 bytes of 1.0 MB, 0 bytes/s' },
  { done: { files: 1, bytes: 1000, ofFiles: 2, ofBytes: 999_999_999 }, seconds: 1, expected: '1 of 2 files, 1.0 kB of 1.0 GB, 1.0 kB/s, 277 h 47 min left' },
  { done: { files: 12, bytes: 9_000_000, ofFiles: 11, ofBytes: 8_000_000 }, seconds: 9, expected: '12 of 11 files, 9.0 MB of 8.0 MB, 1.0 MB/s, 0 s left' },
]
for (const { done, seconds, expected } of rows) {
  test(`a progress line: ${expected}`, () => assert.equal(formatDone(done, seconds), expected))
}

test('the line is shown at once, follows what was done, and is taken away at the end', async () => {
  const shown: string[] = []
  const done = { files: 0, bytes: 0, ofFiles: 0, ofBytes: 0 }
  const progress = new Progress((line) => shown.push(line), () => done)
  assert.deepEqual(shown, ['looking at what has arrived'])
  Object.assign(done, { files: 1, ofFiles: 2, ofBytes: 10 })
  const keepsAlive = setInterval(() => undefined, 1000) // the timer of the line does not
  await until('the line has changed', () => shown.at(-1)?.startsWith('1 of 2 files, ') === true)
  clearInterval(keepsAlive)
  progress.end()
  assert.equal(shown.at(-1), '')
})

async function makeBasedir(t: TestContext): Promise<string> {
  const basedir = await temporaryDirectory(t)
  await mkdir(join(basedir, 'uploads', 'responses', 'study'), { recursive: true })
  await writeFile(join(basedir, 'uploads', 'responses', 'study', '20240101T000000.000000Z-messages.json'), '[]')
  return basedir
}

test('on a terminal export and verify show the line in one place, and no rest of it stays', async (t) => {
  if (!needs(t, 'script', 'bsdutils')) return
  const basedir = await makeBasedir(t)
  for (const args of [['export', 'study', join(await temporaryDirectory(t), 'out')], ['verify']]) {
    const command = [process.execPath, PROGRAM, ...args, '--basedir', basedir].map((each) => `'${each}'`).join(' ')
    const { status, stdout } = spawnSync('script', ['--quiet', '--return', '--command', command, '/dev/null'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
    assert.equal(status, 0, stdout)
    assert.match(stdout, /^\r\u001b\[Klooking at what has arrived\r\u001b\[K/)
    const lines = stdout.split('\r\n').map((line) => line.split('\u001b[K').at(-1))
    assert.match(lines[0] ?? '', /^(study|no receipt): /)
  }
})

test('where nobody watches there is no line', async (t) => {
  const basedir = await makeBasedir(t)
  assert.equal(runProgram(['verify', '--basedir', basedir]).stderr, '')
})
