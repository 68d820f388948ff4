import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, statSync, symlinkSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { check } from './exported.ts'
import { filesOf, listFiles, needs, request, ROOT, submitForm, until } from './harness.ts'
import { linesOf, prepareMachine, serveAsUnit, type Machine } from './machine.ts'
import { activityUpload, answer, finalZip, makeWav, openApp, send } from './web-app.ts'

const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const CHAPTER = /^## Sensitive data\n([^]*?)^## /m.exec(README)?.[1] ?? ''
const MAKE_KEY = /^```sh\n(.* keys new .*)\n```$/m.exec(CHAPTER)?.[1] ?? ''
const OPEN_WITH_AGE = /`(age --decrypt [^`]*challenge\.age)`/.exec(CHAPTER)?.[1] ?? ''
const VOICE = makeWav(60_000)

/** The researcher's machine: a directory with a clone, where nothing of the VM is. */
interface Desk {
  readonly path: string
  /** Runs lines of the README and gives what they print; throws where one fails. */
  readonly run: (lines: readonly string[]) => string
}

async function prepareDesk({ root, environment }: Machine): Promise<Desk> {
  const path = join(root, 'desk')
  await mkdir(path)
  symlinkSync(join(root, 'clone/dist'), join(path, 'dist'))
  const run = (lines: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync('bash', ['-euo', 'pipefail', '-c', lines.join('\n')], { cwd: path, encoding: 'utf8', env: environment })
    assert.equal(status, 0, `${lines.join('\n')}\n${stdout}\n${stderr}`)
    return stdout
  }
  return { path, run }
}

/** Puts the package on the machine as the chapter "Install on a VM" does; the server is not started. */
function install({ root, run }: Machine): void {
  run(['npm pack --ignore-scripts', 'npm install --global ./reproschema-backend-*.tgz', 'install -d -m 700 /etc/reproschema-backend'])
  run(["(umask 077; node -p 'crypto.randomUUID().replaceAll(\"-\", \"\")' > /etc/reproschema-backend/admin-token)", 'touch /etc/reproschema-backend/settings'])
  run(['cp reproschema-backend.service /etc/systemd/system/'], join(root, 'usr/local/lib/node_modules/reproschema-backend/deploy'))
}

/** What `EnvironmentFile` reads: one `NAME=value` a line (systemd.exec(5)). */
function labSettings({ root }: Machine): Record<string, string> {
  const lines = readFileSync(join(root, 'etc/reproschema-backend/settings'), 'utf8').split('\n').filter((line) => line !== '')
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]))
}

async function tokenOf(machine: Machine, url: string) {
  const token = readFileSync(join(machine.root, 'etc/reproschema-backend/admin-token'), 'utf8').trim()
  return request(`${url}/token?token=${token}&project=my-study&participant_id=p-0042`)
}

test('the chapter goes from the key to the opened export, as it stands', async (t) => {
  if (!needs(t, 'age', 'age') || !needs(t, 'rsync', 'rsync') || !needs(t, 'curl', 'curl')) return
  const machine = await prepareMachine(t)
  const desk = await prepareDesk(machine)
  install(machine)
  const lines = linesOf(CHAPTER)
  const at = (part: string) => lines.findIndex((line) => line.includes(part))
  const [restarted, copied, opened, asked] = [at('systemctl restart') + 1, at('rsync'), at('age --decrypt'), at('datasheet')]
  assert.ok(0 < restarted && restarted < copied && copied < opened && opened < asked && asked === lines.length - 1, lines.join('\n'))

  const before = await serveAsUnit(t, machine, labSettings(machine))
  desk.run([MAKE_KEY])
  assert.equal(statSync(join(desk.path, 'lab-key')).mode & 0o077, 0)
  desk.run([MAKE_KEY.replace('lab-key >', 'safe-key >>')]) // the second one's key in a safe
  desk.run(lines.slice(0, restarted))
  assert.equal(machine.noted('systemctl').at(-1), 'restart reproschema-backend.service')
  await before.stop()
  const server = await serveAsUnit(t, machine, labSettings(machine))
  assert.equal((await tokenOf(machine, server.url)).json['code'], 'key_not_proven')
  const proven = desk.run(lines.slice(restarted, copied).map((line) => line.replace('http://localhost:8000', server.url)))
  assert.match(proven, /Proven: the server's recipients\./)
  assert.equal(desk.run([OPEN_WITH_AGE]), desk.run(['reproschema-backend keys open lab-key challenge.age']), 'age opens the code too')

  await until('tokens are issued', async () => (await tokenOf(machine, server.url)).status === 200)
  const { json } = await tokenOf(machine, server.url)
  const authToken = String(json['auth_token'])
  const sitting = openApp('p-0042')
  answer(sitting, 'voice', { say: VOICE, mood: 3 })
  await send(server, authToken, [activityUpload(sitting, 0), finalZip(sitting)])
  const sent = await submitForm(server, [['auth_token', authToken], ['file', VOICE, 'voice.wav']])
  const storedAs = filesOf(sent)[0]?.stored_as ?? ''

  await t.test('nothing that was sent can be read on the VM, and no key is there', async () => {
    const key = /AGE-SECRET-KEY-1\w+/.exec(readFileSync(join(desk.path, 'lab-key'), 'utf8'))?.[0] ?? ''
    for (const path of await listFiles(join(machine.root, 'var'))) {
      const content = readFileSync(join(machine.root, 'var', path))
      assert.ok(!content.includes(VOICE.subarray(1000, 1100)) && !content.includes(key), path)
    }
  })
  await t.test('the dataset that comes out at the desk is what was sent', async () => {
    assert.match(desk.run(lines.slice(copied, opened)), /^ok: everything that was promised is there$/m)
    const { sessions, recordings } = await check(join(desk.path, 'dataset'))
    assert.deepEqual(sessions.map((row) => [row['participant'], row['state']]), [['p-0042', 'complete']])
    assert.equal(recordings.length, 1)
    assert.ok(readFileSync(join(desk.path, 'dataset', recordings[0]?.['file'] ?? '')).equals(VOICE))
  })
  await t.test('age opens a single file', () => {
    const [line = ''] = lines.slice(opened, asked)
    desk.run([line.replace('20241101T023615.123456Z-voice.wav.age', storedAs)])
    assert.ok(readFileSync(join(desk.path, 'voice.wav')).equals(VOICE))
  })
  await t.test('the page for the ethics board tells of the two recipients, and when they were proven', () => {
    desk.run(lines.slice(asked))
    const page = readFileSync(join(desk.path, 'datasheet.md'), 'utf8')
    const recipients = readFileSync(join(desk.path, 'recipients'), 'utf8').trim().split('\n').toSorted()
    assert.ok(page.includes(`It is encrypted to each of ${recipients.map((each) => `\`${each}\``).join(', ')}.`), page)
    assert.match(page, /On \d{4}-\d\d-\d\d at \d\d:\d\d:\d\d UTC somebody showed that they hold such a key\.$/m)
    assert.match(page, /^It is running now\.$/m)
    assert.match(page, /^reproschema-backend withdraw my-study --participant NAME --basedir \S+\/var\/lib\/reproschema-backend$/m)
  })
  assert.deepEqual(new Set(machine.noted('ssh')), new Set(['root@study.example.org']))
})
