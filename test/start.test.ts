import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { cp, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { ConfigError, readConfig } from '../lib/config.ts'
import { formatBech32 } from '../lib/crypt/bech32.ts'
import { formatIdentity, newIdentity } from '../lib/crypt/keys.ts'
import { parseRecipientList } from '../lib/crypt/recipient-list.ts'
import { SETTINGS } from '../lib/settings/settings.ts'
import {
  ADMIN_TOKEN,
  askToken,
  filesOf,
  listFiles,
  listUploads,
  needs,
  PROGRAM,
  request,
  runProgram,
  startServer,
  submitForm,
  temporaryDirectory,
  until,
} from './harness.ts'
import { ONLY_TRACED } from './trace.ts'

const PREFIX = 'REPROSCHEMA_BACKEND_'
const tokenLine = /^TOKEN=([0-9a-f]{32})$/m

const SECRET = formatIdentity(newIdentity())
const RECIPIENT = newIdentity().recipient.text
const MISTYPED = `${RECIPIENT.slice(0, 30)}${RECIPIENT[30] === 'q' ? 'p' : 'q'}${RECIPIENT.slice(31)}`
const LOW_ORDER = formatBech32('age', Buffer.alloc(32)) // what is encrypted to it anybody could open
const manyRecipients = (count: number) => Array.from({ length: count }, () => newIdentity().recipient.text).join()

// Of each setting: values that are not allowed, and what the sentence says instead.
const badValues: Record<string, { values: readonly string[]; allowed: string }> = {
  HOST: { values: ['a b', 'http://x', '[::1]', '127.0.0.1/8', 'é', 'x'.repeat(256)], allowed: 'an IP address or a host name' },
  PORT: {
    values: ['65536', '-1', '+1', '80.5', '1e3', '0x50', ' 80', '80 ', 'http', '99999999999999999999', '٨٠'],
    allowed: 'a whole number from 0 to 65535',
  },
  [`${PREFIX}TLS_CERT`]: { values: ['a\0b'], allowed: 'the path of a file' },
  [`${PREFIX}TLS_KEY`]: { values: ['a\0b'], allowed: 'the path of a file' },
  [`${PREFIX}TRUSTED_PROXIES`]: {
    values: ['localhost', '10.0.0.0/33', '::1/129', '10.0.0/8', '10.0.0.1/', '/8', 'fe80::1%eth0', '*', '10.0.0.1;10.0.0.2', ','],
    allowed: 'IP addresses, networks such as 10.0.0.0/8, or unix, separated by commas',
  },
  [`${PREFIX}BASE_PATH`]: { values: ['vb', '/', '//', '/vb//', '/a b', '/../vb', '/vb/..', '/./vb', '/vb?x', '/%76b'], allowed: 'a path such as /vb' },
  [`${PREFIX}LOG`]: { values: ['Stdout', 'stderr', 'files,stdout', '1'], allowed: 'files or stdout' },
  [`${PREFIX}BASEDIR`]: { values: ['a\0b'], allowed: 'the path of a directory' },
  [`${PREFIX}TOKEN`]: {
    values: ['sevench', 'x'.repeat(201), 'with a blank', 'naïve-token', 'two\nlines-of'],
    allowed: '8 to 200 visible ASCII characters',
  },
  [`${PREFIX}TOKEN_FILE`]: {
    values: ['/nowhere/at/all', '/', '/dev/null', 'a\0b'],
    allowed: 'a file that can be read and holds 8 to 200 visible ASCII characters',
  },
  [`${PREFIX}CORS_ORIGINS`]: {
    values: ['study.example.org', 'https://x.org/', 'https://x.org/path', 'ftp://x.org', 'https://X.org', '*,https://x.org', ',', 'null'],
    allowed: '* or origins such as https://study.example.org, separated by commas',
  },
  [`${PREFIX}RECIPIENTS`]: {
    values: [',', '# none', 'age1', MISTYPED, `${RECIPIENT},${MISTYPED}`, SECRET, 'ssh-ed25519 AAAA', manyRecipients(33), LOW_ORDER],
    allowed: '1 to 32 age recipients, each beginning with age1',
  },
  [`${PREFIX}RECIPIENTS_FILE`]: {
    values: ['/nowhere/at/all', '/', '/dev/null', 'a\0b'],
    allowed: 'a file that can be read and holds 1 to 32 age recipients, each beginning with age1',
  },
  [`${PREFIX}MAX_REQUEST_BYTES`]: { values: ['0', '1099511627777', '5GiB', ''], allowed: 'a whole number from 1 to 1099511627776' },
  [`${PREFIX}MAX_FIELD_BYTES`]: { values: ['0', '1073741825', '16M'], allowed: 'a whole number from 1 to 1073741824' },
  [`${PREFIX}MAX_PARTS`]: { values: ['0', '100001', '1,000'], allowed: 'a whole number from 1 to 100000' },
  [`${PREFIX}MAX_PART_HEADER_BYTES`]: { values: ['255', '1048577'], allowed: 'a whole number from 256 to 1048576' },
  [`${PREFIX}MAX_PREAMBLE_BYTES`]: { values: ['-1', '1073741825'], allowed: 'a whole number from 0 to 1073741824' },
  [`${PREFIX}RESERVE_BYTES`]: { values: ['-1', '5%'], allowed: 'a whole number from 0 to 1125899906842624' },
  [`${PREFIX}MAX_CONNECTIONS`]: { values: ['0', 'many'], allowed: 'a whole number from 1 to 1000000' },
  [`${PREFIX}MAX_SUBMISSIONS`]: { values: ['0'], allowed: 'a whole number from 1 to 1000000' },
  [`${PREFIX}MAX_UNKNOWN_BYTES`]: { values: ['0', '1G'], allowed: 'a whole number from 1 to 1099511627776' },
  [`${PREFIX}MAX_UNKNOWN_BYTES_PER_ADDRESS`]: { values: ['0', '1G'], allowed: 'a whole number from 1 to 1099511627776' },
  [`${PREFIX}IDLE_SECONDS`]: { values: ['0', '3601', '1m'], allowed: 'a whole number from 1 to 3600' },
  [`${PREFIX}LOG_BYTES`]: { values: ['999', '50MiB'], allowed: 'a whole number from 1000 to 1099511627776' },
  [`${PREFIX}ALERT`]: {
    values: ['/nowhere/at/all', '/etc/passwd', './here', 'http://', 'http://lab:%zz@localhost/', 'mail;', ' '],
    allowed: 'an http: or https: address, or a program that can be run, by its name or absolute path',
  },
  [`${PREFIX}SILENCE_HOURS`]: { values: ['0', '8761', '1.5'], allowed: 'a whole number from 1 to 8760' },
  [`${PREFIX}STUDY_HOURS`]: { values: ['8-20', '08-08', '24-08', '08-25', '08:00-20:00'], allowed: 'two different hours from 00 to 24, such as 08-20' },
  [`${PREFIX}STOP_SECONDS`]: { values: ['-1', '3601'], allowed: 'a whole number from 0 to 3600' },
  [`${PREFIX}WORKERS`]: { values: ['0', '65', '-1', 'many'], allowed: 'a whole number from 1 to 64' },
}

test('every setting that refuses anything has its bad values here', () => {
  const refusing = Object.values(SETTINGS).filter((row) => row.allowed !== 'anything')
  assert.deepEqual(refusing.map((row) => row.variable).toSorted(), Object.keys(badValues).toSorted())
})

const withoutReason = (line: string) => line.replace(/ What is wrong: .*$/, '')

for (const row of Object.values(SETTINGS)) {
  const { values, allowed } = badValues[row.variable] ?? { values: [], allowed: '' }
  for (const value of values) {
    const isShown = !('isSecret' in row && row.isSecret)
    const shown = isShown ? JSON.stringify(value) : '(its value is not shown)'
    if (value !== '') {
      test(`${row.variable} refuses ${JSON.stringify(value.slice(0, 30))}`, () => {
        const line = `${row.variable}=${shown} is not allowed: use ${allowed}.`
        assert.deepEqual(mistakesOf([], { [row.variable]: value }).map(withoutReason), [line])
      })
    }
    if (!('flag' in row) || row.flag === undefined) continue
    test(`--${row.flag} refuses ${JSON.stringify(value.slice(0, 30))}`, () => {
      assert.deepEqual(mistakesOf([`--${row.flag}=${value}`], {}).map(withoutReason), [`--${row.flag}=${shown} is not allowed: use ${allowed}.`])
    })
  }
}

const mistakes = [
  { name: 'an option that does not exist', args: ['--bogus=1'], env: {}, lines: [/^There is no option --bogus\. /] },
  { name: 'an option that does not exist and takes a secret', args: ['--token', 'top-secret-token'], env: {}, lines: [/^There is no option --token\. /] },
  { name: 'a word too many', args: ['8001'], env: {}, lines: [/^"8001" is not understood\. /] },
  { name: 'an option without its value', args: ['--port'], env: {}, lines: [/^--port needs a value: use a whole number/] },
  { name: 'an option whose value was forgotten', args: ['--host', '--port=80'], env: {}, lines: [/^--host needs a value: use an IP address/] },
  { name: 'an empty value on the command line', args: ['--basedir='], env: {}, lines: [/^--basedir="" is not allowed: use the path/] },
  { name: 'an empty variable where recipients should be', args: [], env: { [`${PREFIX}RECIPIENTS`]: '' }, lines: [/^REPROSCHEMA_BACKEND_RECIPIENTS="" is not allowed: use 1 to 32 age recipients/] },
  { name: 'an empty variable where a file of recipients should be', args: [], env: { [`${PREFIX}RECIPIENTS_FILE`]: '' }, lines: [/^REPROSCHEMA_BACKEND_RECIPIENTS_FILE="" is not allowed: use a file/] },
  {
    name: 'several mistakes, each with its line',
    args: ['--bogus=1', '--port=x', '--idle-seconds=0'],
    env: { HOST: 'a b', [`${PREFIX}MAX_PARTS`]: 'many' },
    lines: [/^There is no option --bogus/, /^HOST="a b"/, /^--port="x"/, /^REPROSCHEMA_BACKEND_MAX_PARTS="many"/, /^--idle-seconds="0"/],
  },
]
for (const { name, args, env, lines } of mistakes) {
  test(`the configuration refuses ${name}`, () => {
    const found = mistakesOf(args, env)
    assert.equal(found.length, lines.length, found.join('\n'))
    for (const [index, line] of lines.entries()) assert.match(found[index] ?? '', line)
    assert.doesNotMatch(found.join('\n'), /top-secret/)
  })
}

test('two sources of the admin token are refused', async (t) => {
  const file = join(await temporaryDirectory(t), 'token')
  await writeFile(file, ADMIN_TOKEN)
  const found = mistakesOf([], { [`${PREFIX}TOKEN`]: ADMIN_TOKEN, [`${PREFIX}TOKEN_FILE`]: file })
  assert.deepEqual(found, ['REPROSCHEMA_BACKEND_TOKEN and REPROSCHEMA_BACKEND_TOKEN_FILE are both set: use one of them.'])
})

test('two sources of the recipients are refused', async (t) => {
  const file = join(await temporaryDirectory(t), 'recipients')
  await writeFile(file, `# the lab\n${RECIPIENT}\n`)
  const found = mistakesOf([], { [`${PREFIX}RECIPIENTS`]: RECIPIENT, [`${PREFIX}RECIPIENTS_FILE`]: file })
  assert.deepEqual(found, ['REPROSCHEMA_BACKEND_RECIPIENTS and REPROSCHEMA_BACKEND_RECIPIENTS_FILE are both set: use one of them.'])
})

const wrongRecipients = [
  { name: 'one that was mistyped', text: `${RECIPIENT}, ${MISTYPED}`, reason: `the recipient "${MISTYPED}" cannot be used: its checksum does not match: it was mistyped or cut` },
  { name: 'none', text: '# none', reason: 'no recipient stands there' },
  { name: 'more than a header has room for', text: manyRecipients(33), reason: '33 recipients stand there, and 32 are the most' },
  { name: 'a secret key, which is not shown', text: SECRET, reason: 'one of the words is the secret key, which must not be on this machine: give its recipient, age1…' },
  { name: 'a secret key that was mistyped', text: `${SECRET}q`, reason: 'one of the words is the secret key, which must not be on this machine: give its recipient, age1…' },
  { name: 'a key that nobody can hold', text: LOW_ORDER, reason: `the recipient "${LOW_ORDER}" cannot be used: it is a key that nobody can hold` },
]
for (const { name, text, reason } of wrongRecipients) {
  test(`of recipients the configuration says what is wrong: ${name}`, async (t) => {
    const file = join(await temporaryDirectory(t), 'recipients')
    await writeFile(file, text)
    for (const [variable, value] of [['RECIPIENTS', text], ['RECIPIENTS_FILE', file]]) {
      const [line = '', ...further] = mistakesOf([], { [`${PREFIX}${variable}`]: value ?? '' })
      assert.deepEqual(further, [])
      assert.ok(line.endsWith(` What is wrong: ${reason}.`), line)
    }
  })
}

for (const [name, other] of [['CERT', 'KEY'], ['KEY', 'CERT']] as const) {
  test(`REPROSCHEMA_BACKEND_TLS_${name} without REPROSCHEMA_BACKEND_TLS_${other} is refused`, () => {
    assert.deepEqual(mistakesOf([], { [`${PREFIX}TLS_${name}`]: '/x.pem' }), [
      'REPROSCHEMA_BACKEND_TLS_CERT and REPROSCHEMA_BACKEND_TLS_KEY belong together: set both or none.',
    ])
  })
}

const KNOWN = [RECIPIENT, newIdentity().recipient.text]
const goodConfigurations = [
  { name: 'nothing', args: [], env: {}, expected: { host: '0.0.0.0', port: 8000, corsOrigins: '*', token: undefined, isDevelopment: false } },
  { name: 'a variable', args: [], env: { PORT: '8100', HOST: '::1' }, expected: { host: '::1', port: 8100 } },
  { name: 'a flag before its variable', args: ['--port', '8200'], env: { PORT: '8100' }, expected: { port: 8200 } },
  { name: 'an empty variable as none', args: [], env: { PORT: '', [`${PREFIX}TOKEN`]: '' }, expected: { port: 8000, token: undefined } },
  { name: 'a directory, made absolute', args: ['--basedir', '/a/../b/'], env: {}, expected: { basedir: '/b' } },
  {
    name: 'a list of origins',
    args: ['--cors-origins', 'https://a.org, http://localhost:3000'],
    env: {},
    expected: { corsOrigins: ['https://a.org', 'http://localhost:3000'] },
  },
  {
    name: 'a list of proxies',
    args: ['--trusted-proxies', '127.0.0.1, 10.0.0.0/8,::1 2001:db8::/32,unix'],
    env: {},
    expected: { trustedProxies: ['127.0.0.1', '10.0.0.0/8', '::1', '2001:db8::/32', 'unix'] },
  },
  { name: 'a base path', args: ['--base-path', '/vb'], env: {}, expected: { basePath: '/vb' } },
  { name: 'a base path that ends in a slash', args: ['--base-path', '/lab/vb/'], env: {}, expected: { basePath: '/lab/vb' } },
  { name: 'recipients, each once', args: ['--recipients', `${KNOWN[1]} ${KNOWN[0]},${KNOWN[1]}`], env: {}, expected: { recipients: parseRecipientList(KNOWN.join()) } },
  { name: 'development mode', args: [], env: { DEV8dac6d02a913: '1' }, expected: { isDevelopment: true } },
]
for (const { name, args, env, expected } of goodConfigurations) {
  test(`the configuration reads ${name}`, () => {
    const config = readConfig(args, env)
    for (const [key, value] of Object.entries(expected)) assert.deepEqual(config[key as keyof typeof config], value, key)
  })
}

test('the configuration is frozen, its list of origins too', () => {
  const config = readConfig(['--cors-origins=https://a.org'], {})
  assert.deepEqual([Object.isFrozen(config), Object.isFrozen(config.corsOrigins)], [true, true])
})

const failedStarts = [
  { name: 'a bad variable', env: { PORT: 'http' }, exit: 2, says: /^PORT="http" is not allowed: use a whole number from 0 to 65535\.\n$/ },
  { name: 'a bad flag', args: ['--port=70000'], exit: 2, says: /^--port="70000" is not allowed: use .*\.\n$/ },
  { name: 'a bad flag after `serve`', args: ['serve', '--port=70000'], exit: 2, says: /^--port="70000" is not allowed: use .*\.\n$/ },
  { name: 'a command that does not exist', args: ['start'], exit: 2, says: /^There is no command "start"\. .*\n$/ },
  {
    name: 'two mistakes',
    env: { PORT: 'http', [`${PREFIX}TOKEN`]: 'hunter2' },
    exit: 2,
    says: /^PORT=.*\nREPROSCHEMA_BACKEND_TOKEN=\(its value is not shown\) is not allowed: .*\n$/,
  },
  { name: 'a base directory below a file', args: ['--basedir=/dev/null/data'], exit: 1, says: /^Cannot use the base directory \/dev\/null\/data: .*\n$/ },
  { name: 'a base directory that is a file', args: ['--basedir=/dev/null'], exit: 1, says: /^Cannot use the base directory \/dev\/null: .*\n$/ },
  { name: 'a base directory that nobody may make', args: ['--basedir=/proc/data'], exit: 1, says: /^Cannot use the base directory \/proc\/data: .*\n$/ },
  { name: 'a host that is not this machine', args: ['--host=192.0.2.1', '--port=0'], exit: 1, says: /^Cannot listen on 192\.0\.2\.1 port 0: .*\n$/ },
  { name: 'a host that does not exist', args: ['--host=no.such.invalid', '--port=0'], exit: 1, says: /^Cannot listen on no\.such\.invalid port 0: .*\n$/ },
]
for (const { name, args = [], env = {}, exit, says } of failedStarts) {
  test(`the start ends with ${exit} and one clear line for each mistake at ${name}`, async (t) => {
    const ended = runProgram(args, env, await temporaryDirectory(t))
    assert.deepEqual([ended.status, ended.stdout], [exit, ''])
    assert.match(ended.stderr, says)
  })
}

test('a taken port stops the start with one line that names it, and nothing is made', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await until('the port is taken', () => server.listening)
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const basedir = await temporaryDirectory(t)
  const ended = runProgram(['--host=127.0.0.1', `--port=${port}`, `--basedir=${basedir}`])
  assert.deepEqual([ended.status, ended.stdout], [1, ''])
  assert.equal(ended.stderr, `Port ${port} on 127.0.0.1 is taken by another program. Set PORT or --port to a free one.\n`)
  assert.deepEqual(await readdir(basedir), [])
})

test('a directory that is a link where the tokens go is refused', async (t) => {
  const basedir = await temporaryDirectory(t)
  const elsewhere = await temporaryDirectory(t)
  await symlink(elsewhere, join(basedir, 'tokens'))
  const ended = runProgram([`--basedir=${basedir}`, '--port=0'])
  assert.equal(ended.status, 1)
  assert.match(ended.stderr, /^Cannot use the base directory .*\/tokens is not a directory, and links are not followed\n$/)
})

for (const args of [['--help'], ['serve', '--help'], ['try', '--help'], ['help'], ['--port=x', '--help']]) {
  test(`\`${args.join(' ')}\` prints every setting with its flag and ends with 0`, () => {
    const { status, stdout, stderr } = runProgram(args)
    assert.deepEqual([status, stderr], [0, ''])
    for (const row of Object.values(SETTINGS)) {
      assert.ok(stdout.includes(`(${row.variable})`), row.variable)
      if ('flag' in row) assert.ok(stdout.includes(`--${row.flag} `), row.flag)
      assert.ok(stdout.includes(`[${row.fallback}]`), row.fallback)
    }
  })
}

test('`--version` prints the version of package.json', async () => {
  const { version } = JSON.parse(await readFile(join(dirname(PROGRAM), '..', 'package.json'), 'utf8')) as { version: string }
  const { status, stdout, stderr } = runProgram(['--version'])
  assert.deepEqual([status, stdout, stderr], [0, `${version}\n`, ''])
})

test('the start prints where it listens, where data goes and the admin token, and writes the same to console.log', async (t) => {
  const server = await startServer(t, { env: { [`${PREFIX}TOKEN`]: '' } })
  await until('the token is printed', () => tokenLine.test(server.output()))
  const [first, second, third, ...rest] = server.output().split('\n')
  assert.equal(first, `Listening on http://127.0.0.1:${server.port}`)
  assert.equal(second, `Data goes to ${server.basedir}`)
  assert.match(third ?? '', tokenLine)
  assert.deepEqual(rest, [''])
  const logPath = join(server.basedir, 'logs', 'console.log')
  await until('the log has it', async () => (await readFile(logPath, 'utf8')).startsWith(server.output()))
  const token = tokenLine.exec(server.output())?.[1] ?? ''
  assert.equal((await request(`${server.url}/token?token=${token}`)).status, 200)
})

test('the admin token is made anew at each start', async (t) => {
  const basedir = await temporaryDirectory(t)
  const tokens = new Set<string>()
  for (let start = 0; start < 2; start++) {
    const server = await startServer(t, { basedir, env: { [`${PREFIX}TOKEN`]: '' } })
    await until('the token is printed', () => tokenLine.test(server.output()))
    tokens.add(tokenLine.exec(server.output())?.[1] ?? '')
    assert.equal(await server.stop(), 0)
  }
  assert.equal(tokens.size, 2)
})

const fixedTokens = [
  { name: 'the environment', token: 'a-fixed.token/of~the=lab', content: undefined },
  { name: 'a file', token: 'a-fixed.token/of~the=lab', content: 'a-fixed.token/of~the=lab' },
  { name: 'a file that ends in a line break', token: 'a-fixed.token/of~the=lab', content: 'a-fixed.token/of~the=lab\r\n' },
]
for (const { name, token, content } of fixedTokens) {
  test(`an admin token from ${name} is good and is neither printed nor kept below the base directory`, async (t) => {
    const file = join(await temporaryDirectory(t), 'token')
    if (content !== undefined) await writeFile(file, content)
    const env = content === undefined ? { [`${PREFIX}TOKEN`]: token } : { [`${PREFIX}TOKEN`]: '', [`${PREFIX}TOKEN_FILE`]: file }
    const server = await startServer(t, { env })
    const answer = await request(`${server.url}/token?token=${encodeURIComponent(token)}`)
    assert.equal(answer.status, 200)
    assert.equal((await request(`${server.url}/token?token=${ADMIN_TOKEN}`)).status, 403)
    assert.equal(await server.stop(), 0)
    assert.doesNotMatch(server.output(), /TOKEN|a-fixed/)
    for (const path of await listFiles(server.basedir)) {
      assert.doesNotMatch(await readFile(join(server.basedir, path), 'latin1'), /TOKEN|a-fixed/, path)
    }
  })
}

test('everything the server makes is for its owner only', async (t) => {
  const outer = await temporaryDirectory(t)
  const basedir = join(outer, 'new', 'data')
  const server = await startServer(t, { basedir, through: ['sh', '-c', 'umask 0; exec "$0" "$@"'] })
  const authToken = await askToken(server)
  await request(`${server.url}/register?token=${ADMIN_TOKEN}&callback_url=https://study.example.org/`)
  const answer = await submitForm(server, [['file', Buffer.from('x'), 'a.txt'], ['auth_token', authToken], ['responses', '[]']])
  assert.equal(filesOf(answer).length, 2)
  const seen = { files: 0, directories: 0 }
  for (const entry of await readdir(outer, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const mode = ((await stat(path)).mode & 0o7777).toString(8)
    assert.equal(mode, entry.isDirectory() ? '700' : '600', path)
    seen[entry.isDirectory() ? 'directories' : 'files']++
  }
  assert.ok(seen.files >= 7 && seen.directories >= 10, JSON.stringify(seen))
})

test('the base directory is made durable: its name, and that of the parent made with it, are synced', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const outer = await temporaryDirectory(t)
  const trace = join(await temporaryDirectory(t), 'trace')
  await startServer(t, { basedir: join(outer, 'new', 'data'), through: ['strace', '-f', ONLY_TRACED, '-y', '-e', 'trace=fsync', '-o', trace] })
  const synced = [...(await readFile(trace, 'utf8')).matchAll(/fsync\(\d+<([^>]*)>/g)].map((match) => match[1])
  for (const path of [outer, join(outer, 'new'), join(outer, 'new', 'data')]) assert.ok(synced.includes(path), path)
})

const baseDirectories = [
  { name: 'a link to a directory', make: (path: string, other: string) => symlink(other, path) },
  { name: 'a directory that is there', make: (path: string) => mkdir(path) },
]
for (const { name, make } of baseDirectories) {
  test(`the base directory may be ${name}`, async (t) => {
    const [outer, other] = [await temporaryDirectory(t), await temporaryDirectory(t)]
    const basedir = join(outer, 'base')
    await make(basedir, other)
    const server = await startServer(t, { basedir })
    assert.match(await askToken(server), /^study-/)
  })
}

test('without a base directory it is reproschema_backend in the working directory', async (t) => {
  const cwd = await temporaryDirectory(t)
  const server = await startServer(t, {
    env: { REPROSCHEMA_BACKEND_BASEDIR: '' },
    through: ['sh', '-c', 'cd "$0" && exec "$@"', cwd],
  })
  await until('the directory is named', () => server.output().includes(`Data goes to ${join(cwd, 'reproschema_backend')}\n`))
  await askToken(server)
  assert.deepEqual(await readdir(cwd), ['reproschema_backend'])
})

test('the program runs from any working directory with nothing beside dist/ and package.json', async (t) => {
  const [home, cwd, basedir] = [await temporaryDirectory(t), await temporaryDirectory(t), await temporaryDirectory(t)]
  const root = join(dirname(PROGRAM), '..')
  await cp(dirname(PROGRAM), join(home, 'dist'), { recursive: true })
  await cp(join(root, 'package.json'), join(home, 'package.json'))
  const child = spawn(process.execPath, [join(home, 'dist', 'serve.js'), '--port=0', '--host=127.0.0.1', `--basedir=${basedir}`], {
    cwd,
    env: {},
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (text: Buffer) => (output += text.toString()))
  await until('it listens', () => tokenLine.test(output))
  const url = /^Listening on (.*)$/m.exec(output)?.[1]
  assert.deepEqual((await request(`${url}/`)).json, { hello: 'world' })
  assert.deepEqual(await readdir(cwd), [])
})

test('`GET /` and `HEAD /` say that the server is there', async (t) => {
  const server = await startServer(t)
  const [get, head] = [await request(`${server.url}/`), await request(`${server.url}/`, { method: 'HEAD' })]
  assert.deepEqual([get.status, get.text], [200, '{"hello":"world"}'])
  assert.deepEqual([head.status, head.text, head.headers.get('content-length')], [200, '', '17'])
})

test('stray files and directories in the data tree are left alone', async (t) => {
  const basedir = await temporaryDirectory(t)
  const hash = 'ab'.repeat(32)
  const strays = [
    'notes.txt',
    'uploads/notes.txt',
    'uploads/staging/notes.txt',
    'uploads/staging/old/1.part',
    'uploads/staging/20241101T023615.123456Z-0123456789/1.part',
    'uploads/responses/notes.txt',
    'uploads/responses/study/notes.txt',
    'uploads/responses/study/.hidden',
    'uploads/responses/a study/notes.txt',
    'receipts/notes.txt',
    'receipts/study/notes.ndjson',
    'tokens/notes.txt',
    `tokens/${hash}.json`,
    `tokens/${hash}.json.bak`,
    'clients/notes.txt',
    'logs/notes.txt',
    'logs/console.log.bak',
    'lost+found/x',
  ]
  for (const path of strays) {
    await mkdir(dirname(join(basedir, path)), { recursive: true })
    await writeFile(join(basedir, path), `stray ${path}`)
  }
  await mkdir(join(basedir, 'tokens', `${'cd'.repeat(32)}.json`))
  const server = await startServer(t, { basedir })
  const authToken = await askToken(server)
  const answer = await submitForm(server, [['file', Buffer.from('x'), 'notes.txt'], ['auth_token', authToken]])
  assert.equal(answer.status, 200)
  assert.equal(await server.stop(), 0)
  for (const path of strays) assert.equal(await readFile(join(basedir, path), 'utf8'), `stray ${path}`)
  const uploads = await listUploads(basedir)
  assert.ok(uploads.includes(join('responses', 'study', filesOf(answer)[0]?.stored_as ?? '')), uploads.join('\n'))
})

function mistakesOf(args: readonly string[], env: Record<string, string>): readonly string[] {
  try {
    readConfig(args, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes
    throw error
  }
  return []
}

test('leftovers that nobody can read do not stop a start', async (t) => {
  const basedir = await temporaryDirectory(t)
  const dead = join(basedir, 'uploads', 'staging', '20241101T120000.000000Z-deadbeef')
  await mkdir(join(dead, 'owner.json'), { recursive: true })
  await mkdir(join(basedir, 'tokens', `${'0'.repeat(64)}.json`), { recursive: true })
  const own = await startServer(t, { basedir })
  assert.equal(await own.stop(), 0)
  await rm(dead, { recursive: true })
  await mkdir(dead)
  await writeFile(join(dead, 'owner.json'), JSON.stringify({ host: '', machine: '', boot: '', namespace: '', pid: 1, began: '' }))
  await writeFile(join(dead, '0.intent.json'), '{}')
  const next = await startServer(t, { basedir })
  assert.equal(await next.stop(), 0)
})

test('sixteen syncs run at once, or as many as Node is told', async (t) => {
  const counts: number[] = []
  for (const env of [{}, { UV_THREADPOOL_SIZE: '' }, { UV_THREADPOOL_SIZE: '4' }]) {
    const server = await startServer(t, { env })
    await askToken(server)
    counts.push((await readdir(`/proc/${server.process.pid}/task`)).length)
  }
  const [normal = 0, empty = 0, told = 0] = counts
  assert.deepEqual([normal - told, empty - told], [16 - 4, 16 - 4])
})

test('the program runs where Node is told to take files for modules', (t) => {
  const option = '--experimental-default-type'
  if (!process.allowedNodeEnvironmentFlags.has(option)) return t.skip('this Node cannot be told so')
  assert.equal(runProgram(['--version'], { NODE_OPTIONS: `${option}=module` }).status, 0)
})
