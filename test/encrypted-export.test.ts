import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmod, cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { formatIdentity, newIdentity, type Identity } from '../lib/crypt/keys.ts'
import { copyEncrypted, makeIdentity, type Choose } from './encrypted.ts'
import { check, runExport } from './exported.ts'
import { askToken, listFiles, needs, PROGRAM, readReceipts, runProgram, startServer, submitForm, temporaryDirectory } from './harness.ts'
import { ONLY_TRACED } from './trace.ts'
import { activityUpload, answer, finalZip, makeWav, openApp, send, slice } from './web-app.ts'
import { extraField } from './zip-writer.ts'

const SLICE = 150_000 // three chunks of an age file, and nothing of them at their borders
const MARKER = 'a word that only the participant may have said'

/** A study as one server has stored it, and what is asked of its copies. */
async function makeStudy(t: TestContext) {
  const server = await startServer(t)
  const anna = await askToken(server, { participant_id: 'anna' })
  const sitting = openApp('anna')
  answer(sitting, 'voice', { say: makeWav(200_000), again: makeWav(90_000, 16_000, 7), mood: MARKER })
  await send(server, anna, [activityUpload(sitting, 0)])
  answer(sitting, 'mood', { today: 'good', record_id: 'anna' })
  await send(server, anna, [activityUpload(sitting, 1)])
  const slices = slice(finalZip(sitting, { method: 'stored' }), SLICE)
  await send(server, anna, slices)

  const lost = openApp('ben')
  answer(lost, 'voice', { say: makeWav(200_000) })
  await send(server, await askToken(server), [activityUpload(lost, 0), ...slice(finalZip(lost, { method: 'stored' }), SLICE).toSpliced(1, 1)])

  const leftover = openApp('carla')
  answer(leftover, 'voice', { say: makeWav(100_000) })
  const { name, content } = finalZip(leftover, { method: 'stored' })
  await send(server, await askToken(server), slice({ name, content: Buffer.concat([content.subarray(0, SLICE + 100), content]) }, SLICE))

  const many = openApp('dora')
  const items = Array.from({ length: 8 }, (_, index) => [`item${index}-${'of-a-long-name-'.repeat(9)}`, makeWav(10, 16_000, index)])
  answer(many, 'form', Object.fromEntries(items))
  const central = { extra: extraField(0xcafe, Buffer.alloc(8000)) } // 80 kB of directory
  await send(server, await askToken(server), slice(finalZip(many, { central })))

  await submitForm(server, [['responses', JSON.stringify([{ said: MARKER }])], ['auth_token', anna], ['comment', MARKER]])
  await submitForm(server, [['file', Buffer.from(MARKER), 'notes.txt'], ['long', MARKER.repeat(2000)], ['auth_token', anna]])
  await submitForm(server, [['file', makeWav(9), 'broken.wav'], ['other', Buffer.from('PK and no zip'), `${randomUUID()}-.zip`], ['auth_token', anna]])
  await server.stop()

  // What the server does not know any more it stores again: two files of one content, which the encryption hides.
  const later = await startServer(t, { basedir: server.basedir })
  await send(later, await askToken(later, { participant_id: 'anna' }), slices.slice(1, 3))
  await send(later, anna, [{ name: slices[0]?.name ?? '', content: Buffer.alloc(SLICE, 7) }])
  await later.stop()
  const root = await temporaryDirectory(t)
  return { basedir: server.basedir, root, sitting, names: slices.map((each) => each.name) }
}

type Study = Awaited<ReturnType<typeof makeStudy>>

/** What two exports of one study may differ in: how far the receipts files were read, which are longer for encrypted files. */
function assertSameTree(a: string, b: string): void {
  const { status, stdout } = spawnSync('diff', ['-r', '--exclude', '.export.json', a, b], { encoding: 'utf8' })
  assert.equal(status, 0, stdout.slice(0, 4000))
}

test('a study that is stored encrypted is exported with its key', async (t) => {
  const study = await makeStudy(t)
  const { basedir, root } = study
  const [first, second] = [await makeIdentity(join(root, 'first.key')), await makeIdentity(join(root, 'second.key'))]
  const key = ['--identity', join(root, 'first.key')] as const
  const both = [...key, '--identity', join(root, 'second.key')] as const
  const plain = join(root, 'plain')
  assert.equal((await runExport(basedir, plain)).status, 0)
  const whole = await copyEncrypted(basedir, join(root, 'whole'), () => [first])

  await t.test('nothing that was said can be read in the copy', async () => {
    assert.equal(spawnSync('grep', ['-rqaF', MARKER, basedir]).status, 0)
    assert.equal(spawnSync('grep', ['-rqaF', MARKER, whole]).status, 1)
  })

  const mixtures: { name: string; choose: Choose }[] = [
    { name: 'encrypted to one key', choose: () => [first] },
    { name: 'encrypted to two keys, each of which opens it', choose: () => [second, first] },
    { name: 'where every second file is plain', choose: (_, index) => (index % 2 === 0 ? [first] : undefined) },
    { name: 'where every second file is for another key', choose: (_, index) => [index % 2 === 0 ? first : second] },
    { name: 'where encryption began in the middle', choose: (_, index) => (index > 6 ? [first] : undefined) },
    { name: 'where it ended in the middle', choose: (_, index) => (index < 8 ? [second] : undefined) },
  ]
  for (const { name, choose } of mixtures) {
    await t.test(`the tree is the same, ${name}`, async () => {
      const [copy, out] = [join(root, randomUUID()), join(root, randomUUID())]
      await copyEncrypted(basedir, copy, choose)
      const { status, stdout, stderr } = await runExport(copy, out, ...both)
      assert.equal(status, 0, stdout + stderr)
      assert.doesNotMatch(stdout, /WARNING/)
      assertSameTree(plain, out)
      assert.deepEqual((await listFiles(out)).filter((path) => path.endsWith('.age')), [])
    })
  }

  await t.test('files without a receipt are opened too', async () => {
    const bare: [string, string] = [join(root, 'bare-plain'), join(root, 'bare-encrypted')]
    for (const [index, from] of [basedir, whole].entries()) {
      await cp(join(from, 'uploads', 'responses'), join(bare[index] ?? '', 'uploads', 'responses'), { recursive: true })
    }
    const fields = (await listFiles(bare[1])).filter((path) => path.endsWith('-fields.json.age'))
    for (const path of fields) await rm(join(bare[1], path)) // unencrypted they are in the receipts, and gone with them
    const outs = bare.map((each) => `${each}-out`)
    assert.equal((await runExport(bare[0], outs[0] ?? '')).status, 0)
    const { status, stdout, stderr } = await runExport(bare[1], outs[1] ?? '', ...key)
    assert.equal(status, 0, stdout + stderr)
    assertSameTree(outs[0] ?? '', outs[1] ?? '')
  })

  await t.test('one participant, and what has come since, are taken as of plain files', async () => {
    for (const args of [['--participant', 'anna'], ['--since', '2999-01-01'], ['--since', '2020-01-01', '--participant', 'ben']]) {
      const [a, b] = [join(root, randomUUID()), join(root, randomUUID())]
      assert.equal((await runExport(basedir, a, ...args)).status, 0)
      assert.equal((await runExport(whole, b, ...args, ...key)).status, 0)
      assertSameTree(a, b)
    }
  })

  await t.test('an identity may come over standard input', async () => {
    const out = join(root, 'piped')
    const input = await readFile(join(root, 'first.key'))
    const { status, stderr } = spawnSync(process.execPath, [PROGRAM, 'export', '--basedir', whole, 'study', out, '--identity', '-'], { input, encoding: 'utf8' })
    assert.equal(status, 0, stderr)
    assertSameTree(plain, out)
  })

  await t.test('what is no identity is not read on from standard input', () => {
    const { status, stderr } = spawnSync('sh', ['-c', 'yes | "$@"', 'sh', process.execPath, PROGRAM, 'export', '--basedir', whole, 'study', join(root, 'yes'), '--identity', '-'], { encoding: 'utf8' })
    assert.equal(status, 2)
    assert.match(stderr, /^Standard input is no identity file/)
  })

  await t.test('nothing but the export is written', async (t) => {
    if (!needs(t, 'strace', 'strace')) return
    const [out, trace] = [join(root, 'traced'), join(root, 'trace')]
    const command = ['-f', ONLY_TRACED, '-qq', '-e', 'trace=openat,open,creat,memfd_create', '-o', trace, process.execPath, PROGRAM, 'export', '--basedir', whole, 'study', out, ...key]
    assert.equal(spawnSync('strace', command, { encoding: 'utf8', env: { PATH: process.env['PATH'] ?? '' } }).status, 0)
    const opened = (await readFile(trace, 'utf8')).split('\n').filter((line) => /O_WRONLY|O_RDWR|O_CREAT|creat\(|memfd_create\(/.test(line))
    assert.ok(opened.some((line) => line.includes(`"${out}/`)), 'the export writes')
    const allowed = [`"${out}/`, '"/dev/null"', `"${join(whole, 'audit')}/`]
    assert.deepEqual(opened.filter((line) => !allowed.some((place) => line.includes(place))), [])
  })

  await t.test('without a key it says what to do, and writes nothing', async () => {
    for (const [index, copy] of [whole, await copyEncrypted(basedir, join(root, 'some'), (_, file) => (file === 3 ? [first] : undefined))].entries()) {
      const { status, stdout, stderr } = await runExport(copy, join(root, 'none'))
      assert.equal(status, 2)
      assert.match(stderr, index === 1 ? /^1 file of study is encrypted: give the key that opens them with --identity FILE/ : /^\d+ files of study are encrypted: give the key that opens them with --identity FILE, .*\.\n$/)
      assert.equal(stdout, '')
      assert.ok(!(await readdir(root)).includes('none'), 'no directory is made')
    }
  })

  await t.test('with a key of somebody else it says so, and writes nothing', async () => {
    const wrong = await makeIdentity(join(root, 'wrong.key'))
    const { status, stdout, stderr } = await runExport(whole, join(root, 'none'), '--identity', join(root, 'wrong.key'))
    assert.equal(status, 2)
    assert.match(stderr, /^No identity that was given opens an encrypted file of study: all \d+ were encrypted to other keys\. Nothing was written\.\n$/)
    assertShowsNoKey(stdout + stderr, wrong)
    assert.ok(!(await readdir(root)).includes('none'), 'no directory is made')
  })

  await t.test('what no identity opens is set aside as it is stored, and everything else is there', async (t) => {
    const names = new Set([study.names[2] ?? '', 'messages.json', 'notes.txt'])
    const copy = await copyEncrypted(basedir, join(root, 'partly'), ({ name }) => [names.has(name) ? second : first])
    const out = join(root, 'partly-out')
    const { status, stdout, stderr } = await runExport(copy, out, ...key)
    assert.equal(status, 0, stdout + stderr)
    const { incomplete, sessions, files } = await check(out)
    assert.match(stdout, /^WARNING: 4 encrypted files of study could be opened with none of the identities\. /m)
    const aside = incomplete.filter((row) => row['file']?.endsWith('.age'))
    assert.deepEqual(aside.map((row) => row['source']?.replace(/^[^-]*-/, '')).toSorted(), [`${study.names[2]}.age`, `${study.names[2]}.age`, 'messages.json.age', 'notes.txt.age'].toSorted())
    for (const row of aside) assert.match(row['reason'] ?? '', /It is encrypted, and no identity that was given opens it\. It is here as it is stored, encrypted\.$/)
    const anna = sessions.find((row) => row['session'] === study.sitting.id)
    assert.equal(anna?.['state'], 'incomplete')
    assert.ok(files.some((path) => path.startsWith('audio/anna/')), 'what came after each activity is there')
    assert.equal(sessions.filter((row) => row['state'] === 'complete').length, 2)
    if (!needs(t, 'age', 'age')) return
    const opened = spawnSync('age', ['--decrypt', '--identity', join(root, 'second.key'), join(out, aside.find((row) => row['source']?.includes('notes'))?.['file'] ?? '')], { encoding: 'utf8' })
    assert.equal(opened.stdout, MARKER, opened.stderr)
  })

  await t.test('an interrupted export is completed with the same key, and with no other', async () => {
    const out = join(root, 'resumed')
    assert.equal((await runExport(whole, out, ...key)).status, 0)
    for (const path of ['SHA256SUMS', 'responses.csv']) await rm(join(out, path))
    const refused = await runExport(whole, out, ...both, '--resume')
    assert.equal(refused.status, 2)
    assert.match(refused.stderr, /has an export that was made with other identities\. Give the same ones/)
    assert.equal((await runExport(whole, out, ...key, '--resume')).status, 0)
    assertSameTree(plain, out)
  })

  await damaged(t, study, { whole, key, plain })
})

/** What happens to a stored file that was altered, by the share of it where that was done. */
async function damaged(t: TestContext, { root, sitting, names }: Study, { whole, key, plain }: { whole: string; key: readonly string[]; plain: string }): Promise<void> {
  const copyWith = async (name: string, damage: (path: string) => Promise<void>) => {
    const [copy, out] = [join(root, randomUUID()), join(root, randomUUID())]
    await cp(whole, copy, { recursive: true })
    const receipts = await readReceipts(copy, 'study')
    const files = receipts.flatMap((receipt) => receipt['files'] as { name: string; stored_as: string }[])
    for (const file of files.filter((each) => each.name === name)) await damage(join(copy, 'uploads', 'responses', 'study', file.stored_as))
    const { status, stdout, stderr } = await runExport(copy, out, ...key)
    assert.equal(status, 0, stdout + stderr)
    return check(out)
  }
  const flip = (place: (bytes: Buffer) => number) => async (path: string) => {
    const bytes = await readFile(path)
    bytes[place(bytes)] = (bytes[place(bytes)] ?? 0) ^ 1
    await writeFile(path, bytes)
  }
  const headerBytes = (bytes: Buffer) => bytes.indexOf('\n---') + 49

  await t.test('a flipped bit in a slice costs what lies in its chunk, and no more', async () => {
    const { files, incomplete, sessions, recordings } = await copyWith(names[1] ?? '', flip((bytes) => headerBytes(bytes) + 16 + 70_000))
    const row = sessions.find((each) => each['session'] === sitting.id)
    assert.equal(row?.['state'], 'incomplete')
    assert.match(row?.['missing'] ?? '', /a part of upload [0-9a-f-]{36}, which cannot be read: A part of it was altered since it was encrypted\./)
    const mine = recordings.filter((each) => each['session'] === sitting.id)
    assert.equal(mine.length, 2, 'one from the upload after the activity')
    assert.ok(!files.includes(`archives/${sitting.id}.zip`), 'no archive that is not whole stands beside the others')
    assert.ok(incomplete.some((each) => each['file']?.endsWith(`${names[1]}.age`)), 'the slice is there as it is stored')
    assert.ok(incomplete.some((each) => each['file']?.endsWith(`${names[3]}`)), 'the others are opened')
    const before = (await check(plain)).recordings.filter((each) => each['session'] === sitting.id)
    assert.deepEqual(mine.map((each) => each['sha256']).toSorted(), before.map((each) => each['sha256']).toSorted())
  })

  const others: { name: string; damage: (path: string) => Promise<void>; says: RegExp }[] = [
    { name: 'in its header', damage: flip(() => 40), says: /A part of it cannot be decrypted: its header (was altered|is malformed|has a malformed X25519 stanza)|no identity that was given opens it/ },
    { name: 'in its last chunk', damage: flip((bytes) => bytes.length - 1), says: /A part of it was altered since it was encrypted\./ },
    { name: 'so that it is cut between two chunks', damage: async (path) => truncate(path, headerBytes(await readFile(path)) + 16 + 2 * (65_536 + 16)), says: /A part of it was altered since it was encrypted\./ },
    { name: 'so that it is empty', damage: (path) => truncate(path, 0), says: /A part of it was cut since it was encrypted\./ },
  ]
  for (const { name, damage, says } of others) {
    await t.test(`a slice that was altered ${name} is set aside as it is stored`, async () => {
      const { incomplete, sessions } = await copyWith(names[2] ?? '', damage)
      const row = incomplete.find((each) => each['source']?.endsWith(`${names[2]}.age`))
      assert.match(row?.['reason'] ?? '', says)
      assert.equal(sessions.find((each) => each['session'] === sitting.id)?.['state'], 'incomplete')
    })
  }
}

function assertShowsNoKey(text: string, ...identities: readonly Identity[]): void {
  for (const identity of identities) assert.ok(!text.toUpperCase().includes(formatIdentity(identity).slice(15)), 'a key is shown')
}

test('an identity file that is none is refused in a sentence, and no key is shown', async (t) => {
  const root = await temporaryDirectory(t)
  await mkdir(join(root, 'base', 'receipts', 'study'), { recursive: true })
  const identity = newIdentity()
  const key = formatIdentity(identity)
  const cases: { name: string; content?: string; path?: string; says: RegExp }[] = [
    { name: 'none', says: /^There is no identity file .*\/none\.\n$/ },
    { name: 'key-itself', path: key, says: /^Give the name of a file that holds the key, not the key itself/ },
    { name: 'small-key', path: key.toLowerCase(), says: /^Give the name of a file/ },
    { name: 'recipient', content: `${identity.recipient.text}\n`, says: /holds a recipient \(age1…\), which can only encrypt\./ },
    { name: 'empty', content: '# nothing\n', says: /holds no key\. An identity file has a line that begins with AGE-SECRET-KEY-1\.\n$/ },
    { name: 'mistyped', content: `${key.slice(0, 30)}${key[30] === 'Q' ? 'P' : 'Q'}${key.slice(31)}\n`, says: /is no identity file as age-keygen writes it: its checksum does not match/ },
    { name: 'cut', content: `${key.slice(0, 40)}\n`, says: /is no identity file as age-keygen writes it: / },
    { name: 'encrypted', content: 'age-encryption.org/v1\n-> scrypt x 18\n', says: /is encrypted itself\. Decrypt it and hand it on: / },
    { name: 'armored', content: '-----BEGIN AGE ENCRYPTED FILE-----\n', says: /is encrypted itself\./ },
    { name: 'text', content: 'hello\n', says: /is no identity file as age-keygen writes it: / },
    { name: 'directory', path: root, says: /is no identity file, which holds a line/ },
  ]
  for (const { name, content, path = join(root, name), says } of cases) {
    await t.test(name, async () => {
      if (content !== undefined) await writeFile(path, content, { mode: 0o600 })
      const { status, stdout, stderr } = await runExport(join(root, 'base'), join(root, 'out'), '--identity', path)
      assert.equal(status, 2, stdout)
      assert.match(stderr, says)
      assertShowsNoKey(stdout + stderr, identity)
    })
  }
  await t.test('a key that stands where a name should is not shown either, nor kept in the record of access', async () => {
    const base = join(root, 'base')
    const calls = [['study', 'out', key], [key, 'out'], ['study', join(root, 'out'), `--identity=${key}`], ['study', join(root, 'out'), '--since', key], ['study', join(root, 'out'), `--${key}`]]
    for (const args of calls) {
      const { status, stdout, stderr } = runProgram(['export', '--basedir', base, ...args])
      assert.equal(status, 2, stderr)
      assertShowsNoKey(stdout + stderr, identity)
    }
    assert.equal(spawnSync('grep', ['-rqai', key.slice(15), base]).status, 1)
    assert.ok((await listFiles(base)).some((path) => path.startsWith('audit/')), 'there is a record')
  })
  await t.test('one that others may read is warned of', async () => {
    const path = join(root, 'open.key')
    await writeFile(path, `${key}\n`)
    for (const [mode, isWarned] of [[0o600, false], [0o640, true], [0o604, true], [0o400, false]] as const) {
      await chmod(path, mode)
      const { status, stderr } = await runExport(join(root, 'base'), join(root, `out-${mode}`), '--identity', path)
      assert.equal(status, 0)
      assert.equal(/^WARNING: other users of this machine may read .*open\.key.* chmod 600 /m.test(stderr), isWarned, mode.toString(8))
    }
  })
})
