import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, chown, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { code, escape, formatTable } from '../lib/datasheet/markdown.ts'
import { noteServer, readServerNotes, type NotedSettings } from '../lib/datasheet/server-note.ts'
import { Directories } from '../lib/directories.ts'
import { Layout } from '../lib/store/layout.ts'
import { describeSelf } from '../lib/store/owner.ts'
import { runCommand } from './commanded.ts'
import { issueToken } from './encrypting.ts'
import { ADMIN_TOKEN, needs, readAudit, ROOT, runProgram, startServer, submitForm, temporaryDirectory, type Running, type StartOptions } from './harness.ts'
import { asOtherUser, OTHER_USER } from './other-user.ts'
import { newList, proveLists, textOf, writeOwn } from './recipients.ts'

const PREFIX = 'REPROSCHEMA_BACKEND_'
const SEPTEMBER = Date.UTC(2024, 8, 2)

/** Prints the page, which must be there. */
async function sheetOf(basedir: string, project = 'study', env: Readonly<Record<string, string>> = {}): Promise<string> {
  const { status, stdout, stderr } = await runCommand(['datasheet', project, `--basedir=${basedir}`], env)
  assert.deepEqual([status, stderr], [0, ''])
  return stdout
}

async function startKnown(t: TestContext, options: StartOptions = {}): Promise<Running> {
  const server = await startServer(t, options)
  await issueToken(server.basedir)
  return server
}

const list = newList(2)
const [first = '', second = ''] = list.recipients.map(({ text }) => text)
const own = newList()
const recipients = textOf(list)

interface SettingsRow {
  readonly name: string
  readonly env?: Readonly<Record<string, string>>
  readonly prepare?: (basedir: string) => Promise<unknown>
  readonly says: readonly RegExp[]
  readonly not?: readonly RegExp[]
}

const settingsRows: readonly SettingsRow[] = [
  {
    name: 'nothing is set but an admin token',
    says: [
      /^- On its way: the server speaks no TLS, and only programs on this machine can reach it\. It listens on `http:\/\/127\.0\.0\.1:\d+`\. A proxy on this machine has to speak TLS/m,
      /^- On the disk: \*\*not by this program\.\*\* What arrives for `study` is stored as it was sent\.$/m,
      /^- No alerts: none are set\.$/m,
      /In a browser pages of any web site may do so\.$/m,
      /^- Log lines go to the files in the table alone\. .* and when it stops\.$/m,
      /turned every Monday and at 52\.4 MB, ten turned ones kept/,
      /^- The proxy: who runs it/m,
    ],
    not: [/the admin token\*\*/, /development/, /age1/, /identity/, /Who holds the keys/, /The journal:/, /No auth token is issued/],
  },
  {
    name: 'the server listens to all, and no proxy is named',
    env: { HOST: '0.0.0.0' },
    says: [/^- On its way: \*\*nothing that the server knows of\.\*\* It speaks no TLS and believes no proxy\. It listens on `http:\/\/0\.0\.0\.0:\d+`\. Unless something before it encrypts, tokens and recordings can be read on their way\.$/m],
  },
  {
    name: 'the server listens to all, and a proxy is named',
    env: { HOST: '0.0.0.0', [`${PREFIX}TRUSTED_PROXIES`]: '192.0.2.0/24,unix' },
    says: [/^- On its way: the server speaks no TLS\. .* It believes the proxies `192\.0\.2\.0\/24`, `unix`\. .*\*\*Whether a proxy speaks TLS with participants, and a firewall keeps others away, the server cannot see\.\*\*$/m],
  },
  {
    name: 'pages of two origins may use it',
    env: { [`${PREFIX}CORS_ORIGINS`]: 'https://a.example.org,https://b.example.org' },
    says: [/In a browser pages of `https:\/\/a\.example\.org`, `https:\/\/b\.example\.org` may do so\.$/m],
    not: [/any web site/],
  },
  {
    name: 'alerts go to an address, which may be secret but for its origin',
    env: { [`${PREFIX}ALERT`]: 'http://user:pass@127.0.0.1:9/hook/s3cret?key=s3cret' },
    says: [/^- Alerts to `http:\/\/127\.0\.0\.1:9`, over the network\. An alert has its kind, .*no name and no data of a participant\.$/m],
    not: [/s3cret|user:pass/],
  },
  {
    name: 'alerts go to a program, whose arguments may be secret',
    env: { [`${PREFIX}ALERT`]: '/bin/echo --key s3cret' },
    says: [/^- Alerts to the program `\/bin\/echo`, which may send them on\./m],
    not: [/s3cret|--key/],
  },
  {
    name: 'logs are printed, and turned early',
    env: { [`${PREFIX}LOG`]: 'stdout', [`${PREFIX}LOG_BYTES`]: '2000000' },
    says: [/^- \*\*All log lines, with IP addresses, also go to standard output:\*\*/m, /turned every Monday and at 2\.0 MB/, /^- The journal: who reads it/m],
  },
  {
    name: 'the admin token is made anew, and stands in a log',
    env: { [`${PREFIX}TOKEN`]: '' },
    says: [/now and then an IP address; \*\*the admin token\*\* \|/, /and when it stops, \*\*and the admin token\*\*\.$/m, /\*\*The server made it itself: it stands in `logs\/console\.log`\.\*\*$/m],
  },
  { name: 'the server runs in development mode', env: { DEV8dac6d02a913: '1' }, says: [/^- \*\*The server runs in development mode:\*\*/m, /All log lines/] },
  {
    name: 'uploads are encrypted to recipients that nobody has proven',
    env: { [`${PREFIX}RECIPIENTS`]: recipients },
    says: [
      new RegExp(`is in memory alone until it is encrypted .*\\)\\. It is encrypted to each of \`${first}\`, \`${second}\`\\. .*\\*\\*Nobody has shown that they hold such a key\\.\\*\\*$`, 'm'),
      /^- \*\*No auth token is issued for `study`:\*\* nobody has shown yet that they hold a key of the server's recipients: see keys challenge\.$/m,
      /^- Who holds the keys, and where their copies are/m,
      /unless `--identity FILE` gives a key/,
    ],
    not: [/not by this program/, /those that were proven last/],
  },
  {
    name: 'uploads are encrypted to recipients that were proven',
    env: { [`${PREFIX}RECIPIENTS`]: recipients },
    prepare: (basedir) => proveLists(basedir, [list]),
    says: [new RegExp(`\`${first}\`, \`${second}\`\\. Whoever has the key of one can open it, nobody else\\. On 2024-11-01 at 00:00:00 UTC somebody showed that they hold such a key\\.$`, 'm')],
    not: [/No auth token is issued/, /Nobody has shown/],
  },
  {
    name: 'the recipients were changed, and the new ones are not proven',
    env: { [`${PREFIX}RECIPIENTS`]: recipients },
    prepare: (basedir) => proveLists(basedir, [own]),
    says: [new RegExp(`It is encrypted to \`${own.recipients[0]?.text}\`\\. .* On 2024-11-01 .* \\*\\*These are not the recipients that are configured, but those that were proven last\\.\\*\\*$`, 'm'), /No auth token is issued/],
  },
  {
    name: 'the project has recipients of its own',
    env: { [`${PREFIX}RECIPIENTS`]: recipients },
    prepare: async (basedir) => {
      await writeOwn(basedir, 'study', textOf(own))
      await proveLists(basedir, [own], 'study')
    },
    says: [new RegExp(`It is encrypted to \`${own.recipients[0]?.text}\`\\. Whoever has .* On 2024-11-01 at 00:00:00 UTC`)],
    not: [new RegExp(first), /No auth token is issued/],
  },
  {
    name: 'the recipients of the project cannot be used',
    env: { [`${PREFIX}RECIPIENTS`]: recipients },
    prepare: (basedir) => writeOwn(basedir, 'study', '# <none>\n'),
    says: [/^- \*\*No auth token is issued for `study`:\*\* .*projects\/study\/recipients cannot be used: no recipient stands there\.$/m, /those that were proven last/],
  },
]
for (const { name, env = {}, prepare, says, not = [] } of settingsRows) {
  test(`the page tells that ${name}`, async (t) => {
    const { basedir } = await startKnown(t, { env })
    await prepare?.(basedir)
    const page = await sheetOf(basedir)
    for (const each of says) assert.match(page, each)
    for (const each of not) assert.doesNotMatch(page, each)
    assert.match(page, /^It is running now\.$/m)
    const notes = await Promise.all((await readdir(join(basedir, 'servers'))).map((file) => readFile(join(basedir, 'servers', file), 'utf8')))
    assert.doesNotMatch(`${page}${notes.join('')}`, new RegExp(`${ADMIN_TOKEN}|s3cret|user:pass`))
    for (const [, token = ''] of (await readFile(join(basedir, 'logs/console.log'), 'utf8')).matchAll(/^TOKEN=(.*)$/gm)) assert.ok(!`${page}${notes.join('')}`.includes(token))
  })
}

test('the page tells that the server speaks TLS itself', async (t) => {
  if (!needs(t, 'openssl', 'openssl')) return
  const directory = await temporaryDirectory(t)
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
  assert.equal(spawnSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=study', '-keyout', key, '-out', cert]).status, 0)
  const { basedir } = await startKnown(t, { env: { [`${PREFIX}TLS_CERT`]: cert, [`${PREFIX}TLS_KEY`]: key } })
  const page = await sheetOf(basedir)
  assert.match(page, /^- On its way: the server speaks TLS itself, 1\.2 or newer\. It listens on `https:\/\/127\.0\.0\.1:\d+`\.$/m)
  assert.doesNotMatch(page, /The proxy: who runs it/)
})

test('the page counts what is there: files as they were sent and encrypted, receipts, tokens, logs', async (t) => {
  const basedir = await temporaryDirectory(t)
  const before = await startServer(t, { basedir })
  const named = await issueToken(basedir, 'study', 'Anna <Q>')
  await issueToken(basedir, 'other', 'p1')
  for (const name of ['a.wav', 'b.wav']) assert.equal((await submitForm(before, [['auth_token', named], ['file', Buffer.alloc(5000), name]])).status, 200)
  await before.stop()
  const after = await startServer(t, { basedir, env: { [`${PREFIX}RECIPIENTS`]: recipients } })
  assert.equal((await submitForm(after, [['auth_token', await issueToken(basedir)], ['file', Buffer.alloc(700), 'c.wav']])).status, 200)
  for (const name of ['access.log.2024-10-28', 'access.log.2024-10-21-2', 'access.log.2024-10-21-2.gz']) await writeFile(join(basedir, 'logs', name), 'a line\n')
  const page = await sheetOf(basedir)
  assert.match(page, /\| What participants sent \| `uploads\/responses\/study\/` \| 3 files, 10\.7 kB, of 3 submissions, (\d{4}-\d\d-\d\d) to \d{4}-\d\d-\d\d \|/)
  assert.match(page, /\| Receipts \| `receipts\/study\/` \| they name 1 participant; 0 records of a withdrawal \|/)
  assert.match(page, /\| 2 tokens of this project: 2 good, 1 issued for a participant \|/)
  assert.match(page, /\| Log of requests \| `logs\/access\.log\*` \| 3 files, \d+ bytes, the oldest of the week of 2024-10-21 \|/)
  assert.match(page, /^- Of the files that are there, 1 \(700 bytes, \S+ to \S+\) is encrypted and 2 \(10\.0 kB, \S+ to \S+\) are stored as they were sent\./m)
  assert.doesNotMatch(page, /Anna|\bp1\b|a\.wav/, 'nobody and no file is named')
})

test('a page says what is gone, and what was withdrawn', async (t) => {
  const server = await startServer(t)
  for (const participant of ['p1', 'p2']) {
    const authToken = await issueToken(server.basedir, 'study', participant)
    assert.equal((await submitForm(server, [['auth_token', authToken], ['file', Buffer.from(participant), 'a.txt']])).status, 200)
  }
  assert.doesNotMatch(await sheetOf(server.basedir), /gone/)
  assert.equal(runProgram(['withdraw', 'study', '--participant=p1', '--yes', `--basedir=${server.basedir}`]).status, 0)
  const directory = join(server.basedir, 'uploads/responses/study')
  for (const name of await readdir(directory)) await rm(join(directory, name))
  const page = await sheetOf(server.basedir)
  assert.match(page, /they name 1 participant; 1 record of a withdrawal/)
  assert.match(page, /^\*\*1 file or receipt is gone or not as written:\*\* the command `verify` names them\.$/m)
})

test('the commands on the page do what it says', async (t) => {
  const server = await startServer(t, { basedir: join(await temporaryDirectory(t), "Zoë's data") })
  const authToken = await issueToken(server.basedir, 'study', 'p1')
  assert.equal((await submitForm(server, [['auth_token', authToken], ['file', Buffer.from('one'), 'a.txt']])).status, 200)
  const lines = [...(await sheetOf(server.basedir)).matchAll(/^```sh\n([^]*?)^```$/gm)].flatMap(([, block = '']) => block.trim().split('\n'))
  assert.equal(lines.length, 5)
  const says = [/^Nothing was changed\. To erase 1 receipt, 1 file/m, /^Erased: 1 receipt, 1 file .* of p1\./m, /^ok: everything that was promised is there$/m, /withdraw_begun/, /^ok +owner:/m]
  for (const [index, line] of lines.entries()) {
    const { stdout, stderr } = spawnSync('sh', ['-c', line.replace('NAME', 'p1')], { cwd: ROOT, encoding: 'utf8' })
    assert.match(stdout, says[index] ?? /^$/, stderr)
  }
})

const states = [
  { name: 'runs', stop: undefined, says: /^It is running now\.$/m },
  { name: 'was stopped', stop: 'SIGTERM', says: /^\*\*It is not running now:\*\* the next one may have others\.$/m },
  { name: 'was killed', stop: 'SIGKILL', says: /^\*\*It is not running now:\*\*/m },
] as const
for (const workers of ['1', '2']) {
  for (const { name, stop, says } of states) {
    test(`a server of ${workers} that ${name} is said to`, async (t) => {
      const server = await startKnown(t, { env: { [`${PREFIX}WORKERS`]: workers, [`${PREFIX}CORS_ORIGINS`]: 'https://a.example.org' } })
      if (stop !== undefined) await server.stop(stop)
      const page = await sheetOf(server.basedir)
      assert.match(page, says)
      assert.match(page, /^The settings are those that the server \(\d+\.\d+\.\d+\) noted when it began, on \d{4}-\d\d-\d\d at \d\d:\d\d:\d\d UTC\.$/m)
      assert.match(page, /It listens on `http:\/\/127\.0\.0\.1:\d+`\./)
      assert.match(page, /pages of `https:\/\/a\.example\.org` may do so/)
      assert.equal((await readdir(join(server.basedir, 'servers'))).length, 1)
    })
  }
}

test('a server that runs is believed before one that began later and has ended; what others have is not kept quiet', async (t) => {
  const running = await startKnown(t, { env: { [`${PREFIX}CORS_ORIGINS`]: 'https://a.example.org' } })
  const { basedir } = running
  const later = await startServer(t, { basedir })
  assert.match(await sheetOf(basedir), /pages of any web site may do so/)
  assert.match(await sheetOf(basedir), /^\*\*1 other server on the same base directory has other settings\*\*, which this page does not tell\.$/m)
  await later.stop()
  assert.match(await sheetOf(basedir), /pages of `https:\/\/a\.example\.org` may do so/)
  assert.doesNotMatch(await sheetOf(basedir), /other server/)
  await startServer(t, { basedir, env: { [`${PREFIX}CORS_ORIGINS`]: 'https://a.example.org' } })
  assert.doesNotMatch(await sheetOf(basedir), /other server/, 'one that listens elsewhere and is otherwise the same')
  assert.equal((await readdir(join(basedir, 'servers'))).length, 2, 'the note of the one that ended is gone')
})

test('where no server has noted its settings the page says so, and goes by its own environment', async (t) => {
  const server = await startKnown(t, { env: { [`${PREFIX}RECIPIENTS`]: recipients } })
  await server.stop()
  await rm(join(server.basedir, 'servers'), { recursive: true })
  const page = await sheetOf(server.basedir, 'study', { HOST: '::', [`${PREFIX}CORS_ORIGINS`]: 'https://a.example.org' })
  assert.match(page, /^\*\*No server has noted its settings here\.\*\* What this page says of settings is what a server would have that begins with the environment of this command\.$/m)
  assert.match(page, /pages of `https:\/\/a\.example\.org` may do so/)
  assert.match(page, /It listens on `http:\/\/\[::\]:8000`/)
  assert.match(page, new RegExp(first), 'the recipients that a server has begun with are known all the same')
  const wrong = runProgram(['datasheet', 'study', `--basedir=${server.basedir}`], { PORT: 'http' })
  assert.deepEqual([wrong.status, wrong.stdout], [2, ''])
  assert.match(wrong.stderr, /^PORT="http" is not allowed/)
})

test('a copy of a base directory is not taken for the one that a server keeps', async (t) => {
  const server = await startKnown(t)
  const copy = join(await temporaryDirectory(t), 'copy')
  await cp(server.basedir, copy, { recursive: true })
  assert.ok((await sheetOf(copy)).includes(`**It keeps \`${server.basedir}\` on \`${hostname()}\`:** what this page says of files and rights holds for the directory above, which may be a copy.`))
  assert.doesNotMatch(await sheetOf(server.basedir), /a copy\./)
})

test('a server that cannot note its settings serves, and says so in its log', async (t) => {
  const basedir = await temporaryDirectory(t)
  await writeFile(join(basedir, 'servers'), 'in the way')
  const server = await startKnown(t, { basedir })
  assert.equal((await fetch(`${server.url}/livez`)).status, 200)
  await server.stop()
  assert.match(await readFile(join(basedir, 'logs/error.log'), 'utf8'), /ERROR settings not noted .*servers/)
})

const SETTINGS: NotedSettings = {
  basedir: '/data',
  listening: [],
  tls: false,
  trusted_proxies: [],
  cors_origins: '*',
  recipients: [],
  token_in_log: false,
  alerts: null,
  log_printed: false,
  log_bytes: 1,
  development: false,
}

test('notes of servers that have ended go, those of servers that run stay, and of servers elsewhere fifty at most', async (t) => {
  const layout = new Layout(await temporaryDirectory(t))
  await mkdir(layout.servers)
  const write = (index: number, owner: object, text?: string) => {
    const name = `20240902T0000${String(index).padStart(2, '0')}000Z-0123abcd.json`
    return writeFile(join(layout.servers, name), text ?? JSON.stringify({ began_at: new Date(SEPTEMBER + index * 1000).toISOString(), version: '1.0.0', owner: { ...describeSelf(), ...owner }, settings: SETTINGS }))
  }
  for (let index = 0; index < 60; index++) await write(index, { host: 'elsewhere' })
  await write(0, {}) // this process, which runs
  await write(55, { pid: 2 ** 22 + 1 })
  await write(56, {}, '{"began_at":"2024')
  await write(57, {}, JSON.stringify({ began_at: '2024-09-02T00:00:57Z', version: '1.0.0', owner: describeSelf(), settings: { ...SETTINGS, tls: 'no' } }))
  await writeFile(join(layout.servers, 'notes-of-the-lab.txt'), 'stays')
  await noteServer(layout, { version: '1.2.3', settings: SETTINGS }, new Directories())
  const notes = await readServerNotes(layout)
  assert.deepEqual(notes.slice(0, 2).map(({ note, isRunning }) => [note.version, note.owner.host, isRunning]), [['1.2.3', hostname(), true], ['1.0.0', 'elsewhere', undefined]])
  assert.deepEqual(notes.map(({ isRunning }) => isRunning), [true, ...Array<undefined>(50 - 2).fill(undefined), true]) // two of the fifty are none
  assert.ok((await readdir(layout.servers)).includes('notes-of-the-lab.txt'))
})

test('servers elsewhere whose settings differ are told of', async (t) => {
  const server = await startKnown(t)
  const [name = ''] = await readdir(join(server.basedir, 'servers'))
  const note = JSON.parse(await readFile(join(server.basedir, 'servers', name), 'utf8')) as { owner: object; settings: object }
  await writeFile(join(server.basedir, 'servers', '20240902T000000000Z-0123abcd.json'), JSON.stringify({ ...note, owner: { ...note.owner, host: 'else`where' }, settings: { ...note.settings, tls: true } }))
  assert.match(await sheetOf(server.basedir), /^1 other server on other machines or in other containers noted other settings; whether they run cannot be seen from here\.$/m)
  await server.stop()
  await rm(join(server.basedir, 'servers', name))
  const page = await sheetOf(server.basedir)
  assert.match(page, /^\*\*Whether it is running now cannot be seen from here\.\*\*$/m)
  assert.ok(page.includes('on ``else`where``:**'))
})

const rightRows: readonly { name: string; modes: Readonly<Record<string, number>>; says: RegExp }[] = [
  { name: 'a base directory for its user alone', modes: { '.': 0o700, tokens: 0o755 }, says: /mode 0700\. Others may not enter it\.$/m },
  { name: 'a base directory that others may enter', modes: { '.': 0o755 }, says: /mode 0755\. Others may enter it, but none of the directories in the table\.$/m },
  { name: 'a directory that others may enter too', modes: { '.': 0o711, tokens: 0o750, logs: 0o755 }, says: /mode 0711\. \*\*Others may look into `tokens`, `logs`:\*\* `chmod -R go= \/\S+` ends that\.$/m },
  { name: 'a directory behind a closed one', modes: { '.': 0o755, 'uploads/responses': 0o755 }, says: /mode 0755\. Others may enter it, but none/ },
  { name: 'directories one in the other', modes: { '.': 0o755, uploads: 0o755, 'uploads/responses': 0o755 }, says: /\*\*Others may look into `uploads`, `uploads\/responses`:\*\*/ },
]
for (const { name, modes, says } of rightRows) {
  test(`the page tells who may read: ${name}`, async (t) => {
    const { basedir } = await startKnown(t)
    for (const [path, mode] of Object.entries(modes)) await chmod(join(basedir, path), mode)
    assert.match(await sheetOf(basedir), says)
  })
}

test('the page names the user of the server, and directories that are another one\'s', async (t) => {
  const through = await asOtherUser(t)
  if (through === undefined) return
  const basedir = await temporaryDirectory(t)
  await chown(basedir, OTHER_USER, OTHER_USER)
  await startKnown(t, { basedir, through })
  const page = await sheetOf(basedir)
  assert.match(page, new RegExp(`^- On this machine: root, and user ${OTHER_USER} \\(group ${OTHER_USER}\\), to whom the base directory belongs`, 'm'))
  assert.match(page, new RegExp(`On this machine, as root or user ${OTHER_USER}\\.`))
  assert.doesNotMatch(page, /another user/)
  await chown(join(basedir, 'receipts'), 12_345, 12_345)
  assert.match(await sheetOf(basedir), /^- \*\*`receipts` belongs to another user\*\*, who can read it\.$/m)
})

test('recipients that the server may not read are said to be no use', async (t) => {
  const through = await asOtherUser(t)
  if (through === undefined) return
  const basedir = await temporaryDirectory(t)
  await chown(basedir, OTHER_USER, OTHER_USER)
  await startKnown(t, { basedir, through, env: { [`${PREFIX}RECIPIENTS`]: recipients } })
  await writeOwn(basedir, 'study', textOf(own))
  await chmod(join(basedir, 'projects'), 0o700)
  await chmod(join(basedir, 'projects/study'), 0o700)
  const page = await sheetOf(basedir)
  assert.match(page, /\*\*Whom to, the server alone knows:\*\* it cannot use the recipients of this project\.$/m)
  assert.match(page, /^- \*\*No auth token is issued for `study`:\*\* the server may not read \S+projects\/study\.$/m)
})

const refusals = [
  { name: 'no project', args: [], says: /^<project> is missing\. / },
  { name: 'a project that nobody knows', args: ['other'], says: /^\S+ has no project "other"\. It has none yet\.\nA project is known from its first auth token on: token --project other --minutes 1\.\n$/ },
  { name: 'a name that is no project', args: ['../x'], says: /^\S+ has no project "\.\.\/x"\. It has none yet\.\n$/ },
  { name: 'a word too many', args: ['study', 'twice'], says: /^"twice" is one argument too many\. / },
  { name: 'a flag that is none', args: ['study', '--json'], says: /^Unknown option '--json'\. --help lists what there is\.\n$/ },
  { name: 'a base directory that is not there', args: ['study', '--basedir=/nowhere/base'], says: /^There is no base directory \/nowhere\/base\. [^\n]*\n$/ },
]
for (const { name, args, says } of refusals) {
  test(`\`datasheet\` with ${name} ends with 2 and a sentence`, async (t) => {
    const { basedir } = await startServer(t)
    await issueToken(basedir, 'study')
    const { status, stdout, stderr } = runProgram(['datasheet', ...args], { [`${PREFIX}BASEDIR`]: basedir })
    assert.deepEqual([status, stdout], [2, ''])
    assert.match(stderr, says)
  })
}

test('a project is known by its recipients too, and what is read of it is recorded', async (t) => {
  const { basedir } = await startServer(t, { env: { [`${PREFIX}RECIPIENTS`]: recipients } })
  await writeOwn(basedir, 'planned', textOf(own))
  assert.match(await sheetOf(basedir, 'planned'), /^# Data sheet of the project `planned`\n[^]*0 files, 0 bytes, of 0 submissions \|/)
  const entries = (await readAudit(basedir)).filter(({ event }) => String(event).startsWith('datasheet'))
  assert.deepEqual(entries.map(({ event, called, project, exit_code: exitCode }) => [event, called, project, exitCode]), [
    ['datasheet_begun', 'datasheet planned', 'planned', undefined],
    ['datasheet_ended', undefined, 'planned', 0],
  ])
})

test('a user who may not read the base directory is told who may', async (t) => {
  const through = await asOtherUser(t)
  if (through === undefined) return
  const { basedir } = await startKnown(t)
  const [command = '', ...args] = [...through, process.execPath, 'serve.js', 'datasheet', 'study', `--basedir=${basedir}`]
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  assert.equal(status, 2)
  assert.match(stderr, /is not for this user\. Run the command as root, or as the user that runs the server\.\n$/)
})

const names = ['plain', '`', '``a`', '`a', 'a` ', ' a ', '  ', 'a|b', 'a\\|b', '\\', '<b>&amp;', '*a* _b_ [c](d)', 'line\nbreak', '# head', '~~x~~', 'Zoë 7', '']
for (const name of names) {
  test(`a reader of Markdown shows a name as it is: ${JSON.stringify(name)}`, (t) => {
    if (!needs(t, 'cmark-gfm', 'cmark-gfm')) return
    const shown = name.replace('\n', '?')
    const escaped = [`<p>${`x ${html(shown)}`.trimEnd()}</p>`, `<td>${html(shown.trim())}</td>`]
    const coded = name === '' ? ['<p>x (empty)</p>', '<td>(empty)</td>'] : [`<p>x <code>${html(shown)}</code></p>`, `<td><code>${html(shown)}</code></td>`]
    for (const [text, expected] of [[code(name), coded], [escape(name), escaped]] as const) {
      const { stdout } = spawnSync('cmark-gfm', ['--extension', 'table', '--extension', 'strikethrough'], { input: `x ${text}\n\n${formatTable(['head'], [[text]]).join('\n')}\n`, encoding: 'utf8' })
      assert.deepEqual([...stdout.matchAll(/<p>.*<\/p>|<td>.*<\/td>/g)].map(([found]) => found), expected, stdout)
    }
  })
}

test('a reader of Markdown finds headings, one table of ten rows, and lists', async (t) => {
  if (!needs(t, 'cmark-gfm', 'cmark-gfm')) return
  const { basedir } = await startKnown(t, { basedir: join(await temporaryDirectory(t), 'a|b `c` _d_ <e>') })
  const { stdout } = spawnSync('cmark-gfm', ['--extension', 'table'], { input: await sheetOf(basedir), encoding: 'utf8' })
  const count = (tag: string) => stdout.split(tag).length - 1
  assert.deepEqual(['<h1>', '<h2>', '<table>', '<tbody>', '<ul>', '<pre>'].map(count), [1, 6, 1, 1, 4, 2])
  assert.deepEqual([count('<tr>'), count('<td>'), count('<th>')], [11, 50, 5])
  assert.ok(stdout.includes(`base directory <code>${html(basedir)}</code>`), stdout)
})

function html(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
