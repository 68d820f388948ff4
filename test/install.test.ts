import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { SETTINGS } from '../lib/settings/settings.ts'
import { needs, ROOT } from './harness.ts'
import { linesOf, prepareMachine, serveAsUnit } from './machine.ts'

const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const CHAPTER = /^## Install on a VM\n([^]*?)^## /m.exec(README)?.[1] ?? ''
const [INSTALL = '', UPGRADE = '', BACK_UP = '', MOVE = ''] = CHAPTER.split(/^### .*\n/m)

test('the chapter installs with at most 15 commands', () => {
  const lines = linesOf(INSTALL)
  assert.ok(lines.length >= 5 && lines.length <= 15, String(lines.length))
})

test('the chapter names the package by its version, the files of deploy/, and settings that exist', () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  const versions = [...CHAPTER.matchAll(/reproschema-backend-(.*?)\.tgz/g)].map((match) => match[1])
  assert.deepEqual(new Set(versions), new Set([version]))
  const table = [...CHAPTER.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, cell = '']) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''))
  assert.ok(table.length >= 6, table.join())
  for (const file of table) assert.ok(existsSync(join(ROOT, 'deploy', file)), file)
  const known = Object.values(SETTINGS).map((row) => row.variable)
  for (const [name] of CHAPTER.matchAll(/REPROSCHEMA_BACKEND_[A-Z_]+[A-Z]/g)) assert.ok(known.some((each) => each.startsWith(name)), name)
})

// What belongs to the machine is set aside: `apt-get`, `systemctl` and `scp` are noted, and its directories lie in another
// place. All else is run as it stands: npm, the commands of the server, sed, install, rsync.
test('the commands of the chapter do what it says', async (t) => {
  if (!needs(t, 'rsync', 'rsync') || !needs(t, 'caddy', 'caddy')) return
  const machine = await prepareMachine(t)
  const { root, run } = machine
  const lines = linesOf(INSTALL)
  const startAt = lines.findIndex((line) => line.startsWith('systemctl enable'))
  const [pack = '', copy = '', ...others] = lines.slice(0, startAt)
  assert.deepEqual([pack, copy.split(' ')[0]], ['npm ci && npm pack', 'scp'])
  run(['npm pack --ignore-scripts', ...others]) // dist/ is there, and is being used

  const token = join(root, 'etc/reproschema-backend/admin-token')
  assert.equal((statSync(token).mode & 0o777).toString(8), '600')
  assert.match(readFileSync(token, 'utf8'), /^[0-9a-f]{32}\n$/)
  for (const file of ['settings', 'admin-token']) assert.ok(existsSync(join(root, 'etc/reproschema-backend', file)), file)
  assert.ok(existsSync(join(root, 'etc/systemd/system/reproschema-backend.service.d/network.conf')), 'the drop-in is there')
  const { url } = await serveAsUnit(t, machine)
  const deploy = join(root, 'usr/local/lib/node_modules/reproschema-backend/deploy')
  const rest = lines.slice(startAt).map((line) => line.replace(/https:\/\/study\.example\.org|http:\/\/localhost:8000/, url))
  run(rest, deploy)
  assert.deepEqual(machine.noted('systemctl'), ['enable --now reproschema-backend.socket reproschema-backend.service', 'reload caddy'])
  const caddyfile = readFileSync(join(root, 'etc/caddy/Caddyfile'), 'utf8')
  assert.match(caddyfile, /^study\.example\.org \{$/m)
  assert.doesNotMatch(caddyfile, /lab\.example\.org/)
  const valid = spawnSync('caddy', ['validate', '--adapter', 'caddyfile', '--config', join(root, 'etc/caddy/Caddyfile')], { encoding: 'utf8', env: { PATH: process.env['PATH'] ?? '', HOME: root } })
  assert.equal(valid.status, 0, valid.stderr)

  await t.test('upgrade', () => {
    run(linesOf(UPGRADE))
    assert.equal(machine.noted('systemctl').at(-1), 'restart reproschema-backend.service')
  })
  await t.test('back up', () => {
    run([...linesOf(BACK_UP), 'reproschema-backend verify --basedir /srv/study'])
    assert.ok(BACK_UP.includes('`reproschema-backend verify --basedir /srv/study`'), BACK_UP)
  })
  await t.test('move', () => {
    const old = join(root, 'old')
    spawnSync('cp', ['-a', join(root, 'etc'), join(root, 'var'), join(root, 'old')])
    spawnSync('rm', ['-r', join(root, 'etc/reproschema-backend'), join(root, 'var/lib/reproschema-backend')])
    run(linesOf(MOVE).map((line) => line.replaceAll('root@old.example.org:', old)))
    assert.equal(readFileSync(token, 'utf8'), readFileSync(join(old, 'etc/reproschema-backend/admin-token'), 'utf8'))
  })
})
