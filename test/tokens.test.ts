import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, chown, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { runCommand } from './commanded.ts'
import { askToken, listFiles, listUploads, needs, PROGRAM, readReceipts, request, runProgram, sleep, startServer, submitForm, temporaryDirectory, until } from './harness.ts'
import { asOtherUser, OTHER_USER } from './other-user.ts'
import { sha256Of } from './sha256.ts'
import { ONLY_TRACED } from './trace.ts'
import { formBody, submitHead, Wire } from './wire.ts'

const DAY_MS = 24 * 3600 * 1000


/** Makes a base directory as a server leaves it. */
async function makeBasedir(t: TestContext): Promise<string> {
  const basedir = await temporaryDirectory(t)
  await mkdir(join(basedir, 'tokens'), { mode: 0o700 })
  return basedir
}

async function issue(basedir: string, ...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await runCommand(['token', `--basedir=${basedir}`, ...args])
  assert.deepEqual([status, stderr], [0, ''])
  return stdout.split('\n')[0] ?? ''
}

interface Listed {
  readonly token: string
  readonly token_sha256: string
  readonly project: string
  readonly participant: string | null
  readonly issued_at: string
  readonly expires_at: string
  readonly expired: boolean
}

async function list(basedir: string, ...args: readonly string[]): Promise<readonly Listed[]> {
  const { status, stdout, stderr } = await runCommand(['tokens', 'list', '--json', `--basedir=${basedir}`, ...args])
  assert.deepEqual([status, stderr], [0, ''])
  return (JSON.parse(stdout) as { tokens: Listed[] }).tokens
}

async function submit(server: { url: string }, authToken: string): Promise<string> {
  const { status, json } = await submitForm(server, [['file', Buffer.from(authToken), 'a.txt'], ['auth_token', authToken]])
  return `${status} ${String(json['code'] ?? json['status'])}`
}

/** Writes the record of a token that nobody has, as a server would. */
async function writeRecord(basedir: string, sha256: string, fields: Readonly<Record<string, string>> = {}): Promise<void> {
  const times = { issued_at: new Date(Date.now() - 1000).toISOString(), expires_at: new Date(Date.now() + DAY_MS).toISOString() }
  await writeFile(join(basedir, 'tokens', `${sha256}.json`), JSON.stringify({ project: 'study', ...times, ...fields }))
}

test('`token` issues a token that a running server takes, with its participant, and says when it expires', async (t) => {
  const server = await startServer(t)
  const before = Math.floor(Date.now() / 1000) * 1000
  const { status, stdout, stderr } = runProgram(['token', `--basedir=${server.basedir}`, '--project=my-study', '--minutes=5', '--participant=Zoë 7'])
  const after = Date.now()
  assert.deepEqual([status, stderr], [0, ''])
  const [, authToken = '', expires = ''] = /^(my-study-[0-9a-f]{32})\nexpires (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\n$/.exec(stdout) ?? []
  const issuedMs = Date.parse(expires) - 5 * 60_000
  assert.ok(issuedMs >= before && issuedMs <= after, stdout)
  assert.equal(await submit(server, authToken), '200 accepted')
  assert.deepEqual((await readReceipts(server.basedir, 'my-study')).map((receipt) => receipt['participant']), ['Zoë 7'])
})

test('`token` without --minutes gives 90 minutes, as the server does', async (t) => {
  const basedir = await makeBasedir(t)
  await issue(basedir, '--project=study')
  const [listed] = await list(basedir)
  assert.equal(Date.parse(listed?.expires_at ?? '') - Date.parse(listed?.issued_at ?? ''), 90 * 60_000)
})

test('`token` stores no token, only its SHA-256, for its owner only', async (t) => {
  const basedir = await makeBasedir(t)
  const authToken = await issue(basedir, '--project=study')
  assert.deepEqual(await readdir(join(basedir, 'tokens')), [`${sha256Of(authToken)}.json`])
  const path = join(basedir, 'tokens', `${sha256Of(authToken)}.json`)
  assert.ok(!(await readFile(path, 'utf8')).includes(authToken), 'the token is in the file')
  assert.equal((await stat(path)).mode & 0o7777, 0o600)
  assert.deepEqual(await readdir(basedir), ['audit', 'tokens'])
})

test('`token` prints when the file and its name are durable', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const basedir = await makeBasedir(t)
  const calls = await trace(t, ['token', '--project=study', `--basedir=${basedir}`])
  assert.deepEqual(calls, ['fsync TOKEN', 'fsync tokens', 'write'])
})

test('a token that root issues belongs to the user of the tokens directory, whose server takes it', async (t) => {
  const through = await asOtherUser(t)
  if (through === undefined) return
  const basedir = await temporaryDirectory(t)
  await chown(basedir, OTHER_USER, OTHER_USER)
  const server = await startServer(t, { basedir, through })
  const authToken = await issue(basedir, '--project=study')
  const { uid, gid, mode } = await stat(join(basedir, 'tokens', `${sha256Of(authToken)}.json`))
  assert.deepEqual([uid, gid, mode & 0o7777], [OTHER_USER, OTHER_USER, 0o600])
  assert.equal(await submit(server, authToken), '200 accepted')
  runProgram(['tokens', 'revoke', '--project=study', `--basedir=${basedir}`])
  await until('it is refused', async () => (await submit(server, authToken)) === '403 unauthorized_token')
})

test('a user whose directory it is not is told who may', async (t) => {
  const through = await asOtherUser(t)
  if (through === undefined) return
  const basedir = await makeBasedir(t)
  await chmod(basedir, 0o755)
  const { status, stdout, stderr } = runProgram(['token', '--project=study', `--basedir=${basedir}`], {}, basedir, through)
  assert.deepEqual([status, stdout], [2, ''])
  assert.match(stderr, /^WARNING: this call is not in the record of access, since \S+\/audit cannot be written: EACCES\n\S+\/tokens is not for this user\. Run the command as root, or as the user that runs the server\.\n$/)
  assert.deepEqual(await readdir(join(basedir, 'tokens')), [])
})

const selections = [
  { name: 'all', args: [], expected: ['a/-', 'a/p-1', 'b/ p-2', 'b/p-1', 'b/p-2'] },
  { name: 'a project', args: ['--project=a'], expected: ['a/-', 'a/p-1'] },
  { name: 'a participant', args: ['--participant=p-1'], expected: ['a/p-1', 'b/p-1'] },
  { name: 'a participant of a project', args: ['--project=b', '--participant=p-1'], expected: ['b/p-1'] },
  { name: 'a participant, with blanks around the name or without', args: ['--participant=p-2 '], expected: ['b/ p-2', 'b/p-2'] },
  { name: 'a project that has none', args: ['--project=c'], expected: [] },
  { name: 'half the name of a project', args: ['--project=A'], expected: [] },
]
const wishes = [['--project=a'], ['--project=a', '--participant=p-1'], ['--project=b', '--participant=p-1'], ['--project=b', '--participant=p-2'], ['--project=b', '--participant= p-2']]

for (const { name, args, expected } of selections) {
  test(`\`tokens list\` and \`tokens revoke\` mean ${name}`, async (t) => {
    const basedir = await makeBasedir(t)
    for (const wish of wishes) await issue(basedir, ...wish)
    const shown = ({ project, participant }: { project: string; participant: string | null }) => `${project}/${participant ?? '-'}`
    assert.deepEqual((await list(basedir, ...args)).map(shown).toSorted(), expected)
    if (args.length === 0) return
    const { status, stdout } = await runCommand(['tokens', 'revoke', '--json', `--basedir=${basedir}`, ...args])
    const revoked = expected.length === 0 ? [] : (JSON.parse(stdout) as { revoked: Listed[] }).revoked
    assert.deepEqual([status, revoked.map(shown).toSorted()], [expected.length === 0 ? 1 : 0, expected])
    const left = selections[0]?.expected.filter((each) => !expected.includes(each))
    assert.deepEqual((await list(basedir)).map(shown).toSorted(), left)
  })
}

test('`tokens list` shows a person the digits of the logs, project, participant, times and whether it is good', async (t) => {
  const basedir = await makeBasedir(t)
  const authToken = await issue(basedir, '--project=study', '--participant=\u202ep-1')
  await writeRecord(basedir, 'ab'.repeat(32), { expires_at: new Date(Date.now() - 1000).toISOString() })
  const { status, stdout } = runProgram(['tokens', 'list', `--basedir=${basedir}`])
  assert.equal(status, 0)
  const lines = stdout.trimEnd().split('\n').map((line) => line.split(/ {2,}/))
  assert.deepEqual(lines[0], ['token', 'project', 'participant', 'issued', 'expires', 'state'])
  assert.deepEqual(lines.slice(1).map(([token, project, participant, , , state]) => [token, project, participant, state]).toSorted(), [
    [sha256Of(authToken).slice(0, 8), 'study', '?p-1', 'good'],
    ['abababab', 'study', '-', 'expired'],
  ].toSorted())
})

test('what lies beside the tokens is passed over and left', async (t) => {
  const basedir = await makeBasedir(t)
  await writeFile(join(basedir, 'tokens', 'notes.txt'), 'x')
  await writeFile(join(basedir, 'tokens', `${'cd'.repeat(32)}.json`), '{"project":')
  await mkdir(join(basedir, 'tokens', `${'ef'.repeat(32)}.json`))
  await issue(basedir, '--project=study')
  assert.equal((await list(basedir)).length, 1)
  assert.equal((await runCommand(['tokens', 'revoke', '--project=study', `--basedir=${basedir}`])).status, 0)
  assert.equal((await readdir(join(basedir, 'tokens'))).length, 3)
})

test('a revoked token is refused by the running server, which trusted it, and after a restart; others stay good', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server, { participant_id: 'p-1' })
  const other = await askToken(server)
  assert.equal(await submit(server, authToken), '200 accepted')
  const { status, stdout } = runProgram(['tokens', 'revoke', sha256Of(authToken).slice(0, 8), `--basedir=${server.basedir}`])
  assert.equal(status, 0, stdout)
  assert.match(stdout, new RegExp(`^${sha256Of(authToken).slice(0, 8)} +study +p-1 `, 'm'))
  assert.match(stdout, /^1 token revoked\. /m)
  assert.ok(!stdout.includes(authToken), stdout)
  await until('it is refused', async () => (await submit(server, authToken)) === '403 unauthorized_token')
  assert.equal(await submit(server, other), '200 accepted')
  assert.equal(await server.stop(), 0)
  const next = await startServer(t, { basedir: server.basedir })
  assert.equal(await submit(next, authToken), '403 unauthorized_token')
  assert.equal(await submit(next, other), '200 accepted')
})

test('an upload whose token was revoked after it was checked is refused at its end, and leaves nothing', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const body = formBody(authToken, Buffer.alloc(500_000))
  const wire = await Wire.open(server.port)
  await wire.write(submitHead(`Content-Length: ${body.length}`, `Authorization: Bearer ${authToken}`, 'Expect: 100-continue'))
  assert.equal((await wire.answers(1))[0]?.status, 100) // it comes when the token has been checked
  assert.equal((await runCommand(['tokens', 'revoke', '--project=study', `--basedir=${server.basedir}`])).status, 0)
  await sleep(1100) // so long a server trusts a token that it has read
  await wire.write(body)
  const refusal = (await wire.answers(2))[1]
  assert.deepEqual([refusal?.status, refusal?.json['code']], [403, 'unauthorized_token'])
  assert.deepEqual(await listUploads(server.basedir), [])
})

test('that a token is gone is durable before `tokens revoke` says so', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const basedir = await makeBasedir(t)
  await issue(basedir, '--project=study')
  const calls = await trace(t, ['tokens', 'revoke', '--project=study', `--basedir=${basedir}`])
  assert.deepEqual(calls.slice(0, 3), ['unlink TOKEN', 'fsync tokens', 'write'])
})

/** Runs a command and gives its system calls on tokens and on standard output, in their order. */
async function trace(t: TestContext, args: readonly string[]): Promise<string[]> {
  const path = join(await temporaryDirectory(t), 'trace')
  const strace = ['-f', ONLY_TRACED, '-y', '-e', 'trace=unlink,fsync,write', '-o', path, process.execPath, PROGRAM, ...args]
  const { status, stderr } = spawnSync('strace', strace, { encoding: 'utf8' })
  assert.deepEqual([status, stderr], [0, ''])
  const pattern = /(unlink)\("[^"]*\/tokens\/[0-9a-f]{64}\.json"|(fsync)\(\d+<[^>]*\/tokens(\/[0-9a-f]{64}\.json)?>|(write)\(1</g
  return [...(await readFile(path, 'utf8')).matchAll(pattern)].map(([, unlink, fsync, file, write]) => {
    if (write !== undefined) return write
    return unlink === undefined ? `${fsync} ${file === undefined ? 'tokens' : 'TOKEN'}` : 'unlink TOKEN'
  })
}

test('digits that several tokens share are refused with the choices, more digits are not', async (t) => {
  const basedir = await makeBasedir(t)
  const [one, other] = [`0123abcd${'1'.repeat(56)}`, `0123abcd${'2'.repeat(56)}`]
  await writeRecord(basedir, one, { participant: 'p-1' })
  await writeRecord(basedir, other, { participant: 'p-2' })
  const refused = await runCommand(['tokens', 'revoke', '0123ABCD', `--basedir=${basedir}`])
  assert.equal(refused.status, 1)
  assert.match(refused.stdout, /^0123abcd stands for 2 tokens: nothing was revoked\. /)
  assert.match(refused.stdout, /^0123abcd11111111 +study +p-1 /m)
  assert.match(refused.stdout, /^0123abcd22222222 +study +p-2 /m)
  assert.equal((await listFiles(join(basedir, 'tokens'))).length, 2)
  assert.equal((await runCommand(['tokens', 'revoke', '0123abcd2', `--basedir=${basedir}`])).status, 0)
  assert.deepEqual(await listFiles(join(basedir, 'tokens')), [`${one}.json`])
})

const usages = [
  { name: '`token` without a project', args: ['token'], says: /^--project is missing: / },
  { name: '`token` with a project that is none', args: ['token', '--project=../x'], says: /^--project="\.\.\/x" is not allowed: / },
  { name: '`token` with no minutes', args: ['token', '--project=a', '--minutes=0'], says: /^--minutes="0" is not allowed: use a whole number from 1 to 525600\.\n$/ },
  { name: '`token` with more than a year', args: ['token', '--project=a', '--minutes=525601'], says: /^--minutes="525601" is not allowed: / },
  { name: '`token` with a participant that begins a line', args: ['token', '--project=a', '--participant=a\nb'], says: /^--participant="a\\nb" is not allowed: / },
  { name: '`token` with two mistakes', args: ['token', '--minutes=x', '--participant='], says: /^--project .*\n--participant="" .*\n--minutes="x" .*\n$/ },
  { name: '`token` with a word too many', args: ['token', 'x', '--project=a'], says: /^"x" is one argument too many\. / },
  { name: '`tokens` alone', args: ['tokens'], says: /^<list or revoke> is missing\. / },
  { name: '`tokens` with another word', args: ['tokens', 'remove'], says: /^tokens "remove" is not understood: / },
  { name: '`tokens revoke` of nothing said', args: ['tokens', 'revoke'], says: /^tokens revoke needs --project, --participant or the 8 digits of a token\.\n$/ },
  { name: '`tokens revoke` of 7 digits', args: ['tokens', 'revoke', '0123abc'], says: /^"0123abc" is not allowed: use the 8 hex digits / },
  { name: '`tokens revoke` of a path', args: ['tokens', 'revoke', '../../x'], says: /is not allowed: use the 8 hex digits / },
  { name: '`token` in a directory that is no base directory', args: ['token', '--project=a', '--basedir=/dev'], says: /^\/dev is not the base directory of a server: / },
  { name: '`tokens list` in a directory that is not there', args: ['tokens', 'list', '--basedir=/no/such'], says: /^\/no\/such is not the base directory of a server: / },
]
for (const { name, args, says } of usages) {
  test(`${name} ends with 2 and a line that says so`, async (t) => {
    const { status, stdout, stderr } = await runCommand(args, { REPROSCHEMA_BACKEND_BASEDIR: await makeBasedir(t) })
    assert.deepEqual([status, stdout], [2, ''])
    assert.match(stderr, says)
  })
}

const unheard = [
  { name: '`token`', args: ['token', '--project=study'], says: /^The output was not written whole, so 1 token was taken back: use nothing of it\.$/m },
  { name: '`links`', args: ['links', 'study', '--ui=https://ui.example.org/', '--count=3'], says: /^The output was not written whole, so 3 tokens were taken back: use nothing of it\.$/m },
  { name: '`links --html`', args: ['links', 'study', '--ui=https://ui.example.org/', '--count=3', '--html'], says: /^The output was not written whole, so 3 tokens were taken back: use nothing of it\.$/m },
  { name: '`tokens list`', args: ['tokens', 'list'], says: /^/ },
  { name: '`--help`', args: ['--help'], says: /^/ },
]
for (const { name, args, says } of unheard) {
  test(`${name} whose output cannot be written fails and says so; where nobody reads on it says nothing of that`, async (t) => {
    const basedir = await makeBasedir(t)
    const run = (script: string) => runProgram([...args, `--basedir=${basedir}`], {}, basedir, ['sh', '-c', script, 'sh'])
    const { status, stderr } = run('"$@" > /dev/full')
    assert.equal(status, 1)
    assert.match(stderr, says)
    assert.match(stderr, /^Standard output cannot be written: ENOSPC: .*$/m)
    assert.doesNotMatch(run('{ sleep 0.5; exec "$@"; } | true').stderr, /Standard output|EPIPE/)
    assert.deepEqual(await readdir(join(basedir, 'tokens')), [])
  })
}

test('links of which only the first were read are all taken back', async (t) => {
  const basedir = await makeBasedir(t)
  const { stdout, stderr } = runProgram(['links', 'study', '--ui=https://ui.example.org/', '--count=3000', `--basedir=${basedir}`], {}, basedir, ['sh', '-c', '"$@" | head -n 3', 'sh'])
  assert.equal(stdout.split('\n').length, 4)
  assert.match(stderr, /^The output was not written whole, so 3000 tokens were taken back: use nothing of it\.\n$/)
  assert.deepEqual(await readdir(join(basedir, 'tokens')), [])
})

test('`token` writes through no link', async (t) => {
  const [basedir, elsewhere] = [await temporaryDirectory(t), await temporaryDirectory(t)]
  await symlink(elsewhere, join(basedir, 'tokens'))
  assert.equal(runProgram(['token', '--project=study', `--basedir=${basedir}`]).status, 2)
  assert.deepEqual(await readdir(elsewhere), [])
})

test('a token from the server and one from the machine are listed alike', async (t) => {
  const server = await startServer(t)
  const fromServer = await askToken(server)
  const fromMachine = await issue(server.basedir, '--project=study')
  assert.deepEqual((await list(server.basedir)).map((each) => each.token_sha256).toSorted(), [fromServer, fromMachine].map(sha256Of).toSorted())
  assert.equal((await request(`${server.url}/`)).status, 200)
})
