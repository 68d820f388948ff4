import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { appendFile, cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { runCommand } from './commanded.ts'
import { exportAndCheck, runExport } from './exported.ts'
import { askToken, listData, listFiles, needs, PROGRAM, runProgram, startServer, submitForm, temporaryDirectory, type Running } from './harness.ts'
import { activityUpload, answer, finalZip, makeWav, openApp, send, slice, type Sitting } from './web-app.ts'

const SLICE = 100_000

async function sendSession(server: Running, participant: string): Promise<Sitting> {
  const authToken = await askToken(server, { participant_id: participant })
  const sitting = openApp(participant)
  answer(sitting, 'voice', { say: makeWav(100_000), mood: 3 })
  await send(server, authToken, [activityUpload(sitting, 0), ...slice(finalZip(sitting), SLICE)])
  return sitting
}

test('an export that was killed is completed by --resume, as of the moment when it began', async (t) => {
  if (!needs(t, 'python3', 'python3') || !needs(t, 'unzip', 'unzip') || !needs(t, 'strace', 'strace')) return
  const server = await startServer(t)
  await Promise.all(Array.from({ length: 30 }, (_, index) => sendSession(server, `p${index}`)))
  const directory = await temporaryDirectory(t)
  const [killed, whole] = [join(directory, 'killed'), join(directory, 'whole')]
  await exportAndCheck(server.basedir, whole)
  let before = 0
  for (const [call, number] of [['link', 40], ['unlink', 40], ['link', 16]] as const) { // unlinked is first what the last one had begun
    const through = ['-f', '-qq', '-o', '/dev/null', '-e', `trace=${call}`, '-e', `inject=${call}:signal=KILL:when=${number}`]
    const args = ['export', 'study', killed, '--basedir', server.basedir, '--resume']
    const env = { PATH: process.env['PATH'], UV_THREADPOOL_SIZE: '1' } // one thread makes all the calls
    const ended = spawnSync('strace', [...through, process.execPath, PROGRAM, ...args], { stdio: 'ignore', env })
    assert.equal(ended.signal, 'SIGKILL')
    const written = (await listFiles(killed)).filter((path) => !path.startsWith('.')).length
    assert.ok(written > before, `${written} files after a kill at ${call}, ${before} before`)
    before = written
  }
  assert.ok(!(await listFiles(killed)).includes('SHA256SUMS'), 'it was not finished')
  for (const path of (await listFiles(killed)).filter((each) => !each.startsWith('.'))) {
    assert.ok((await readFile(join(killed, path))).equals(await readFile(join(whole, path))), `${path} is whole`)
  }
  await sendSession(server, 'later')
  await exportAndCheck(server.basedir, killed, '--resume')
  assert.deepEqual(await listFiles(killed), await listFiles(whole))
  assert.equal(await readFile(join(killed, 'SHA256SUMS'), 'utf8'), await readFile(join(whole, 'SHA256SUMS'), 'utf8'))
})

for (const signal of ['INT', 'TERM'] as const) {
  test(`an export that SIG${signal} ends says how it is completed`, async (t) => {
    if (!needs(t, 'strace', 'strace')) return
    const server = await startServer(t)
    for (const participant of ['anna', 'berta', 'carla']) await sendSession(server, participant)
    const out = join(await temporaryDirectory(t), 'out')
    const through = ['-f', '-qq', '-o', '/dev/null', '-e', 'trace=link', '-e', `inject=link:signal=${signal}:when=5`]
    const args = ['export', 'study', out, '--basedir', server.basedir]
    const ended = spawnSync('strace', [...through, process.execPath, PROGRAM, ...args], { encoding: 'utf8', env: { PATH: process.env['PATH'] } })
    assert.deepEqual([ended.signal, ended.stdout], [`SIG${signal}`, ''])
    assert.equal(ended.stderr, `Interrupted. What is in ${out} is kept: complete it with --resume.\n`)
    const { status, stdout } = await runExport(server.basedir, out, '--resume')
    assert.equal(status, 0, stdout)
    assert.match(stdout, /^study: 3 sessions \(0 incomplete/)
  })
}

test('an export that fills its disk says where, and is completed by --resume', async (t) => {
  if (!needs(t, 'prlimit', 'util-linux')) return
  const server = await startServer(t)
  await sendSession(server, 'anna')
  const out = join(await temporaryDirectory(t), 'out')
  const full = runProgram(['export', 'study', out, '--basedir', server.basedir], {}, '/', ['prlimit', '--fsize=50000'])
  assert.equal(full.status, 1)
  assert.equal(full.stdout, `FAILED: ${out} cannot take more (EFBIG: file too large, write). What is there is kept: make room, and complete it with --resume.\n`)
  assert.equal(full.stderr, '')
  const { status, stdout } = await runExport(server.basedir, out, '--resume')
  assert.equal(status, 0, stdout)
  assert.match(stdout, /^study: 1 session \(0 incomplete/)
})

test('a file that differs is never replaced', async (t) => {
  const server = await startServer(t)
  const sitting = await sendSession(server, 'anna')
  const out = join(await temporaryDirectory(t), 'out')
  assert.equal((await runExport(server.basedir, out)).status, 0)
  const path = join(out, 'survey', 'anna', sitting.id, 'activity_0.jsonld')
  await appendFile(path, '\n')
  const edited = await readFile(path)
  const { status, stdout } = await runExport(server.basedir, out, '--resume')
  assert.equal(status, 1)
  assert.match(stdout, /^FAILED: .*activity_0\.jsonld is there already and differs\. It was left as it is/)
  assert.ok((await readFile(path)).equals(edited))
})

test('a selection takes whole sessions of a time or of a participant', async (t) => {
  if (!needs(t, 'python3', 'python3') || !needs(t, 'unzip', 'unzip')) return
  const server = await startServer(t)
  const [anna] = [await sendSession(server, 'anna'), await sendSession(server, 'ben')]
  const directory = await temporaryDirectory(t)
  const one = await exportAndCheck(server.basedir, join(directory, 'one'), '--participant', 'anna')
  assert.deepEqual(one.sessions.map((row) => row['session']), [anna.id])
  const today = await exportAndCheck(server.basedir, join(directory, 'today'), '--since', '2020-01-01')
  assert.equal(today.sessions.length, 2)
  const future = await exportAndCheck(server.basedir, join(directory, 'future'), '--since', '2999-01-01T00:00:00Z')
  assert.equal(future.sessions.length, 0)
})

test('an export says how many of its files are unassigned, beside sessions', async (t) => {
  const server = await startServer(t)
  await sendSession(server, 'anna')
  const directory = await temporaryDirectory(t)
  const before = await runExport(server.basedir, join(directory, 'before'))
  assert.match(before.stdout, /^study: 1 session \(0 incomplete, 0 unassigned\), \d+ files in \S+\/before$/m)
  await submitForm(server, [['file', Buffer.from('note'), 'notes.txt'], ['responses', '[1]'], ['auth_token', await askToken(server)]])
  for (const args of [[], ['--resume']]) {
    const after = await runExport(server.basedir, join(directory, 'after'), ...args)
    assert.match(after.stdout, /^study: 1 session \(0 incomplete, 0 unassigned\), \d+ files in \S+\/after, 3 of them in unassigned\/$/m)
  }
  const files = await listFiles(join(directory, 'after'))
  assert.equal(files.filter((path) => path.startsWith('unassigned/')).length, 3)
})

test('an export of one participant warns where it takes nothing', async (t) => {
  const server = await startServer(t)
  await sendSession(server, 'anna')
  await submitForm(server, [['responses', '[1]'], ['auth_token', await askToken(server, { participant_id: 'answers' })]])
  await submitForm(server, [['file', Buffer.from('note'), 'notes.txt'], ['auth_token', await askToken(server, { participant_id: 'notes' })]])
  const cases: readonly { args: readonly string[]; isWarned: boolean }[] = [
    { args: ['--participant', 'anna'], isWarned: false },
    { args: ['--participant', ' answers '], isWarned: false },
    { args: ['--participant', 'notes'], isWarned: false },
    { args: ['--participant', 'anne'], isWarned: true },
    { args: ['--participant', 'anna', '--since', '2999-01-01'], isWarned: true },
    { args: ['--since', '2999-01-01'], isWarned: false },
  ]
  for (const { args, isWarned } of cases) {
    const { status, stdout } = await runExport(server.basedir, join(await temporaryDirectory(t), 'out'), ...args)
    assert.equal(status, 0)
    const warning = /^WARNING: nothing of (\w+) is in this export\. .*: status study --participant \1$/m.exec(stdout)
    assert.deepEqual([warning?.[1], stdout.includes('WARNING')], isWarned ? [args[1], true] : [undefined, false], args.join(' '))
  }
})

test('what the seed server stored is exported without any receipt, retries once', async (t) => {
  if (!needs(t, 'python3', 'python3') || !needs(t, 'unzip', 'unzip')) return
  const basedir = await temporaryDirectory(t)
  const directory = join(basedir, 'uploads', 'responses', 'study')
  await mkdir(directory, { recursive: true })
  const sitting = openApp('anna')
  answer(sitting, 'voice', { say: makeWav(100_000) })
  const slices = slice(finalZip(sitting, { method: 'stored' }), SLICE)
  for (const [second, { name, content }] of [...slices, ...slices].entries()) {
    await writeFile(join(directory, `20240101T0000${String(second).padStart(2, '0')}.000000Z-${name}`), content)
  }
  await symlink('/etc/passwd', join(directory, 'link'))
  const exported = await exportAndCheck(basedir, join(await temporaryDirectory(t), 'out'))
  assert.deepEqual(exported.sessions.map((row) => [row['participant'], row['state']]), [['anna', 'complete']])
  assert.deepEqual(exported.incomplete.map((row) => row['source']), ['link'])
  assert.equal(exported.recordings.length, 1)
})

test('a copy is exported the same, and a file that is gone from it is told', async (t) => {
  if (!needs(t, 'python3', 'python3') || !needs(t, 'unzip', 'unzip')) return
  const server = await startServer(t)
  const sitting = await sendSession(server, 'anna')
  const directory = await temporaryDirectory(t)
  await cp(server.basedir, join(directory, 'copy'), { recursive: true })
  const stored = (await listFiles(join(directory, 'copy'))).find((path) => path.endsWith('.zip.000')) ?? ''
  await rm(join(directory, 'copy', stored))
  const exported = await exportAndCheck(join(directory, 'copy'), join(directory, 'out'))
  assert.ok(exported.incomplete.some((row) => stored.endsWith(row['source'] ?? '-') && /gone from the disk/.test(row['reason'] ?? '')))
  const row = exported.sessions.find((each) => each['session'] === sitting.id)
  assert.equal(row?.['state'], 'incomplete')
})

test('what is gone of one participant is told to whoever asks for that one, and to nobody else', async (t) => {
  const server = await startServer(t)
  for (const participant of ['anna', 'ben']) await sendSession(server, participant)
  await server.stop()
  const stored = join(server.basedir, 'uploads', 'responses', 'study')
  const names = (await listFiles(stored)).filter((path) => path.includes('-anna'))
  for (const name of names) await rm(join(stored, name))
  const rowsOf = async (participant: string) => {
    const out = join(await temporaryDirectory(t), 'out')
    assert.equal((await runExport(server.basedir, out, '--participant', participant)).status, 0)
    return (await listFiles(out)).includes('incomplete/reasons.csv') ? await readFile(join(out, 'incomplete', 'reasons.csv'), 'utf8') : ''
  }
  const annas = await rowsOf('anna')
  for (const name of names) assert.ok(annas.includes(`,"A receipt promises this file, and it is gone from the disk.",,anna,${name}\r\n`), annas)
  assert.doesNotMatch(await rowsOf('ben'), /anna/)
  const { status, stdout } = await runCommand(['status', 'study', '--participant', 'anna', '--basedir', server.basedir])
  assert.equal(status, 0)
  for (const name of names) assert.ok(stdout.includes(`${name} arrived, and is gone from the disk`), stdout)
})

test('an export whose note of what it takes was cut by a power cut begins anew', async (t) => {
  const server = await startServer(t)
  await sendSession(server, 'anna')
  const out = await temporaryDirectory(t)
  await writeFile(join(out, '.export.json'), '')
  const { status, stdout, stderr } = await runExport(server.basedir, out, '--resume')
  assert.equal(status, 0, stdout + stderr)
  assert.match(stdout, /^study: 1 session /)
})

const refusals: { name: string; args: (paths: { basedir: string; out: string }) => string[]; says: RegExp }[] = [
  { name: 'without a directory', args: () => ['study'], says: /<out> is missing/ },
  { name: 'of a project that is not there', args: ({ out }) => ['other', out], says: /has no project "other"\. It has study\./ },
  { name: 'into the base directory', args: ({ basedir }) => ['study', join(basedir, 'receipts', 'new')], says: /is in the base directory/ },
  { name: 'into a directory that has something else', args: ({ basedir }) => ['study', join(basedir, '..')], says: /is not empty/ },
  { name: 'into a directory that has an export already', args: ({ out }) => ['study', out], says: /has an export already\. Add --resume/ },
  { name: 'into nothing', args: () => ['study', ''], says: /^<out> is empty\. Name the directory/ },
  { name: 'into a file', args: () => ['study', PROGRAM], says: /^The directory .*serve\.js cannot be made: a file stands there, or in its way\. Choose another one\.$/m },
  { name: 'below a file', args: () => ['study', join(PROGRAM, 'a', 'b')], says: /^The directory .*serve\.js\/a\/b cannot be made: a file stands there/ },
  { name: 'where no directory can be made', args: () => ['study', '/proc/new/dataset'], says: /^The directory \/proc\/new\/dataset cannot be made: ENOENT\./ },
  { name: 'of a participant without a name', args: ({ out }) => ['study', out, '--participant', ' '], says: /^--participant is empty: name a participant, or leave it out\.$/m },
  { name: 'since a day that is none', args: ({ out }) => ['study', out, '--since', '2024-02-30'], says: /--since="2024-02-30" is not allowed/ },
  { name: 'since a time of a day that is none', args: ({ out }) => ['study', out, '--since', '2023-02-29T12:00:00+01:00'], says: /--since="2023-02-29T12:00:00\+01:00" is not allowed/ },
  { name: 'since a time that is none', args: ({ out }) => ['study', out, '--since', 'yesterday'], says: /--since="yesterday" is not allowed/ },
]

test('an export is refused', async (t) => {
  const server = await startServer(t, { basedir: join(await temporaryDirectory(t), 'base') })
  await sendSession(server, 'anna')
  const before = await listData(server.basedir)
  for (const { name, args, says } of refusals) {
    await t.test(name, async (t) => {
      const out = join(await temporaryDirectory(t), 'out')
      if (name.endsWith('already')) assert.equal((await runExport(server.basedir, out)).status, 0)
      const { status, stderr } = await runCommand(['export', '--basedir', server.basedir, ...args({ basedir: server.basedir, out })])
      assert.equal(status, 2)
      assert.match(stderr, says)
    })
  }
  assert.deepEqual(await listData(server.basedir), before)
})
