import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, chown, lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Challenges } from '../lib/access/challenges.ts'
import { formatIdentity, newIdentity, parseIdentities } from '../lib/crypt/keys.ts'
import { parseRecipientList } from '../lib/crypt/recipient-list.ts'
import { Directories } from '../lib/directories.ts'
import { runCommand } from './commanded.ts'
import { ADMIN_TOKEN, listFiles, needs, PROGRAM, request, startServer, temporaryDirectory, until, type Running } from './harness.ts'
import { asOtherUser, OTHER_USER } from './other-user.ts'
import { makeBasedir, mistype, newList, textOf, writeOwn } from './recipients.ts'
import { ONLY_TRACED } from './trace.ts'

const DAY_MS = 24 * 3600 * 1000
const CODE = /^[23456789abcdefghjkmnpqrstuvwxyz]{4}(-[23456789abcdefghjkmnpqrstuvwxyz]{4}){2}\n$/
const UNKNOWN = /^This code is not known here, or is not for these recipients: .* "keys challenge.*"\.\n$/

const keys = (args: readonly string[], input: string | Buffer = '') => runCommand(['keys', ...args], {}, input)

/** Runs the program with something on its standard input. */
function runKeys(args: readonly string[], input: string | Buffer = '') {
  return spawnSync(process.execPath, [PROGRAM, 'keys', ...args], { input, env: {}, encoding: 'utf8' })
}

/** Makes a key as a researcher does. */
async function makeKey(t: TestContext): Promise<{ readonly file: string; readonly recipient: string }> {
  const file = join(await temporaryDirectory(t), 'key')
  const { status, stdout } = await keys(['new', file])
  assert.equal(status, 0)
  return { file, recipient: stdout.trim() }
}

async function challenge(basedir: string, ...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await keys(['challenge', `--basedir=${basedir}`, ...args])
  assert.equal(status, 0, stderr)
  return stdout
}

async function open(file: string, armored: string): Promise<string> {
  const { status, stdout, stderr } = await keys(['open', file], armored)
  assert.deepEqual([status, stderr], [0, ''])
  return stdout
}

const prove = (basedir: string, ...args: readonly string[]) => keys(['prove', `--basedir=${basedir}`, ...args])

async function tokenOf(server: Running, project: string): Promise<number> {
  return (await request(`${server.url}/token?token=${ADMIN_TOKEN}&project=${project}`)).status
}

test('`keys new` makes a key as age-keygen does, for its owner alone, and prints the recipient', async (t) => {
  const { file, recipient } = await makeKey(t)
  const text = await readFile(file, 'utf8')
  assert.match(text, /^# created: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n# public key: age1[a-z0-9]{58}\nAGE-SECRET-KEY-1[A-Z0-9]{58}\n$/)
  assert.deepEqual(parseIdentities(text).map((identity) => identity.recipient.text), [recipient])
  assert.ok(text.includes(`# public key: ${recipient}\n`), text)
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  if (!needs(t, 'age-keygen', 'age')) return
  assert.equal(spawnSync('age-keygen', ['-y', file], { encoding: 'utf8' }).stdout, `${recipient}\n`)
})

test('`keys new` says to keep the key, and never shows it', async (t) => {
  const file = join(await temporaryDirectory(t), 'key')
  const { stdout, stderr } = runKeys(['new', file])
  assert.match(stderr, /^\S+ holds the secret key: keep copies /)
  assert.doesNotMatch(stdout + stderr, /AGE-SECRET/)
})

for (const [name, make] of [
  ['a file', (path: string) => writeFile(path, 'mine')],
  ['a link to nothing', (path: string) => symlink('/nowhere/at/all', path)],
] as const) {
  test(`\`keys new\` replaces nothing: ${name}`, async (t) => {
    const file = join(await temporaryDirectory(t), 'key')
    await make(file)
    const before = await lstat(file)
    const { status, stdout, stderr } = await keys(['new', file])
    assert.deepEqual([status, stdout], [2, ''])
    assert.match(stderr, /^\S+ is there already, and a key is never replaced: name a new file\.\n$/)
    assert.deepEqual([(await lstat(file)).ino, (await lstat(file)).size], [before.ino, before.size])
  })
}

test('a key is proven: the code is encrypted here, opened there and given back, and tokens are issued', async (t) => {
  const { file, recipient } = await makeKey(t)
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_RECIPIENTS: recipient } })
  assert.equal(await tokenOf(server, 'study'), 503)
  const made = runKeys(['challenge', `--basedir=${server.basedir}`])
  assert.match(made.stdout, /^-----BEGIN AGE ENCRYPTED FILE-----\n[^]*\n-----END AGE ENCRYPTED FILE-----\n$/)
  assert.match(made.stderr, /^This code is encrypted to the server's recipients \(1 recipient\): .*"keys open KEYFILE".*"keys prove CODE" takes here within 7 days\.\n$/)
  const opened = runKeys(['open', file], made.stdout)
  assert.deepEqual([opened.status, opened.stderr], [0, ''])
  const code = opened.stdout
  assert.match(code, CODE)
  for (const path of await listFiles(server.basedir)) {
    assert.ok(!`${path} ${await readFile(join(server.basedir, path), 'latin1')}`.includes(code.trim()), `${path} has the code`)
  }
  const proven = runKeys(['prove', `--basedir=${server.basedir}`, code.trim()])
  assert.deepEqual([proven.status, proven.stdout, proven.stderr], [0, 'Proven: the server\'s recipients. A running server issues tokens within a second.\n', ''])
  await until('tokens are issued, for any project', async () => (await tokenOf(server, 'study')) === 200 && (await tokenOf(server, 'other')) === 200)
})

test('the recipients of a project are proven for it alone', async (t) => {
  const [{ file, recipient }, { file: otherFile, recipient: other }] = [await makeKey(t), await makeKey(t)]
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_RECIPIENTS: recipient } })
  await writeOwn(server.basedir, 'study', other)
  const made = await challenge(server.basedir, 'study')
  assert.match((await keys(['open', file], made)).stderr, /^What came on standard input cannot be opened: none of the given identities opens it\.\n$/)
  const code = (await open(otherFile, made)).trim()
  assert.match((await prove(server.basedir, code)).stderr, UNKNOWN)
  assert.match((await prove(server.basedir, 'elsewhere', code)).stderr, UNKNOWN)
  const { status, stdout } = await prove(server.basedir, 'study', code)
  assert.deepEqual([status, stdout], [0, 'Proven: the recipients of study. A running server issues tokens within a second.\n'])
  await until('tokens of study are issued', async () => (await tokenOf(server, 'study')) === 200)
  assert.equal(await tokenOf(server, 'other'), 503)
})

test('a project that has no recipients of its own is proven as the server is', async (t) => {
  const { file, recipient } = await makeKey(t)
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_RECIPIENTS: recipient } })
  const code = (await open(file, await challenge(server.basedir, 'study'))).trim()
  assert.equal((await prove(server.basedir, 'other', code)).status, 0)
  await until('tokens are issued', async () => (await tokenOf(server, 'third')) === 200)
})

test('a code may be typed in any case, with blanks and without hyphens', async (t) => {
  const { file, recipient } = await makeKey(t)
  const basedir = await makeBasedir(t, recipient)
  const code = (await open(file, await challenge(basedir))).trim()
  for (const typed of [code, code.toUpperCase(), code.replaceAll('-', ''), ` ${code.replaceAll('-', ' - ')}\n`]) {
    assert.equal((await prove(basedir, typed)).status, 0, typed)
  }
})

test('several codes may be open, and each is for exactly its recipients', async (t) => {
  const [{ file, recipient }, { recipient: other }] = [await makeKey(t), await makeKey(t)]
  const basedir = await makeBasedir(t, recipient)
  const codes: string[] = []
  for (let count = 0; count < 3; count++) codes.push((await open(file, await challenge(basedir))).trim())
  assert.equal(new Set(codes).size, 3)
  const both = `--recipients=${recipient},${other}`
  const refused = await prove(basedir, codes[0] ?? '', both)
  assert.deepEqual([refused.status, refused.stdout], [1, ''])
  assert.match(refused.stderr, /^This code was made for other recipients than those that are configured now: /)
  for (const code of codes) assert.equal((await prove(basedir, code)).status, 0)
  const ahead = await prove(basedir, (await open(file, await challenge(basedir, both))).trim(), both)
  assert.equal(ahead.status, 0)
  assert.match(ahead.stderr, /^The server did not begin with these recipients: start it with them\.\n$/)
})

const wrongCodes = ['', 'aaaa-aaaa-aaaa', 'aaaa-aaaa', 'x', '../../../etc/passwd', '0000-1111-iiii', 'ſ'.repeat(12), 'a'.repeat(100_000)]
test('a wrong code is refused', async (t) => {
  const basedir = await makeBasedir(t, textOf(newList()))
  await challenge(basedir)
  for (const code of wrongCodes) {
    await t.test(JSON.stringify(code.slice(0, 30)), async () => {
      const { status, stdout, stderr } = await prove(basedir, code)
      assert.deepEqual([status, stdout], [1, ''])
      assert.match(stderr, UNKNOWN)
      assert.deepEqual((await listFiles(join(basedir, 'keys'))).filter((path) => path.startsWith('proofs')), [])
    })
  }
})

const ages = [
  { name: 'a moment', days: 0, expected: 'right' },
  { name: 'almost 7 days', days: 6.999, expected: 'right' },
  { name: '7 days', days: 7, expected: 'expired' },
  { name: '36 days', days: 36, expected: 'expired' },
  { name: '38 days, and was swept', days: 38, expected: 'unknown' },
] as const
for (const { name, days, expected } of ages) {
  test(`a code that is ${name} old is ${expected}`, async (t) => {
    const challenges = new Challenges(join(await temporaryDirectory(t), 'challenges'), new Directories())
    const list = newList()
    const code = await challenges.open(list, Date.now() - days * DAY_MS)
    await challenges.open(list, Date.now())
    assert.equal(await challenges.check(code, list, Date.now()), expected)
    if (expected === 'right') assert.equal(await challenges.check(code, newList(), Date.now()), 'for other recipients')
  })
}

test('a code that is too old is refused with a sentence', async (t) => {
  const list = newList()
  const basedir = await makeBasedir(t, textOf(list))
  const code = await new Challenges(join(basedir, 'keys/challenges'), new Directories()).open(list, Date.now() - 8 * DAY_MS)
  const { status, stderr } = await prove(basedir, code)
  assert.deepEqual([status, stderr], [1, 'This code is older than 7 days: make a new one with "keys challenge".\n'])
})

test('age opens a code, and its keys open ours', async (t) => {
  if (!needs(t, 'age', 'age')) return
  const directory = await temporaryDirectory(t)
  const [{ file, recipient }, ageFile] = [await makeKey(t), join(directory, 'age-key')]
  assert.equal(spawnSync('age-keygen', ['-o', ageFile]).status, 0)
  const ageRecipient = spawnSync('age-keygen', ['-y', ageFile], { encoding: 'utf8' }).stdout.trim()
  const basedir = await makeBasedir(t, `${recipient},${ageRecipient}`)
  const made = await challenge(basedir)
  const opened = [file, ageFile].map((key) => spawnSync('age', ['-d', '-i', key], { input: made, encoding: 'utf8' }).stdout)
  assert.match(opened[0] ?? '', CODE)
  assert.deepEqual([opened[1], await open(ageFile, made), await open(file, made)], [opened[0], opened[0], opened[0]])
  assert.equal((await prove(basedir, opened[0] ?? '')).status, 0)
})

test('`keys open` opens any age file, armored or not, from a file or standard input', async (t) => {
  if (!needs(t, 'age', 'age')) return
  const { file, recipient } = await makeKey(t)
  const path = join(await temporaryDirectory(t), 'file.age')
  for (const size of [0, 1, 500, 1024, 65_536, 3_000_000]) {
    const bytes = randomBytes(size)
    for (const armor of [[], ['-a']]) {
      const sealed = spawnSync('age', ['-e', ...armor, '-r', recipient], { input: bytes, maxBuffer: 2 ** 26 }).stdout
      await writeFile(path, sealed)
      for (const opened of [await keys(['open', file], sealed), await keys(['open', file, path])]) {
        assert.deepEqual([opened.status, opened.stderr], [0, ''])
        assert.ok(opened.bytes.equals(bytes), `${size} bytes ${armor.join()}`)
      }
    }
    const { stdout } = spawnSync(process.execPath, [PROGRAM, 'keys', 'open', file, path], { env: {}, maxBuffer: 2 ** 26 })
    assert.ok(stdout.equals(bytes), `${size} bytes through the output of a process`)
  }
})

test('what a terminal or a mail program made of the text is opened too', async (t) => {
  const { file, recipient } = await makeKey(t)
  const basedir = await makeBasedir(t, recipient)
  const made = await challenge(basedir)
  const windows = made.replaceAll('\n', '\r\n')
  for (const text of [windows, `\n\n ${made}\n `, Buffer.from(`\ufeff${windows}`, 'utf16le'), Buffer.from(`\ufeff${made}`)]) assert.match((await keys(['open', file], text)).stdout, CODE)
})

test('what cannot be opened is refused with a sentence', async (t) => {
  const { file, recipient } = await makeKey(t)
  const directory = await temporaryDirectory(t)
  const basedir = await makeBasedir(t, recipient)
  const made = await challenge(basedir)
  const sentence = async (args: readonly string[], input: string | Buffer, status: number) => {
    const ended = await keys(args, input)
    assert.deepEqual([ended.status, ended.stdout], [status, ''])
    assert.doesNotMatch(ended.stderr, /SECRET-KEY-1[A-Z0-9]|\n.*\n/)
    return ended.stderr
  }
  assert.match(await sentence(['open', file], '', 1), /^What came on standard input cannot be opened: it is cut within its header\.\n$/)
  assert.match(await sentence(['open', file], 'hello', 1), /cannot be opened: it is not an age file/)
  assert.match(await sentence(['open', file], made.slice(0, -60), 1), /cannot be opened: the armored text must run from /)
  assert.match(await sentence(['open', file, '/no/such'], '', 1), /^ENOENT: /)
  assert.match(await sentence(['open', '/no/such'], made, 2), /^There is no identity file \/no\/such\.\n$/)
  assert.match(await sentence(['open', '-'], made, 2), /^The key is to come on standard input: name the file that it is to open\.\n$/)
  const wrong = [
    { name: 'empty', text: '# none\n', says: / holds no key\. / },
    { name: 'recipient', text: recipient, says: / holds a recipient \(age1…\), which can only encrypt\. / },
    { name: 'mistyped', text: mistype(formatIdentity(newIdentity())), says: / is no identity file as age-keygen writes it: / },
  ]
  for (const { name, text, says } of wrong) {
    await writeFile(join(directory, name), text, { mode: 0o600 })
    assert.match(await sentence(['open', join(directory, name)], made, 2), says)
  }
  await chmod(file, 0o644)
  assert.match((await keys(['open', file], made)).stderr, /^WARNING: other users of this machine may read \S+, which opens the recordings\. Run: chmod 600 \S+\n$/)
})

test('`keys open` reads the key on standard input where it opens a file', async (t) => {
  const { file, recipient } = await makeKey(t)
  const basedir = await makeBasedir(t, recipient)
  const path = join(await temporaryDirectory(t), 'challenge.age')
  await writeFile(path, await challenge(basedir))
  assert.match((await keys(['open', '-', path], await readFile(file))).stdout, CODE)
})

test('an altered file is not taken for whole', async (t) => {
  if (!needs(t, 'age', 'age')) return
  const { file, recipient } = await makeKey(t)
  const sealed = spawnSync('age', ['-e', '-r', recipient], { input: randomBytes(200_000) }).stdout
  const { status, stderr } = await keys(['open', file], sealed.subarray(0, -1))
  assert.equal(status, 1)
  assert.match(stderr, /^What came on standard input cannot be opened: its content was cut or altered\. What was written is not the whole of it\.\n$/)
})

const usages = [
  { name: 'no word', args: [], says: /^keys needs a word after it: use keys new, keys challenge, keys open or keys prove\.\n$/ },
  { name: 'another word', args: ['toString'], says: /^keys "toString" is not understood: / },
  { name: '`new` without a file', args: ['new'], says: /^<file> is missing\. / },
  { name: '`new` with a key in the place of a file', args: ['new', 'AGE-SECRET-KEY-1QQQ'], says: /^keys new takes the name of a new file, and what stands there is a key: whoever saw it can use it\.\n$/ },
  { name: '`open` without a key', args: ['open'], says: /^<key file> is missing\. / },
  { name: '`prove` without a code', args: ['prove'], says: /^<code> is missing\. / },
  { name: '`challenge` with a word too many', args: ['challenge', 'a', 'b'], says: /^"b" is one argument too many\. / },
  { name: '`challenge` of a project that is none', args: ['challenge', '../x'], says: /^The project "\.\.\/x" is not allowed: / },
  { name: '`challenge` where nothing is encrypted', args: ['challenge'], says: /^The server has no recipients: set REPROSCHEMA_BACKEND_RECIPIENTS, or give --recipients or --recipients-file\.\n$/ },
  { name: '`challenge` with mistyped recipients', args: ['challenge', `--recipients=${mistype(textOf(newList())).trim()}`], says: /^--recipients=.*checksum/ },
  { name: '`challenge` in a directory that is no base directory', args: ['challenge', '--basedir=/dev'], says: /^\/dev is not the base directory of a server: / },
]
for (const { name, args, says } of usages) {
  test(`\`keys\` with ${name} ends with 2 and a line that says so`, async (t) => {
    const basedir = await temporaryDirectory(t)
    await mkdir(join(basedir, 'tokens'))
    const { status, stdout, stderr } = await runCommand(['keys', ...args], { REPROSCHEMA_BACKEND_BASEDIR: basedir })
    assert.deepEqual([status, stdout], [2, ''])
    assert.match(stderr, says)
    assert.deepEqual((await readdir(basedir)).filter((name) => name !== 'audit'), ['tokens']) // the call itself is recorded
  })
}

test('`keys challenge` of a project whose recipients are mistyped names the one that is', async (t) => {
  const basedir = await makeBasedir(t, textOf(newList()))
  await writeOwn(basedir, 'study', mistype(textOf(newList())))
  const { status, stderr } = await keys(['challenge', 'study', `--basedir=${basedir}`])
  assert.equal(status, 2)
  assert.match(stderr, /^\S+\/projects\/study\/recipients cannot be used: the recipient "age1.* its checksum does not match: it was mistyped or cut\.\n$/)
})

test('what root makes belongs to the user of the server, which reads it', async (t) => {
  const through = await asOtherUser(t)
  if (through === undefined) return
  const [basedir, { file, recipient }] = [await temporaryDirectory(t), await makeKey(t)]
  await chown(basedir, OTHER_USER, OTHER_USER)
  const server = await startServer(t, { basedir, through, env: { REPROSCHEMA_BACKEND_RECIPIENTS: textOf(newList()) } })
  await writeOwn(basedir, 'study', recipient)
  await chmod(join(basedir, 'projects'), 0o755)
  await chmod(join(basedir, 'projects/study'), 0o755)
  await chmod(join(basedir, 'projects/study/recipients'), 0o644)
  assert.equal((await prove(basedir, 'study', (await open(file, await challenge(basedir, 'study'))).trim())).status, 0)
  await challenge(basedir)
  for (const path of ['projects/study/proofs', 'projects/study/challenges', 'keys/challenges', `projects/study/proofs/${parseRecipientList(recipient).digest}.json`]) {
    const { uid, gid, mode } = await lstat(join(basedir, path))
    assert.deepEqual([uid, gid, mode & 0o077], [OTHER_USER, OTHER_USER, 0], path)
  }
  await until('tokens are issued', async () => (await tokenOf(server, 'study')) === 200)
})

test('root writes through no link that the user of the server has made', async (t) => {
  const [{ file, recipient }, elsewhere] = [await makeKey(t), await temporaryDirectory(t)]
  const basedir = await makeBasedir(t, recipient)
  const code = (await open(file, await challenge(basedir))).trim()
  await symlink(elsewhere, join(basedir, 'keys/proofs'))
  assert.notEqual(runKeys(['prove', `--basedir=${basedir}`, code]).status, 0)
  assert.deepEqual(await readdir(elsewhere), [])
})

test('a proof is durable before `keys prove` says so', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const { file, recipient } = await makeKey(t)
  const basedir = await makeBasedir(t, recipient)
  const code = (await open(file, await challenge(basedir))).trim()
  const path = join(await temporaryDirectory(t), 'trace')
  const { status } = spawnSync('strace', ['-f', ONLY_TRACED, '-y', '-e', 'trace=link,linkat,fsync,write', '-o', path, process.execPath, PROGRAM, 'keys', 'prove', code, `--basedir=${basedir}`])
  assert.equal(status, 0)
  const pattern = /(link)(?:at)?\(.*\/proofs\/|(fsync)\(\d+<[^>]*\/(proofs\/new|proofs)[^>]*>|(write)\(1</g
  const calls = [...(await readFile(path, 'utf8')).matchAll(pattern)].map(([, made, synced, what, written]) => made ?? written ?? `${synced} ${what}`)
  assert.deepEqual(calls, ['fsync proofs/new', 'link', 'fsync proofs', 'write'])
})
