import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { appendFile, cp, mkdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { runCommand } from './commanded.ts'
import { askToken, filesOf, listData, listFiles, runProgram, startServer, submitForm, temporaryDirectory, type StoredFile } from './harness.ts'
import { sha256Of } from './sha256.ts'

const voice = randomBytes(300_000)

/** A copy of what a server has stored: three submissions, each with its receipt. */
async function makeCopy(t: TestContext) {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const stored: StoredFile[] = []
  for (const name of ['a.wav', 'b.wav', 'c.wav']) {
    stored.push(...filesOf(await submitForm(server, [['file', voice, name], ['auth_token', authToken]])))
  }
  await submitForm(server, [['file', voice, 'c.wav'], ['auth_token', authToken]])
  const basedir = join(await temporaryDirectory(t), 'copy')
  await cp(server.basedir, basedir, { recursive: true })
  const [receipts = ''] = await listFiles(join(basedir, 'receipts', 'study'))
  return {
    server,
    basedir,
    receipts: join(basedir, 'receipts', 'study', receipts),
    path: (index: number) => join(basedir, 'uploads', 'responses', 'study', stored[index]?.stored_as ?? ''),
  }
}

type Copy = Awaited<ReturnType<typeof makeCopy>>

const verify = (basedir: string, ...args: string[]) => runCommand(['verify', '--basedir', basedir, ...args])

const cases: { name: string; damage: (copy: Copy) => Promise<void>; code: number; says: RegExp }[] = [
  { name: 'an untouched copy holds; a file that came again is not a file of its own', damage: async () => undefined, code: 0, says: /^study: 4 receipts, 3 files, 900\.0 kB read; nothing missing or changed\n(record of access: .*\n)?ok: / },
  { name: 'a file that is gone is missing', damage: (copy) => rm(copy.path(1)), code: 1, says: /^MISSING: .*b\.wav: 300000 bytes were promised$/m },
  { name: 'a shorter file has changed', damage: (copy) => truncate(copy.path(1), 299_999), code: 1, says: /^CHANGED: .*b\.wav: 299999 bytes where 300000 were promised$/m },
  { name: 'a byte that differs is found', damage: (copy) => writeFile(copy.path(2), Buffer.from([...voice.subarray(1), 0])), code: 1, says: /^CHANGED: .*c\.wav: SHA-256 is [0-9a-f]{64}/m },
  {
    name: 'a link in the place of a file is not followed',
    damage: async (copy) => {
      await rm(copy.path(0))
      await symlink(copy.path(1), copy.path(0))
    },
    code: 1,
    says: /^CHANGED: .*a\.wav: it is not a plain file$/m,
  },
  {
    name: 'a receipt that was taken out breaks the chain',
    damage: (copy) => editLines(copy, (lines) => lines.toSpliced(1, 1)),
    code: 1,
    says: /^BROKEN CHAIN: receipts\/study\/.*: line 2 does not carry/m,
  },
  {
    name: 'a receipt that was edited breaks the chain at the next line',
    damage: (copy) => editLines(copy, (lines) => lines.with(0, (lines[0] ?? '').replace('"a.wav"', '"x.wav"'))),
    code: 1,
    says: /^BROKEN CHAIN: .*: line 2 /m,
  },
  {
    name: 'a last receipt whose time was edited does not agree with the names of its files',
    damage: (copy) => editLines(copy, (lines) => lines.slice(0, 3).with(2, (lines[2] ?? '').replace(/"received_at":"\d{4}/, '"received_at":"2019'))),
    code: 1,
    says: /^CHANGED: receipts\/study\/.*: line 3 says 2019-\S+Z, which is not the time in the name of its file 2\S+-c\.wav$/m,
  },
  {
    name: 'a first line that was taken off breaks the chain',
    damage: (copy) => editLines(copy, (lines) => lines.slice(1)),
    code: 1,
    says: /^BROKEN CHAIN: .*: line 1 /m,
  },
  { name: 'a line that is no receipt is named', damage: (copy) => editLines(copy, (lines) => lines.with(3, '{"id":1}')), code: 1, says: /^UNREADABLE: .*: line 4 is not a receipt/m },
  {
    name: 'a receipt never makes us read elsewhere',
    damage: (copy) => editLines(copy, (lines) => lines.map((line) => line.replace(/"stored_as":"[^"]*"/, '"stored_as":"../../../etc/passwd"'))),
    code: 1,
    says: /^UNREADABLE: .*: line 1 is not a receipt/m,
  },
  {
    name: 'a forged receipt that was added does not hide that a file has changed',
    damage: async (copy) => {
      await writeFile(copy.path(0), Buffer.alloc(voice.length))
      const forgedDigest = sha256Of(Buffer.alloc(voice.length))
      await editLines(copy, (lines) => {
        const previous = sha256Of(lines.at(-1) ?? '')
        return [...lines, (lines[0] ?? '').replace('"previous":null', `"previous":"${previous}"`).replace(/"sha256":"[0-9a-f]{64}"/, `"sha256":"${forgedDigest}"`)]
      })
    },
    code: 1,
    says: /^CHANGED: .*a\.wav: SHA-256 is /m,
  },
  { name: 'a torn last line is named and breaks no promise', damage: (copy) => appendFile(copy.receipts, '{"id":"0123'), code: 0, says: /^torn: .*: line 5 ends without a newline/m },
  { name: 'files without a receipt are listed and break no promise', damage: (copy) => writeFile(`${copy.path(0)}-seed`, 'x'), code: 0, says: /^no receipt: uploads\/responses\/study\/.*-seed/m },
  {
    name: 'a project that has files alone is listed too',
    damage: async (copy) => {
      await mkdir(join(copy.basedir, 'uploads', 'responses', 'seeded'))
      await writeFile(join(copy.basedir, 'uploads', 'responses', 'seeded', '20240101T000000.000000Z-a.wav'), 'x')
    },
    code: 0,
    says: /^seeded: 0 receipts, 0 files, 0 bytes read; 1 file without a receipt; nothing missing/m,
  },
]

test('a base directory is verified', async (t) => {
  const whole = await makeCopy(t)
  for (const { name, damage, code, says } of cases) {
    await t.test(name, async (t) => {
      const basedir = join(await temporaryDirectory(t), 'copy')
      await cp(whole.basedir, basedir, { recursive: true })
      const inCopy = (path: string) => path.replace(whole.basedir, basedir)
      await damage({ ...whole, basedir, receipts: inCopy(whole.receipts), path: (index) => inCopy(whole.path(index)) })
      const { status, stdout, stderr } = await verify(basedir)
      assert.equal(status, code, stdout + stderr)
      assert.match(stdout, says)
      assert.equal(stderr, '')
    })
  }
  await t.test('the directory that the server is using can be verified, and nothing in it changes', async () => {
    const before = await listData(whole.server.basedir)
    assert.equal((await verify(whole.server.basedir, 'study')).status, 0)
    assert.deepEqual(await listData(whole.server.basedir), before)
  })
  await t.test('the variable names the base directory as it does for the server', () => {
    assert.equal(runProgram(['verify'], { REPROSCHEMA_BACKEND_BASEDIR: whole.basedir }).status, 0)
  })
})

const mistakes = [
  { name: 'a project that is not there', args: ['nobody'], says: /has no project "nobody"\. It has none yet\./ },
  { name: 'a flag that is given twice', args: ['--basedir=/tmp'], says: /^--basedir is given twice\. --help lists what there is\.\n$/ },
  { name: 'one argument too many', args: ['a', 'b'], says: /"b" is one argument too many/ },
  { name: 'an unknown flag', args: ['--fix'], says: /--fix/ },
]
for (const { name, args, says } of mistakes) {
  test(`${name} is a mistake`, async (t) => {
    const basedir = await temporaryDirectory(t)
    await mkdir(join(basedir, 'tokens'))
    const { status, stderr } = await verify(basedir, ...args)
    assert.equal(status, 2)
    assert.match(stderr, says)
  })
}

const places = [
  { name: 'an empty directory', place: 'base/uploads/staging' },
  { name: 'the parent of a base directory', place: '.' },
  { name: 'the receipts alone', place: 'base/receipts' },
  { name: 'the uploads alone', place: 'base/uploads' },
]
for (const { name, place } of places) {
  for (const command of [['verify'], ['status'], ['audit'], ['export', 'study', 'out'], ['withdraw', 'study', '--participant=p1']]) {
    test(`${name} is not taken for a base directory by ${command[0]}`, async (t) => {
      const directory = await temporaryDirectory(t)
      for (const path of ['uploads/responses/study', 'uploads/staging', 'receipts/study', 'tokens']) await mkdir(join(directory, 'base', path), { recursive: true })
      const { status, stdout, stderr } = await runCommand([...command, '--basedir', join(directory, place)])
      assert.deepEqual([status, stdout], [2, ''])
      assert.match(stderr, /^\S+ is not the base directory of a server: it has no uploads\/responses, receipts, tokens or audit\. Give it with --basedir or REPROSCHEMA_BACKEND_BASEDIR\.\n$/)
    })
  }
}

test('a base directory without a project holds, and says that nothing is promised in it', async (t) => {
  const basedir = await temporaryDirectory(t)
  await mkdir(join(basedir, 'receipts'))
  const { status, stdout } = await verify(basedir)
  assert.equal(status, 0)
  assert.match(stdout, /^ok: \S+ has no project, so nothing is promised$/m)
})

test('a base directory that is not there is a mistake, and is not made', async (t) => {
  const basedir = join(await temporaryDirectory(t), 'none')
  const { status, stderr } = await verify(basedir)
  assert.equal(status, 2)
  assert.match(stderr, /There is no base directory/)
  assert.deepEqual(await listFiles(join(basedir, '..')), [])
})

async function editLines(copy: Copy, edit: (lines: string[]) => string[]): Promise<void> {
  const lines = (await readFile(copy.receipts, 'utf8')).trimEnd().split('\n')
  await writeFile(copy.receipts, edit(lines).map((line) => `${line}\n`).join(''))
}
