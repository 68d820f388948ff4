import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, chmod, chown, cp, link, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Audit } from '../lib/audit/audit.ts'
import { describeCall } from '../lib/commands/call.ts'
import { MonthFile } from '../lib/audit/month-file.ts'
import { Directories } from '../lib/directories.ts'
import { runCommand } from './commanded.ts'
import { ADMIN_TOKEN, askToken, listFiles, needs, PROGRAM, readAudit, request, runProgram, startServer, submitForm, temporaryDirectory, until, wholeFile } from './harness.ts'
import { startFleet } from './fleet.ts'
import { asOtherUser } from './other-user.ts'
import { sha256Of } from './sha256.ts'
import { ONLY_TRACED, parseTrace } from './trace.ts'

const file = wholeFile()
const PARTICIPANT = 'Zoe-Quastenflosser'
const CODE = 'K7QX-M2PW-9R4T' // as `keys prove` takes one
const digits = (token: string) => sha256Of(token).slice(0, 8)
const eventsIn = async (basedir: string) => (await readAudit(basedir)).map(({ event }) => event)
const run = (basedir: string, ...args: string[]) => runProgram([...args, '--basedir', basedir])
const runIn = (basedir: string, ...args: string[]) => runCommand([...args, '--basedir', basedir])

/** A base directory of a server that has stopped, with one submission. */
async function makeBasedir(t: TestContext): Promise<{ basedir: string; authToken: string }> {
  const { server, authToken } = await (whole ??= makeWhole())
  const basedir = join(await temporaryDirectory(t), 'base')
  await cp(server.basedir, basedir, { recursive: true })
  return { basedir, authToken }
}

let whole: ReturnType<typeof makeWhole> | undefined

async function makeWhole() {
  const server = await startServer(file)
  const authToken = await askToken(server, { participant_id: PARTICIPANT })
  await submitForm(server, [['file', Buffer.from('voice'), 'voice.wav'], ['auth_token', authToken]])
  await server.stop()
  return { server, authToken }
}

test('every administrative request leaves an entry, with the address and without a secret', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server, { participant_id: PARTICIPANT })
  const { json } = await request(`${server.url}/register?token=${ADMIN_TOKEN}&project=study&callback_url=https://ui.example.org/`)
  const clientId = String(json['client_id'])
  const { headers } = await request(`${server.url}/token?client_id=${clientId}&participant_id=${PARTICIPANT}`)
  const ofClient = new URL(headers.get('location') ?? '').searchParams.get('auth_token') ?? ''
  await request(`${server.url}/token?token=not-the-token`)
  await request(`${server.url}/metrics`, { headers: { authorization: `Bearer ${ADMIN_TOKEN}` } })
  await request(`${server.url}/metrics`) // of this machine, without a token
  await server.stop()
  const entries = await readAudit(server.basedir)
  const known = entries.map(({ at, previous, request: id, ...entry }) => {
    assert.ok(!Number.isNaN(Date.parse(String(at))), String(at))
    return entry
  })
  const address = '127.0.0.1'
  assert.deepEqual(known, [
    { event: 'token_issued', address, project: 'study', token: digits(authToken) },
    { event: 'client_registered', address, project: 'study', client: digits(clientId) },
    { event: 'token_issued', address, project: 'study', token: digits(ofClient), client: digits(clientId) },
    { event: 'admin_token_refused', count: 1, addresses: { [address]: 1 } },
    { event: 'metrics_read', count: 1, addresses: { [address]: 1 } },
  ])
  await assertNoSecrets(server.basedir, [ADMIN_TOKEN, authToken, ofClient, clientId, PARTICIPANT, 'not-the-token'])
  for (const file of await listFiles(join(server.basedir, 'audit'))) assert.match(file, /^\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{8}\.ndjson$/)
})

test('a request is recorded while the server runs, and each of several processes keeps a file of its own', async (t) => {
  const server = await startFleet(t)
  await Promise.all(Array.from({ length: 40 }, () => askToken(server)))
  await until('all are recorded', async () => (await eventsIn(server.basedir)).length === 40)
  const files = await listFiles(join(server.basedir, 'audit'))
  assert.ok(files.length <= 2, files.join(' '))
})

test('a flood of wrong admin tokens is counted per address, in one entry a minute', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_TRUSTED_PROXIES: '127.0.0.1' } })
  const ask = (index: number) => request(`${server.url}/token?token=wrong`, { headers: { 'x-forwarded-for': `198.51.100.${index % 50}` } })
  await Promise.all(Array.from({ length: 300 }, (_, index) => ask(index)))
  await server.stop()
  const entries = await readAudit(server.basedir)
  assert.ok(entries.length <= 3, `${entries.length} entries`)
  assert.equal(entries.reduce((sum, { count }) => sum + Number(count), 0), 300)
  for (const { addresses, count, from_others: others = 0 } of entries) {
    const counts = Object.values(addresses as Record<string, number>)
    assert.ok(counts.length <= 20, `${counts.length} addresses`)
    assert.equal(counts.reduce((sum, each) => sum + each, 0) + Number(others), count)
  }
})

test('the server begins a file a month, whose chain is its own', async (t) => {
  const basedir = await temporaryDirectory(t)
  const fail = (error: unknown) => assert.fail(String(error))
  const audit = new Audit({ directory: join(basedir, 'audit'), directories: new Directories(), processName: '01234567', onFailure: fail, onRecovery: fail })
  for (const [count, at] of [[1, '2024-11-01T00:00:00Z'], [2, '2024-11-30T23:59:59Z'], [3, '2024-12-01T00:00:00Z']] as const) {
    audit.note('token_issued', { token: String(count) }, new Date(at))
    await until('it is written', async () => (await readAudit(basedir)).length === count)
  }
  await audit.close()
  const names = (await readdir(join(basedir, 'audit'))).toSorted()
  const texts = await Promise.all(names.map((name) => readFile(join(basedir, 'audit', name), 'utf8')))
  assert.deepEqual(texts.map((text) => text.match(/(?<="token":")\d/g)), [['1', '2'], ['3']])
})

test('entries that cannot be kept are counted, and the others are written in their order', async (t) => {
  const basedir = await temporaryDirectory(t)
  const told: unknown[] = []
  const parts = { directory: join(basedir, 'audit'), directories: new Directories(), processName: '01234567' }
  const audit = new Audit({ ...parts, onFailure: (error) => assert.fail(String(error)), onRecovery: (lost) => told.push(lost) })
  for (let index = 0; index < 10_005; index++) audit.note('token_issued', { index })
  await audit.close()
  const entries = await readAudit(basedir)
  assert.deepEqual(entries.slice(0, 10_000).map(({ index }) => index), [...Array(10_000).keys()])
  assert.deepEqual(entries.slice(10_000).map(({ event, count }) => [event, count]), [['entries_lost', 5]])
  assert.deepEqual(told, [])
})

test('where the record cannot be written tokens are issued, error.log says so once, and it is written later', async (t) => {
  const server = await startServer(t)
  await writeFile(join(server.basedir, 'audit'), 'in the way')
  const failures = async () => (await readFile(join(server.basedir, 'logs', 'error.log'), 'utf8').catch(() => '')).match(/ERROR record of access cannot be written/g)
  await askToken(server)
  await until('it is told', async () => (await failures()) !== null)
  await askToken(server)
  await rm(join(server.basedir, 'audit'))
  await askToken(server)
  await until('it is written again', async () => (await readAudit(server.basedir)).length === 3)
  assert.equal((await failures())?.length, 1)
})

test('every command leaves an entry before it begins and one when it has ended', async (t) => {
  const { basedir, authToken } = await makeBasedir(t)
  const before = (await readAudit(basedir)).length
  const out = join(await temporaryDirectory(t), 'out')
  await writeFile(join(out, '..', 'names.txt'), PARTICIPANT)
  const issued = run(basedir, 'token', '--project', 'study', '--participant', PARTICIPANT).stdout.split('\n')[0] ?? ''
  run(basedir, 'tokens', 'revoke', digits(issued))
  await runIn(basedir, 'tokens', 'list', '--participant', PARTICIPANT)
  await runIn(basedir, 'links', 'study', '--ui', 'https://ui.example.org/', `--participants=${join(out, '..', 'names.txt')}`)
  await runIn(basedir, 'status', 'study', `--participant=${PARTICIPANT}`)
  run(basedir, 'export', 'study', out, '--since', '2024-11-01')
  await runIn(basedir, 'verify')
  await runIn(basedir, 'doctor')
  await runIn(basedir, 'audit')
  run(basedir, 'verify', 'nobody')
  await runIn(basedir, 'keys', 'prove', CODE)
  const told = (await readAudit(basedir)).slice(before).map(({ event, called, token, tokens, count, exit_code }) => [event, called ?? exit_code, token ?? tokens ?? count])
  assert.deepEqual(told.filter(([event]) => event !== 'doctor_ended'), [
    ['token_begun', 'token --project study --participant (hidden)', undefined],
    ['token_ended', 0, digits(issued)],
    ['tokens_begun', `tokens revoke ${digits(issued)}`, undefined],
    ['tokens_ended', 0, [digits(issued)]],
    ['tokens_begun', 'tokens list --participant (hidden)', undefined],
    ['tokens_ended', 0, 1],
    ['links_begun', 'links study --ui (hidden) --participants=(hidden)', undefined],
    ['links_ended', 0, 1],
    ['status_begun', 'status study --participant=(hidden)', undefined],
    ['status_ended', 0, undefined],
    ['export_begun', `export study "${out}" --since 2024-11-01`, undefined],
    ['export_ended', 0, undefined],
    ['verify_begun', 'verify', undefined],
    ['verify_ended', 0, undefined],
    ['doctor_begun', 'doctor', undefined],
    ['audit_begun', 'audit', undefined],
    ['audit_ended', 0, before + 17],
    ['verify_begun', 'verify (hidden)', undefined],
    ['verify_ended', 2, undefined],
    ['keys_begun', 'keys prove (hidden)', undefined],
    ['keys_ended', 2, undefined],
  ])
  for (const { user, host, run: id, uid } of (await readAudit(basedir)).slice(before)) {
    assert.ok(typeof user === 'string' && typeof host === 'string' && /^[0-9a-f]{8}$/.test(String(id)), 'it says who')
    assert.equal(uid, process.getuid?.())
  }
  await assertNoSecrets(basedir, [authToken, issued, PARTICIPANT, CODE])
})

test('who takes a participant for a project has not named that one in the record', async (t) => {
  const { basedir } = await makeBasedir(t)
  const name = 'anna-of-the-west'
  for (const args of [['status', name], ['withdraw', name, '--participant', 'study'], ['export', name, 'out'], ['verify', name], ['tokens', 'list', '--project', name], ['tokens', `--project=${name}`, 'annaofthewest'], ['keys', 'annaofthewest']]) run(basedir, ...args)
  await assertNoSecrets(basedir, [name, 'annaofthewest'])
  run(basedir, 'token', '--project', 'new')
  run(basedir, 'status', 'new')
  run(basedir, 'tokens', 'list', '--project', 'new')
  assert.deepEqual((await readAudit(basedir)).filter(({ project, event }) => project === 'new' && String(event).endsWith('_begun')).map(({ called }) => called), ['token --project new', 'status new', 'tokens list --project new'])
})

test('commands that follow one another share one file, and those at once lose nothing', async (t) => {
  const { basedir } = await makeBasedir(t)
  const files = async () => (await readdir(join(basedir, 'audit'))).length
  const before = { files: await files(), entries: (await readAudit(basedir)).length }
  for (let turn = 0; turn < 3; turn++) await runIn(basedir, 'status')
  assert.equal(await files(), before.files + 1)
  await Promise.all(
    Array.from({ length: 6 }, async () => {
      const child = spawn(process.execPath, [PROGRAM, 'status', '--basedir', basedir], { stdio: 'ignore' })
      assert.deepEqual(await once(child, 'exit'), [0, null])
    }),
  )
  assert.equal((await readAudit(basedir)).length, before.entries + 2 * (3 + 6))
  const afterAll = await files()
  assert.ok(afterAll <= before.files + 6, `${afterAll} files`)
  for (let turn = 0; turn < 3; turn++) await runIn(basedir, 'status')
  assert.equal(await files(), afterAll)
  assert.deepEqual((await readdir(join(basedir, 'audit'))).filter((name) => name.includes('taken')), [])
})

const entry = (at: string, event = 'status_begun') => ({ at, event })
const monthFile = (directory: string, keeper = 'u0-aaaaaaaa', self = '01234567') => new MonthFile({ directory, directories: new Directories(), keeper, self, owner: undefined })

// What a second entry finds, and how many files there are then.
const found: { name: string; harm?: (path: string) => Promise<unknown>; at?: string; keeper?: string; files: number }[] = [
  { name: 'an entry of the same month goes to the same file', files: 1 },
  { name: 'another month begins another file', at: '2024-12-01T00:00:00.000Z', files: 2 },
  { name: 'another user or machine has another file', keeper: 'u1-aaaaaaaa', files: 2 },
  { name: 'a file that was cut within a line is not gone on with', harm: (path) => appendFile(path, '{"at":'), files: 2 },
  { name: 'an empty file is not gone on with', harm: (path) => writeFile(path, ''), files: 2 },
  { name: 'a directory in its place is not gone on with', harm: (path) => rm(path).then(() => mkdir(path)), files: 2 },
  { name: 'a file with a second name is not gone on with', harm: (path) => link(path, `${path}.other`), files: 3 },
]
for (const { name, harm, at = '2024-11-30T23:59:59.999Z', keeper, files } of found) {
  test(name, async (t) => {
    const directory = join(await temporaryDirectory(t), 'audit')
    await monthFile(directory).append(entry('2024-11-01T00:00:00.000Z'))
    const [path = ''] = await readdir(directory)
    await harm?.(join(directory, path))
    await monthFile(directory, keeper, '89abcdef').append(entry(at))
    const names = await readdir(directory)
    assert.equal(names.length, files, names.join(' '))
    const texts = await Promise.all(names.map((each) => readFile(join(directory, each), 'utf8').catch(() => '')))
    assert.ok(texts.some((text) => text.includes(at)), 'it was written')
  })
}

test('what a command that was killed had taken is read, and nobody goes on with it', async (t) => {
  const { basedir } = await makeBasedir(t)
  run(basedir, 'status')
  const [name = ''] = (await readdir(join(basedir, 'audit'))).filter((each) => each.includes('.u'))
  const taken = join(basedir, 'audit', name.replace('.ndjson', '.taken-01234567.ndjson'))
  await rename(join(basedir, 'audit', name), taken)
  const before = await readFile(taken, 'utf8')
  const { stdout } = await runIn(basedir, 'audit', '--json')
  assert.equal(stdout.match(/"status_begun"/g)?.length, 1)
  assert.equal(await readFile(taken, 'utf8'), before)
  assert.equal((await runIn(basedir, 'verify')).status, 0)
})

test('an export is recorded durably before it begins', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const { basedir } = await makeBasedir(t)
  const directory = await temporaryDirectory(t)
  const through = ['strace', '-f', ONLY_TRACED, '-y', '-s', '200', '-e', 'trace=openat,fsync,mkdir,rename', '-e', 'inject=fsync:delay_enter=500000:when=1', '-o', join(directory, 'trace')]
  const { status, stderr } = runProgram(['export', 'study', join(directory, 'out'), '--basedir', basedir], {}, directory, through)
  assert.equal(status, 0, stderr)
  const calls = parseTrace(await readFile(join(directory, 'trace'), 'utf8'))
  const synced = calls.find(({ name, paths }) => name === 'fsync' && /\/audit\/.*\.ndjson$/.test(paths[0] ?? ''))
  const named = calls.find(({ name, paths }) => name === 'fsync' && /\/audit$/.test(paths[0] ?? ''))
  const begun = calls.find(({ name, paths }) => (name === 'mkdir' && paths.includes(join(directory, 'out'))) || (name === 'openat' && /responses\/study/.test(paths.at(-1) ?? '')))
  assert.ok(synced !== undefined && named !== undefined && begun !== undefined, 'all three are seen')
  assert.ok(synced.ended < begun.began && named.ended < begun.began, 'the entry and the name of its file come first')
})

test('whoever may only read can look, verify and export, and is told once that it is not recorded', async (t) => {
  const through = await asOtherUser(t)
  if (through === undefined) return
  const { basedir } = await makeBasedir(t)
  await openToAll(join(basedir, '..'))
  const before = await readAudit(basedir)
  const out = join(await temporaryDirectory(t), 'out')
  await mkdir(out)
  await chmod(out, 0o777)
  await openToAll(join(out, '..'))
  await chmod(out, 0o777)
  for (const args of [['status'], ['verify'], ['audit'], ['export', 'study', out]]) {
    const { status, stdout, stderr } = runProgram([...args, '--basedir', basedir], {}, '/', through)
    assert.equal(status, 0, `${args[0]}: ${stdout}${stderr}`)
    assert.match(stderr, /^WARNING: this call is not in the record of access, since .*audit cannot be written: EACCES\n$/)
  }
  assert.deepEqual(await readAudit(basedir), before)
})

test('on a full disk a token can be taken back all the same', async (t) => {
  if (!needs(t, 'prlimit', 'util-linux')) return
  const { basedir, authToken } = await makeBasedir(t)
  const { status, stdout, stderr } = runProgram(['tokens', 'revoke', digits(authToken), '--basedir', basedir], {}, '/', ['prlimit', '--fsize=0'])
  assert.equal(status, 0, stderr)
  assert.match(stdout, /1 token revoked/)
  assert.match(stderr, /^WARNING: this call is not in the record of access, since .*: EFBIG\n$/)
  assert.deepEqual((await readAudit(basedir)).filter(({ event }) => String(event).startsWith('tokens')), [])
})

test('on a full disk the file of the month is given back to those who come later', async (t) => {
  if (!needs(t, 'prlimit', 'util-linux')) return
  const { basedir } = await makeBasedir(t)
  const run = (...through: string[]) => runProgram(['tokens', 'list', '--basedir', basedir], {}, '/', through)
  assert.equal(run().status, 0)
  const before = await readdir(join(basedir, 'audit'))
  assert.match(run('prlimit', '--fsize=10').stderr, /^WARNING: this call is not in the record of access, since .*: EFBIG\n$/)
  assert.equal(run().status, 0)
  assert.deepEqual(await readdir(join(basedir, 'audit')), before)
})

test('what root records belongs to the owner of the base directory', async (t) => {
  const through = await asOtherUser(t)
  if (through === undefined) return
  const basedir = join(await temporaryDirectory(t), 'base')
  await mkdir(join(basedir, 'tokens'), { recursive: true })
  for (const path of [basedir, join(basedir, 'tokens')]) await chown(path, 54_321, 54_321)
  assert.equal(run(basedir, 'status').status, 0)
  const [name = ''] = await readdir(join(basedir, 'audit'))
  for (const path of ['audit', join('audit', name)]) {
    const { uid, mode } = await stat(join(basedir, path))
    assert.deepEqual([uid, mode & 0o077], [54_321, 0], path)
  }
})

test('a directory that is none of ours is left alone', async (t) => {
  const basedir = await temporaryDirectory(t)
  assert.match((await runIn(basedir, 'status')).stderr, /^\S+ is not the base directory of a server: [^\n]*\n$/)
  assert.deepEqual(await readdir(basedir), [])
})

const damages: { name: string; edit: (text: string) => string; code: number; says: RegExp }[] = [
  { name: 'an untouched record holds', edit: (text) => text, code: 0, says: /^record of access: \d+ entries in \d+ files?; nothing changed or removed$/m },
  { name: 'an entry that was edited shows at the next line', edit: (text) => text.replace('"p0"', '"p9"'), code: 1, says: /^BROKEN CHAIN: audit\/.*: line 2 does not carry/m },
  { name: 'an entry that was removed shows', edit: (text) => text.split('\n').toSpliced(1, 1).join('\n'), code: 1, says: /^BROKEN CHAIN: audit\/.*: line 2 /m },
  { name: 'a first entry that was removed shows', edit: (text) => text.split('\n').slice(1).join('\n'), code: 1, says: /^BROKEN CHAIN: audit\/.*: line 1 /m },
  { name: 'an entry that was put in shows', edit: (text) => text.split('\n').flatMap((line, index) => (index === 1 ? [line, line] : [line])).join('\n'), code: 1, says: /^BROKEN CHAIN: audit\/.*: line 3 /m },
  { name: 'a line that is no entry is named', edit: (text) => `${text}{"previous":"${sha256Of(text.split('\n').at(-2) ?? '')}"}\n`, code: 1, says: /^UNREADABLE: audit\/.*: line 4 is no entry/m },
  { name: 'a torn last line is no error', edit: (text) => `${text}{"at":"2024`, code: 0, says: /^torn: audit\/.*: line 4 ends without a newline/m },
]
test('`verify` holds the record of access against itself:', async (t) => {
  const server = await startServer(t)
  for (const project of ['p0', 'p1', 'p2']) await askToken(server, { project })
  await server.stop()
  for (const { name, edit, code, says } of damages) {
    await t.test(name, async (t) => {
      const basedir = join(await temporaryDirectory(t), 'copy')
      await cp(server.basedir, basedir, { recursive: true })
      const [file = ''] = await listFiles(join(basedir, 'audit'))
      const path = join(basedir, 'audit', file)
      await writeFile(path, edit(await readFile(path, 'utf8')))
      const { status, stdout, stderr } = await runIn(basedir, 'verify')
      assert.equal(status, code, stdout + stderr)
      assert.match(stdout, says)
    })
  }
})

test('`audit` prints what all files hold in the order of time', async (t) => {
  const basedir = await temporaryDirectory(t)
  const directory = join(basedir, 'audit')
  await mkdir(directory)
  const line = (at: string, event: string, more: object = {}) => `${JSON.stringify({ at, event, ...more, previous: null })}\n`
  await writeFile(join(directory, '20241101T000000.000Z-aaaaaaaa.ndjson'), line('2024-11-01T00:00:00.000Z', 'first', { address: '192.0.2.1\u001b[2J', token: '01234567' }) + line('2024-11-03T00:00:00.000Z', 'third', { addresses: { '192.0.2.9': 3 } }))
  await writeFile(join(directory, '20241102T000000.000Z-bbbbbbbb.u0-cccccccc.ndjson'), line('2024-11-02T00:00:00.000Z', 'second', { user: 'anna', host: 'vm', called: 'status' }))
  await writeFile(join(directory, '20241102T000000.000Z-bbbbbbbb.u0-cccccccc.taken-dddddddd.ndjson'), line('2024-11-02T00:00:00.000Z', 'second')) // as a copy may have caught it
  const { stdout } = await runIn(basedir, 'audit')
  const lines = stdout.split('\n')
  assert.deepEqual(lines.slice(0, 3), [
    '2024-11-01T00:00:00Z  192.0.2.1?[2J  first  token=01234567',
    '2024-11-02T00:00:00Z  anna@vm  second  status',
    '2024-11-03T00:00:00Z  the web  third  addresses=192.0.2.9:3',
  ])
  const since = (await runIn(basedir, 'audit', '--since', '2024-11-02', '--json')).stdout.trimEnd().split('\n').map((text) => (JSON.parse(text) as { event: string }).event)
  assert.deepEqual(since.slice(0, 2), ['second', 'third'])
  assert.match((await runIn(basedir, 'audit', '--since', 'yesterday')).stderr, /--since="yesterday" is not allowed/)
})

const calls: { command: string; args: string[]; words: string; project?: string }[] = [
  { command: 'token', args: ['--project', 'p1', '--minutes=5'], words: 'token --project p1 --minutes=5', project: 'p1' },
  { command: 'token', args: ['--project=p1'], words: 'token --project=p1', project: 'p1' },
  { command: 'token', args: ['--project', '../x', '--secret', 'abc'], words: 'token --project (hidden) --secret (hidden)' },
  { command: 'status', args: ['--json', 'p1'], words: 'status --json p1', project: 'p1' },
  { command: 'status', args: ['p1', '--basedir', '/home/anna', '--basedir=/home/anna'], words: 'status p1', project: 'p1' },
  { command: 'export', args: ['p1', '/srv/anna', '--participant', 'anna'], words: 'export p1 (hidden) --participant (hidden)', project: 'p1' },
  { command: 'tokens', args: ['revoke', 'p1-0123456789abcdef0123456789abcdef'], words: 'tokens revoke (hidden)' },
  { command: 'keys', args: ['prove', 'p1', 'CODE-1234'], words: 'keys prove p1 (hidden)', project: 'p1' },
  { command: 'keys', args: ['prove', 'K7QX-M2PW'], words: 'keys prove (hidden)' },
  { command: 'keys', args: ['prove', '--recipients', 'age1x', 'K7QX-M2PW'], words: 'keys prove --recipients (hidden) (hidden)' },
  { command: 'keys', args: ['prove', 'K7QX-M2PW', '--basedir', '/srv'], words: 'keys prove (hidden)' },
  { command: 'keys', args: ['prove', 'p1', '--recipients=age1x', 'K7QX-M2PW'], words: 'keys prove p1 --recipients=(hidden) (hidden)', project: 'p1' },
  { command: 'keys', args: ['--basedir', '/srv', 'prove', 'K7QX-M2PW'], words: 'keys prove (hidden)' },
  { command: 'keys', args: ['challenge', 'p1'], words: 'keys challenge p1', project: 'p1' },
  { command: 'keys', args: ['new', 'lab.key'], words: 'keys new (hidden)' },
  { command: 'export', args: ['-p', 'anna', 'out'], words: 'export (hidden)' },
  { command: 'status', args: ['--json', '--', 'anna'], words: 'status --json (hidden)' },
  { command: 'unheard-of', args: ['p1', '--x'], words: 'unheard-of (hidden) --x' },
]
for (const { command, args, words, project } of calls) {
  test(`\`${[command, ...args].join(' ')}\` is recorded as \`${words}\``, () => assert.deepEqual(describeCall(command, args), { words, project }))
}

async function assertNoSecrets(basedir: string, secrets: readonly string[]): Promise<void> {
  for (const file of await listFiles(join(basedir, 'audit'))) {
    const text = await readFile(join(basedir, 'audit', file), 'utf8')
    for (const secret of secrets) assert.ok(!text.includes(secret), `${secret} is in ${file}`)
  }
}

async function openToAll(directory: string): Promise<void> {
  await chmod(directory, 0o755)
  for (const each of await readdir(directory, { recursive: true, withFileTypes: true })) {
    await chmod(join(each.parentPath, each.name), each.isDirectory() ? 0o755 : 0o644)
  }
}
