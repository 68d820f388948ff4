import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { SETTINGS } from '../lib/settings/settings.ts'
import { startActivated } from './activated.ts'
import { askToken, needs, request, ROOT, submitForm, temporaryDirectory, until } from './harness.ts'

const DEPLOY = join(ROOT, 'deploy')
const UNIT = readFileSync(join(DEPLOY, 'reproschema-backend.service'), 'utf8')
const SOCKET = readFileSync(join(DEPLOY, 'reproschema-backend.socket'), 'utf8')
const variants = [
  { name: 'with the socket unit', dropIns: [], most: 0.5 },
  { name: 'with a network', dropIns: ['network.conf'], most: 1.5 },
  { name: 'with TLS of its own', dropIns: ['tls.conf'], most: 0.5 },
  { name: 'with both', dropIns: ['network.conf', 'tls.conf'], most: 1.5 },
]

for (const { name, dropIns, most } of variants) {
  test(`systemd-analyze has nothing to say of the units ${name}`, async (t) => {
    if (!needs(t, 'systemd-analyze', 'systemd')) return
    const root = await install(t, dropIns)
    const { status, stdout, stderr } = analyze('verify', `--root=${root}`, 'reproschema-backend.service', 'reproschema-backend.socket')
    assert.deepEqual([status, stdout, stderr], [0, '', ''])
  })
  test(`the service ${name} has an exposure of at most ${most}`, async (t) => {
    if (!needs(t, 'systemd-analyze', 'systemd')) return
    const root = await install(t, dropIns)
    const { stdout } = analyze('security', '--offline=yes', `--root=${root}`, 'reproschema-backend.service')
    const level = /Overall exposure level for reproschema-backend\.service: (\d+\.\d+)/.exec(stdout)?.[1]
    assert.ok(level !== undefined && Number(level) <= most, stdout)
  })
}

test('systemd waits longer for a stop than the server does for uploads', () => {
  const stopSeconds = Number(settingOf('Environment=REPROSCHEMA_BACKEND_STOP_SECONDS') ?? SETTINGS.stopSeconds.fallback)
  assert.ok(Number(settingOf('TimeoutStopSec')) >= stopSeconds + 10, UNIT)
  assert.match(UNIT, new RegExp(`\\(REPROSCHEMA_BACKEND_STOP_SECONDS, ${stopSeconds}\\)`))
})

test('a crash writes nothing of what participants sent to a disk', () => {
  assert.equal(settingOf('LimitCORE'), '0')
  assert.equal(settingOf('MemorySwapMax'), '0')
})

test('every variable that the units set is a setting, or one of Node', () => {
  const known = new Set<string>(Object.values(SETTINGS).map((row) => row.variable))
  const text = UNIT + ['network.conf', 'tls.conf'].map((name) => readFileSync(join(DEPLOY, name), 'utf8')).join('')
  const named = [...text.matchAll(/^Environment=(\w+)=/gm)].map((match) => match[1] ?? '')
  assert.ok(named.length >= 5, named.join())
  for (const name of named) assert.ok(known.has(name), name)
})

test('the socket unit has a Unix socket and both loopback addresses', () => {
  assert.deepEqual([...SOCKET.matchAll(/^ListenStream=(.*)$/gm)].map((match) => match[1]), ['/run/reproschema-backend.sock', '127.0.0.1:8000', '[::1]:8000'])
})

// What Node asks for at its start and does without.
const DISPENSABLE = new Set(['pkey_alloc', 'setrlimit', 'sched_setaffinity'])

test('the server needs no system call that the unit forbids, and opens no socket', async (t) => {
  if (!needs(t, 'systemd-socket-activate', 'systemd') || !needs(t, 'strace', 'strace')) return
  const trace = join(await temporaryDirectory(t), 'trace')
  const socketPath = join(await temporaryDirectory(t), 'socket')
  const forbidden = forbiddenCalls()
  const inject = `--inject=${[...DISPENSABLE].filter((call) => forbidden.has(call)).join()}:error=EPERM`
  const through = ['sh', '-c', 'trace=$0.$$; exec strace -D -f -o "$trace" "$@"', trace, inject] // -D: the server has the process id
  const server = await startActivated(t, { sockets: [socketPath], through })
  const url = `http://127.0.0.1:${server.port}`
  const authToken = await askToken({ url })
  assert.equal((await submitForm({ url }, [['file', Buffer.alloc(100_000), 'a.wav'], ['auth_token', authToken], ['responses', '[]']])).status, 200)
  assert.equal((await request(`${url}/register?token=wrong`)).status, 403)
  const own = `${trace}.${server.pid()}`
  const isWhole = new RegExp(`^${server.pid()} +\\+\\+\\+ exited with 0`, 'm')
  await server.restart()
  await until('the trace is whole', async () => isWhole.test(await readFile(own, 'utf8')))
  const calls = new Set([...(await readFile(own, 'utf8')).matchAll(/^\d+ +(\w+)\(/gm)].map((match) => match[1] ?? ''))
  assert.ok(calls.has('fsync') && calls.has('accept4'), [...calls].join())
  assert.deepEqual([...calls].filter((call) => forbidden.has(call) && !DISPENSABLE.has(call)), [])
  assert.ok(!calls.has('socket'), 'RestrictAddressFamilies=none would refuse it')
})

/** The system calls that systemd knows and that `SystemCallFilter` of the unit does not allow. */
function forbiddenCalls(): Set<string> {
  const callsOf = readGroups()
  const all = callsOf('@known')
  const allowed = new Set<string>()
  for (const [, list = ''] of UNIT.matchAll(/^SystemCallFilter=(.*)$/gm)) {
    const isDenied = list.startsWith('~')
    for (const group of list.replace('~', '').split(' ')) {
      for (const call of callsOf(group)) isDenied ? allowed.delete(call) : allowed.add(call)
    }
  }
  assert.ok(allowed.has('openat') && !allowed.has('setrlimit') && all.has('reboot'), `${allowed.size} of ${all.size}`)
  return new Set([...all].filter((call) => !allowed.has(call)))
}

/** The system calls of each group that systemd knows, such as `@file-system`. */
function readGroups(): (group: string) => Set<string> {
  const groups = new Map<string, string[]>()
  let members: string[] = []
  for (const line of analyze('syscall-filter', '--no-pager').stdout.split('\n')) {
    if (/^@[\w-]+$/.test(line)) groups.set(line, (members = []))
    else if (/^ +[@\w-]+$/.test(line)) members.push(line.trim())
  }
  const callsOf = (group: string): Set<string> =>
    new Set((groups.get(group) ?? []).flatMap((name) => (name.startsWith('@') ? [...callsOf(name)] : [name])))
  return callsOf
}

function settingOf(name: string): string | undefined {
  return new RegExp(`^${name}=(.*)$`, 'm').exec(UNIT)?.[1]
}

function analyze(...args: readonly string[]) {
  return spawnSync('systemd-analyze', args, { encoding: 'utf8', env: { PATH: process.env['PATH'] ?? '', SYSTEMD_PAGER: '', NO_COLOR: '1' } })
}

/** Lays the units into a root directory as they lie on a machine; the programs that they call are empty there. */
async function install(t: TestContext, dropIns: readonly string[]): Promise<string> {
  const root = await temporaryDirectory(t)
  const [units, system] = [join(root, 'etc/systemd/system'), join(root, 'lib/systemd/system')]
  const dropInDirectory = join(units, 'reproschema-backend.service.d')
  for (const directory of [dropInDirectory, system, join(root, 'usr/local/bin'), join(root, 'bin')]) mkdirSync(directory, { recursive: true })
  for (const name of ['reproschema-backend.service', 'reproschema-backend.socket']) cpSync(join(DEPLOY, name), join(units, name))
  for (const name of dropIns) cpSync(join(DEPLOY, name), join(dropInDirectory, name))
  for (const name of readdirSync('/lib/systemd/system').filter((each) => /\.(target|slice)$/.test(each))) {
    cpSync(join('/lib/systemd/system', name), join(system, name), { verbatimSymlinks: true })
  }
  for (const program of ['usr/local/bin/reproschema-backend', 'bin/kill']) writeFileSync(join(root, program), '', { mode: 0o755 })
  return root
}
