import assert from 'node:assert/strict'
import { chmod, chown, cp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { runCommand } from './commanded.ts'
import { consoleOf, startFleet } from './fleet.ts'
import { ADMIN_TOKEN, askToken, request, runProgram, startServer, submitForm, temporaryDirectory, until } from './harness.ts'
import { OTHER_USER } from './other-user.ts'
import { makeBasedir, mistype, newList, proveLists, textOf, writeOwn } from './recipients.ts'

const PAGE = 'https://study.example.org'
const CALLBACK = 'https://ui.example.org/#/?url=x'
const [list, otherList, own] = [newList(2), newList(), newList()]
const NOT_PROVEN = /nobody has shown yet that they hold a key of the server's recipients: see keys challenge/
const env: Readonly<Record<string, string>> = { REPROSCHEMA_BACKEND_RECIPIENTS: textOf(list) }
const none: Readonly<Record<string, string>> = {}

async function codeOf(server: { url: string }, project: string): Promise<string> {
  const { status, json } = await request(`${server.url}/token?token=${ADMIN_TOKEN}&project=${project}`)
  return status === 200 ? '200' : `${status} ${String(json['code'])}`
}

for (const start of [startServer, startFleet]) {
  test(`no token is issued before somebody has shown a key, by ${start.name}`, async (t) => {
    const server = await start(t, { env })
    const registered = await request(`${server.url}/register?token=${ADMIN_TOKEN}&callback_url=${encodeURIComponent(CALLBACK)}`)
    const ways = { admin: `token=${ADMIN_TOKEN}`, client: `client_id=${String(registered.json['client_id'])}` }
    for (const [way, query] of Object.entries(ways)) {
      const answer = await request(`${server.url}/token?${query}&project=study`, { headers: { Origin: PAGE } })
      assert.deepEqual([answer.status, answer.json['status'], answer.json['code']], [503, 'failed', 'key_not_proven'], way)
      assert.equal(answer.headers.get('retry-after'), '60')
      assert.equal(answer.headers.get('access-control-allow-origin'), '*')
      assert.doesNotMatch(answer.text, /age1|keys challenge|recipients/)
    }
    assert.deepEqual(await readdir(join(server.basedir, 'tokens')), [])
    await until('the log says why', async () => NOT_PROVEN.test(await consoleOf(server.basedir)))
    await proveLists(server.basedir, [list])
    await until('it is issued', async () => (await codeOf(server, 'study')) === '200')
    const { status, headers } = await request(`${server.url}/token?${ways.client}`)
    assert.deepEqual([status, headers.get('location')?.startsWith('https://ui.example.org/')], [302, true])
  })
}

test('what is wrong with a request is said before its key', async (t) => {
  const server = await startServer(t, { env })
  for (const [query, code] of [['token=wrong', 'not_authorized_token'], [`token=${ADMIN_TOKEN}&expiry_minutes=0`, 'invalid_expiry_minutes'], ['client_id=x', 'unknown_client']]) {
    assert.equal((await request(`${server.url}/token?${query}`)).json['code'], code)
  }
})

test('a project\'s list that is mistyped while the server runs stops its tokens alone; submissions go on', async (t) => {
  const basedir = await temporaryDirectory(t)
  await proveLists(basedir, [list])
  const server = await startServer(t, { basedir, env })
  const authToken = await askToken(server)
  await writeOwn(basedir, 'study', mistype(textOf(own)))
  await until('it is seen', async () => (await codeOf(server, 'study')) === '503 key_not_proven')
  assert.equal(await codeOf(server, 'other'), '200')
  assert.match(await consoleOf(basedir), /code=key_not_proven detail=".*recipients cannot be used: the recipient .* its checksum does not match/)
  assert.equal((await submitForm(server, [['file', Buffer.from('x'), 'a.txt'], ['auth_token', authToken]])).status, 200)
  await writeOwn(basedir, 'study', textOf(own))
  await proveLists(basedir, [own], 'study')
  await until('it is well again', async () => (await codeOf(server, 'study')) === '200')
})

test('a list that appears at a server that encrypts nothing stops the tokens of its project alone', async (t) => {
  const server = await startServer(t)
  assert.equal(await codeOf(server, 'study'), '200')
  await writeOwn(server.basedir, 'study', textOf(own))
  await until('it is seen', async () => (await codeOf(server, 'study')) === '503 key_not_proven')
  assert.equal(await codeOf(server, 'other'), '200')
  assert.match(await consoleOf(server.basedir), /set REPROSCHEMA_BACKEND_RECIPIENTS too/)
})

test('what then comes with an older token is stored as it was sent, and the log says so once', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  await writeOwn(server.basedir, 'study', textOf(own))
  await until('it is seen', async () => (await codeOf(server, 'study')) === '503 key_not_proven')
  for (const name of ['a.txt', 'b.txt']) assert.equal((await submitForm(server, [['file', Buffer.from('x'), name], ['auth_token', authToken]])).status, 200)
  const said = () => consoleOf(server.basedir).then((text) => text.match(/INFO recipients not used project=study reason="the project study has recipients of its own, and the server has none/g) ?? [])
  await until('it is said', async () => (await said()).length > 0)
  assert.equal((await said()).length, 1)
})

for (const args of [[], ['--workers=2']]) {
  test(`a server${args.length === 0 ? '' : ' of several processes'} that begins without recipients, where some were proven before, warns at each start`, async (t) => {
    const basedir = await temporaryDirectory(t)
    await proveLists(basedir, [list])
    for (const settings of [{}, env, {}]) {
      const server = await startServer(t, { basedir, args, env: settings })
      await server.stop()
      assert.equal(/^WARNING: uploads are not encrypted any more: the server has no recipients/m.test(server.output()), settings !== env)
    }
  })
}

const commands = [
  { name: '`token`', args: ['token', '--project=study'] },
  { name: '`links`', args: ['links', 'study', '--ui=https://ui.example.org/', '--count=2'] },
]
for (const { name, args } of commands) {
  test(`${name} issues none before somebody has shown a key, and knows the recipients that the server began with`, async (t) => {
    const basedir = await makeBasedir(t, textOf(list))
    const run = (...more: readonly string[]) => runCommand([...args, `--basedir=${basedir}`, ...more])
    const refused = runProgram([...args, `--basedir=${basedir}`])
    assert.deepEqual([refused.status, refused.stdout], [2, ''])
    assert.match(refused.stderr, /^No token is issued: nobody has shown yet that they hold a key of the server's recipients: see keys challenge\.\n$/)
    assert.deepEqual(await readdir(join(basedir, 'tokens')), [])
    await proveLists(basedir, [list])
    assert.equal((await run()).status, 0)
    assert.equal((await run(`--recipients=${textOf(otherList)}`)).status, 2)
    assert.match((await run('--recipients=age1')).stderr, /^--recipients=\(its value is not shown\) is not allowed: /)
    await writeOwn(basedir, 'study', mistype(textOf(own)))
    assert.match((await run()).stderr, /^No token is issued: \S+\/recipients cannot be used: the recipient /)
  })
}

test('`try` says what to do where nobody has shown a key', async (t) => {
  const server = await startServer(t, { env })
  const { status, stdout } = await runCommand(['try', '--token', ADMIN_TOKEN, '--url', server.url])
  assert.equal(status, 1)
  assert.match(stdout, /^FAILED: GET \/token: 503 .*\nNobody has shown yet that they hold a key of the recipients: run keys challenge /)
})

test('the recipients that a server begins with are noted where they are others than before', async (t) => {
  const basedir = await temporaryDirectory(t)
  const begin = async (recipients?: string) => {
    const server = await startServer(t, { basedir, env: recipients === undefined ? {} : { REPROSCHEMA_BACKEND_RECIPIENTS: recipients } })
    await server.stop()
    const directory = join(basedir, 'keys', 'lists')
    const names = await readdir(directory).catch(() => [])
    return Promise.all(names.toSorted().map((name) => readFile(join(directory, name), 'utf8')))
  }
  assert.deepEqual(await begin(), [])
  assert.deepEqual(await begin(textOf(list)), [textOf(list)])
  assert.deepEqual(await begin(textOf(list).split('\n').toReversed().join(' ')), [textOf(list)])
  assert.deepEqual(await begin(textOf(otherList)), [textOf(list), textOf(otherList)])
  assert.deepEqual(await begin(), [textOf(list), textOf(otherList), '# none\n'])
  await writeFile(join(basedir, 'keys/lists/99991231T235959999Z-00000000'), textOf(own).slice(0, -1)) // cut off by a crash
  assert.deepEqual((await begin()).length, 4)
  assert.deepEqual((await begin(textOf(list))).length, 5)
})

const examined = [
  { name: 'nothing is encrypted', env: none, says: /^ok {7}recipients: none: uploads are not encrypted$/m, status: 0 },
  { name: 'nobody has shown a key', env, says: /^FAILED {3}recipients: no token is issued: nobody has shown yet .*\. Change: keys challenge$/m, status: 1 },
  { name: 'all is well', env, proven: true, says: /^ok {7}recipients: the server's are proven$/m, status: 0 },
  { name: 'the settings are others', env, proven: true, settings: {}, says: /^warning {2}recipients: the server began with others than these settings name\. Change: give doctor the settings/m, status: 0 },
  { name: 'the settings name none, and the server\'s are proven', env, proven: true, settings: {}, says: /^ok {7}recipients: the server's are proven$/m, never: /not encrypted/, status: 0 },
  { name: 'the settings name none, and nobody has shown a key', env, settings: {}, says: /^FAILED {3}recipients: no token is issued: nobody has shown yet/m, never: /not encrypted/, status: 1 },
  { name: 'the settings name none, and a project\'s list is well', env, proven: true, settings: {}, own: textOf(list), says: /^ok {7}recipients of study: they are proven$/m, never: /FAILED/, status: 0 },
  { name: 'recipients were given up', env: none, proven: true, says: /^warning {2}recipients: uploads are not encrypted any more: .*\. Change: set REPROSCHEMA_BACKEND_RECIPIENTS again, or move \S+\/keys\/proofs away$/m, status: 0 },
  { name: 'a setting is mistyped', env, proven: true, settings: { REPROSCHEMA_BACKEND_RECIPIENTS: mistype(textOf(own)).trim() }, says: /^FAILED {3}configuration: REPROSCHEMA_BACKEND_RECIPIENTS=\(its value is not shown\) is not allowed: .*checksum/m, status: 1 },
  { name: 'a project\'s list is mistyped', env, proven: true, own: mistype(textOf(own)), says: /^FAILED {3}recipients of study: no token is issued: \S+\/recipients cannot be used: .*\. Change: write \S+ anew, or run keys challenge study$/m, status: 1 },
  { name: 'nobody has shown a key of a project\'s list', env, proven: true, own: textOf(own), says: /^FAILED {3}recipients of study: no token is issued: nobody has shown/m, status: 1 },
  { name: 'a project\'s list is well', env, proven: true, own: textOf(list), says: /^ok {7}recipients of study: they are proven$/m, status: 0 },
]
test('`doctor` tells of the recipients', async (t) => {
  const servers = new Map([[none, await startServer(t)], [env, await startServer(t, { env })]])
  for (const server of servers.values()) await server.stop()
  for (const { name, env: begun, settings = begun, proven = false, own: text, says, never = /^$/, status } of examined) {
    await t.test(`where ${name}`, async (t) => {
      const basedir = join(await temporaryDirectory(t), 'copy')
      await cp(servers.get(begun)?.basedir ?? '', basedir, { recursive: true })
      if (proven) await proveLists(basedir, [list])
      if (text !== undefined) await writeOwn(basedir, 'study', text)
      const { status: exit, stdout } = await runCommand(['doctor', `--basedir=${basedir}`], settings)
      assert.match(stdout, says)
      assert.doesNotMatch(stdout, never)
      assert.equal(exit, status, stdout)
    })
  }
})

test('`doctor` tells of a list that the server may not read', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('only root can give a file to another user')
  const server = await startServer(t, { env })
  await server.stop()
  const { basedir } = server
  await proveLists(basedir, [list])
  await writeOwn(basedir, 'study', textOf(list))
  await chown(basedir, OTHER_USER, OTHER_USER)
  await chmod(join(basedir, 'projects/study/recipients'), 0o600)
  assert.match(runProgram(['doctor', `--basedir=${basedir}`], env).stdout, /^FAILED {3}recipients of study: the server may not read \S+\/recipients\. Change: chown -R 54321 \S+\/study$/m)
  for (const [path, mode] of [['projects/study', 0o750], ['projects/study/recipients', 0o640]] as const) {
    await chown(join(basedir, path), 0, OTHER_USER)
    await chmod(join(basedir, path), mode)
  }
  assert.doesNotMatch(runProgram(['doctor', `--basedir=${basedir}`], env).stdout, /may not read/, 'its group may')
})

test('`doctor --url` examines a server before anybody has shown a key', async (t) => {
  const server = await startServer(t, { env })
  const { stdout } = runProgram(['doctor', `--basedir=${server.basedir}`, `--url=${server.url}`, '--slow-seconds=0'], env)
  assert.match(stdout, /^ok {7}submission: /m)
})
