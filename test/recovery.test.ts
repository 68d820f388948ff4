import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, link, mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { Directories } from '../lib/directories.ts'
import { formatIntent } from '../lib/store/intent.ts'
import { Layout } from '../lib/store/layout.ts'
import { describeSelf, isRunning, parseOwner, type Owner } from '../lib/store/owner.ts'
import { Store } from '../lib/store/store.ts'
import { checkReceipts, listProject, listStaged } from './evidence.ts'
import { needs, ROOT, startServer, temporaryDirectory, until } from './harness.ts'
import { OTHER_USER } from './other-user.ts'
import { sha256Of } from './sha256.ts'

const DEAD = '20241101T120000.000000Z-0000dead'
const SILENT_SECONDS = 6 * 60

async function openStore(t: TestContext, basedir: string, processId = 'cafe0001'): Promise<Store> {
  const store = new Store(new Layout(basedir), new Directories(), processId, undefined)
  await store.open()
  t.after(() => store.close())
  return store
}

/** Makes the staging directory of another process, with a file that was arriving. */
async function makeStaging(basedir: string, owner?: string, ageSeconds = 0): Promise<string> {
  const path = join(basedir, 'uploads', 'staging', DEAD)
  await mkdir(path, { recursive: true })
  await writeFile(join(path, '0.part'), 'arriving')
  if (owner !== undefined) await writeFile(join(path, 'owner.json'), owner)
  const then = new Date(Date.now() - ageSeconds * 1000)
  for (const each of [...(owner === undefined ? [] : [join(path, 'owner.json')]), path]) await utimes(each, then, then)
  return path
}

const self = describeSelf()
const describe = (difference: Partial<Owner>) => JSON.stringify({ ...self, ...difference })
const ownerRows = [
  { name: 'a process that runs', owner: describe({}), ageSeconds: SILENT_SECONDS, isAdopted: false },
  { name: 'a process that ended', owner: describe({ pid: 2 ** 22 + 1 }), ageSeconds: 0, isAdopted: true },
  { name: 'a process whose number another one has now', owner: describe({ began: '1' }), ageSeconds: 0, isAdopted: true },
  { name: 'a process of another machine that shows itself', owner: describe({ host: 'other' }), ageSeconds: 0, isAdopted: false },
  { name: 'a process of another machine that is silent', owner: describe({ host: 'other' }), ageSeconds: SILENT_SECONDS, isAdopted: true },
  { name: 'a process of another container that shows itself', owner: describe({ namespace: 'pid:[1]' }), ageSeconds: 0, isAdopted: false },
  { name: 'a process before the machine was started again, silent', owner: describe({ boot: 'other' }), ageSeconds: SILENT_SECONDS, isAdopted: true },
  { name: 'a process that has just begun and has not said who it is', owner: undefined, ageSeconds: 0, isAdopted: false },
  { name: 'a process that never said who it is', owner: undefined, ageSeconds: SILENT_SECONDS, isAdopted: true },
  { name: 'a process that is saying who it is', owner: '{"host":"o', ageSeconds: 0, isAdopted: false },
  { name: 'a process that was cut off as it said who it is', owner: '{"host":"o', ageSeconds: SILENT_SECONDS, isAdopted: true },
]
for (const { name, owner, ageSeconds, isAdopted } of ownerRows) {
  test(`the staging of ${name} is ${isAdopted ? 'cleared away' : 'left alone'}`, async (t) => {
    const basedir = await temporaryDirectory(t)
    await makeStaging(basedir, owner, ageSeconds)
    const store = await openStore(t, basedir)
    assert.deepEqual(await store.recover(), { processes: isAdopted ? 1 : 0, completed: 0, failures: [] })
    assert.deepEqual(await listStaged(basedir), isAdopted ? [] : [`${DEAD}/0.part`])
  })
}

const here: Owner = { ...self, host: 'lab', machine: 'one', boot: 'second', namespace: 'pid:[1]' }
const runningRows: { name: string; owner: Partial<Owner>; expected: boolean | undefined; machine?: string }[] = [
  { name: 'this process runs', owner: {}, expected: true },
  { name: 'a process before this machine lost its power is dead, however lately it showed itself', owner: { boot: 'first' }, expected: false },
  { name: 'a process of a machine of the same name is unknown', owner: { machine: 'two', boot: 'first' }, expected: undefined },
  { name: 'a process of a container that has no identity is unknown', owner: { machine: '', boot: 'first' }, machine: '', expected: undefined },
  { name: 'a process of another host is unknown', owner: { host: 'other' }, expected: undefined },
  { name: 'a process that systemd hides the boot from runs', owner: { boot: '' }, expected: true },
  { name: 'a process that systemd hid the boot from, and whose number another one has now, is dead', owner: { boot: '', began: '1' }, expected: false },
  { name: 'a process of a container that has no identity and hides the boot is unknown', owner: { machine: '', boot: '' }, machine: '', expected: undefined },
  { name: 'a process of another namespace is unknown', owner: { namespace: 'pid:[2]' }, expected: undefined },
]
for (const { name, owner, machine = 'one', expected } of runningRows) {
  test(name, () => assert.equal(isRunning({ ...here, ...owner }, { ...here, machine }), expected))
}

test('a server sees the process that a command on the machine is, as far as systemd lets it', () => {
  assert.deepEqual([isRunning(here, { ...here, boot: '' }), isRunning({ ...here, began: '1' }, { ...here, boot: '' })], [true, false])
})

// What the unit does to the server: `ProcSubset=pid` leaves the processes alone in /proc.
test('a server whose /proc has the processes alone is seen to run, and to have ended', async (t) => {
  if (!needs(t, 'unshare', 'util-linux')) return
  const alone = 'mount -t proc -o subset=pid proc /proc && exec "$0" "$@"'
  const through = ['unshare', '--mount', 'sh', '-c', alone]
  const [command = '', ...args] = [...through, 'test', '!', '-e', '/proc/sys']
  if (spawnSync(command, args).status !== 0) return t.skip('this user may not mount /proc')
  const server = await startServer(t, { through })
  const staging = join(server.basedir, 'uploads/staging')
  const owner = parseOwner(await readFile(join(staging, (await readdir(staging))[0] ?? '', 'owner.json'), 'utf8'))
  assert.ok(owner !== undefined)
  assert.deepEqual([owner.boot, isRunning(owner, describeSelf())], ['', true])
  await server.stop('SIGKILL')
  assert.equal(isRunning(owner, describeSelf()), false)
})

// What the unit does to the server: `ProtectProc=invisible` hides what other users run, such as a server that root began.
test('a process that /proc hides is not taken for dead', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('only root can become another user')
  if (!needs(t, 'unshare', 'util-linux') || !needs(t, 'setpriv', 'util-linux')) return
  const copy = await temporaryDirectory(t)
  await chmod(copy, 0o755)
  await cp(join(ROOT, 'dist'), copy, { recursive: true })
  await writeFile(join(copy, 'package.json'), '{"type":"commonjs"}')
  await writeFile(join(copy, 'ask.js'), `
    const { describeSelf, isRunning } = require('./lib/store/owner.js')
    const tell = (owner) => String(isRunning({ ...describeSelf(), ...owner }, describeSelf()))
    console.log([tell({ pid: ${process.pid}, began: '1' }), tell({ pid: 2 ** 22 + 1 }), tell({})].join())`)
  const runHiding = (options: string, ...command: string[]) => {
    const asUser = `setpriv --reuid=${OTHER_USER} --regid=${OTHER_USER} --clear-groups`
    return spawnSync('unshare', ['--mount', 'sh', '-c', `mount -t proc -o ${options} proc /proc && exec ${asUser} "$0" "$@"`, ...command], { encoding: 'utf8' })
  }
  if (runHiding('hidepid=0', 'true').status !== 0) return t.skip('this user may not mount /proc')
  const ask = (options: string) => runHiding(options, process.execPath, join(copy, 'ask.js')).stdout
  assert.equal(ask('hidepid=0'), 'false,false,true\n', 'the number of another process')
  assert.equal(ask('hidepid=2'), 'undefined,false,true\n')
})

test('the staging of a process that is dead and not yet buried by its parent is cleared away', async (t) => {
  const basedir = await temporaryDirectory(t)
  const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] })
  t.after(() => parent.kill('SIGKILL'))
  const [line] = (await once(parent.stdout, 'data')) as [Buffer]
  const pid = Number(line.toString())
  const statOf = async () => (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? []
  await makeStaging(basedir, describe({ pid, began: (await statOf())[19] ?? '' }))
  const store = await openStore(t, basedir)
  assert.equal((await store.recover()).processes, 0)
  process.kill(pid, 'SIGKILL')
  await until('it is a zombie', async () => (await statOf())[0] === 'Z')
  assert.equal((await store.recover()).processes, 1)
})

test('a beat shows that a process is alive, by the clock of the file system', async (t) => {
  const basedir = await temporaryDirectory(t)
  const store = await openStore(t, basedir)
  const [own = ''] = await readdir(join(basedir, 'uploads', 'staging'))
  const owner = join(basedir, 'uploads', 'staging', own, 'owner.json')
  const before = await readFile(owner, 'utf8')
  await utimes(owner, 1, 1)
  await makeStaging(basedir, describe({ host: 'other' }), SILENT_SECONDS)
  assert.equal((await store.recover()).processes, 0, 'a process that was stopped for long does not call others silent')
  await store.beat()
  assert.equal(await readFile(owner, 'utf8'), before)
  assert.equal((await store.recover()).processes, 1)
})

test('stray files and directories in staging are left alone', async (t) => {
  const basedir = await temporaryDirectory(t)
  const staging = join(basedir, 'uploads', 'staging')
  await mkdir(join(staging, 'notes', 'old'), { recursive: true })
  await writeFile(join(staging, 'README'), 'mine')
  await writeFile(join(staging, DEAD), 'a file of that name')
  const store = await openStore(t, basedir)
  assert.deepEqual(await store.recover(), { processes: 0, completed: 0, failures: [] })
  assert.deepEqual((await readdir(staging)).filter((entry) => !entry.endsWith('cafe0001')).toSorted(), [DEAD, 'README', 'notes'])
})

const STAMP = '20241101T120000.000000Z'
const PARTS = [
  ['0.part', `${STAMP}-a.wav`, 'one'],
  ['1.part', `${STAMP}-b.wav`, 'two'],
] as const

function makeIntent(project = 'study', id = 'f'.repeat(32)): string {
  const files = PARTS.map(([, stored_as, content]) => ({ field: 'f', name: 'x', stored_as, bytes: content.length, sha256: sha256Of(content) }))
  const receipt = { id, received_at: '2024-11-01T12:00:00.000000Z', project, token_sha256: '', fields: [], files }
  return formatIntent({ receipt, staged: PARTS.map(([staged]) => staged) })
}

// What a dead process left: which of two files are still staged, and what stands under their final names.
type Left = { readonly isStaged: boolean; readonly stored?: 'linked' | 'copied' | 'other' }
const staged: Left = { isStaged: true }
const gone: Left = { isStaged: false }
const intentRows: { name: string; left: readonly [Left, Left]; intent?: string; completed: number; stored: string[] }[] = [
  { name: 'nothing is linked yet: it is completed', left: [staged, staged], completed: 1, stored: ['one', 'two'] },
  { name: 'one is linked: it is completed', left: [{ ...staged, stored: 'linked' }, staged], completed: 1, stored: ['one', 'two'] },
  { name: 'one is a copy, as after a restore: it is completed', left: [{ ...staged, stored: 'copied' }, staged], completed: 1, stored: ['one', 'two'] },
  { name: 'all are in place and no longer staged: it is completed', left: [{ ...gone, stored: 'copied' }, { ...gone, stored: 'copied' }], completed: 1, stored: ['one', 'two'] },
  { name: 'one is lost: the other does not appear', left: [staged, gone], completed: 0, stored: [] },
  { name: 'one is lost and the other linked: it is taken back', left: [{ ...staged, stored: 'linked' }, gone], completed: 0, stored: [] },
  { name: 'all were taken back: nothing appears', left: [gone, gone], completed: 0, stored: [] },
  { name: 'one name is taken by another submission, which stays', left: [staged, { ...staged, stored: 'other' }], completed: 0, stored: ['other'] },
  { name: 'the note was cut off: nothing appears', left: [staged, staged], intent: makeIntent().slice(0, -1), completed: 0, stored: [] },
  { name: 'the note is empty: nothing appears', left: [staged, staged], intent: '', completed: 0, stored: [] },
]
for (const { name, left, intent = makeIntent(), completed, stored } of intentRows) {
  test(`a submission that was cut short, where ${name}`, async (t) => {
    const basedir = await temporaryDirectory(t)
    const staging = await makeStaging(basedir, describe({ began: '1' }))
    const project = join(basedir, 'uploads', 'responses', 'study')
    await mkdir(project, { recursive: true })
    for (const [index, [stagedName, storedName, content]] of PARTS.entries()) {
      const { isStaged, stored: form } = left[index] ?? gone
      await writeFile(join(staging, stagedName), content)
      if (form === 'linked') await link(join(staging, stagedName), join(project, storedName))
      else if (form !== undefined) await writeFile(join(project, storedName), form === 'copied' ? content : 'other')
      if (!isStaged) await rm(join(staging, stagedName))
    }
    await writeFile(join(staging, '2.intent.json'), intent)
    const store = await openStore(t, basedir)
    assert.deepEqual(await store.recover(), { processes: 1, completed, failures: [] })
    const names = await listProject(basedir, 'study')
    assert.deepEqual(await Promise.all(names.map((each) => readFile(join(project, each), 'utf8'))), stored)
    assert.equal((await checkReceipts(basedir, 'study')).length, completed)
    assert.deepEqual(await listStaged(basedir), [])
  })
}

test('what cannot be completed yet is told, keeps nothing else from it, and is tried again', async (t) => {
  const basedir = await temporaryDirectory(t)
  const staging = await makeStaging(basedir, describe({ began: '1' }))
  for (const [stagedName, , content] of PARTS) await writeFile(join(staging, stagedName), content)
  await writeFile(join(staging, '2.intent.json'), makeIntent('linked', 'a'.repeat(32)))
  await writeFile(join(staging, '3.intent.json'), makeIntent('study', 'b'.repeat(32)))
  const responses = join(basedir, 'uploads', 'responses')
  await mkdir(responses)
  await symlink(basedir, join(responses, 'linked'))
  const first = await openStore(t, basedir)
  const { processes, completed, failures } = await first.recover()
  assert.deepEqual([processes, completed, failures.length], [0, 1, 1])
  assert.equal((await listProject(basedir, 'study')).length, 2)

  await rm(join(responses, 'linked'))
  const [again, atTheSameTime] = await Promise.all([first.recover(), first.recover()])
  assert.deepEqual(again, { processes: 1, completed: 1, failures: [] })
  assert.equal(atTheSameTime, again, 'recoveries of one process do not overlap')
  assert.deepEqual([(await checkReceipts(basedir, 'linked')).length, (await checkReceipts(basedir, 'study')).length], [1, 1])
  assert.deepEqual(await listStaged(basedir), [])
})
