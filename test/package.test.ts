import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after as afterAll, before, test } from 'node:test'
import { ADMIN_TOKEN, after, askToken, filesOf, ROOT, submitForm, temporaryDirectory, until } from './harness.ts'

const VERSION = (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version

const directory = mkdtempSync(join(tmpdir(), 'reproschema-package-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
const command = join(directory, 'prefix', 'bin', 'reproschema-backend')
const home = join(directory, 'prefix', 'lib', 'node_modules', 'reproschema-backend')
const environment = {
  PATH: process.env['PATH'] ?? '',
  HOME: directory,
  npm_config_registry: 'http://127.0.0.1:9/', // nobody answers there
  npm_config_offline: 'true',
  npm_config_cache: join(directory, 'cache'),
  npm_config_update_notifier: 'false',
}

before(() => {
  // Without the script that builds: the other tests run on dist/ at this moment.
  npm(['pack', '--ignore-scripts', '--pack-destination', directory], ROOT)
  npm(['install', '--global', '--prefix', join(directory, 'prefix'), `./reproschema-backend-${VERSION}.tgz`], directory)
})

test('the package holds what runs and what is copied onto a machine, and fetches nothing', () => {
  const files = readdirSync(home, { recursive: true, encoding: 'utf8' }).filter((path) => !statSync(join(home, path)).isDirectory())
  for (const file of readdirSync(join(ROOT, 'deploy'))) assert.ok(files.includes(`deploy/${file}`), file)
  for (const file of ['README.md', 'package.json', 'dist/serve.js', 'dist/lib/app.js']) assert.ok(files.includes(file), file)
  assert.deepEqual(files.filter((file) => !/^(README\.md|package\.json|deploy\/|dist\/(serve|lib\/.*)\.js$)/.test(file)), [])
  assert.deepEqual(readdirSync(join(directory, 'prefix', 'lib', 'node_modules')), ['reproschema-backend'])
})

test('the command tells its version, and its help calls it by its name', () => {
  const [version, help] = [run('--version'), run('--help')]
  assert.deepEqual([version.status, version.stdout], [0, `${VERSION}\n`])
  assert.match(help.stdout, /^Usage: reproschema-backend \[serve\] \[OPTIONS\]\n {7}reproschema-backend /)
  assert.doesNotMatch(help.stdout, /node dist/)
  const source = spawnSync(process.execPath, ['dist/serve.js', '--help'], { cwd: ROOT, encoding: 'utf8' })
  assert.match(source.stdout, /^Usage: node dist\/serve\.js \[serve\] \[OPTIONS\]\n/)
})

test('the command serves', async (t) => {
  const basedir = await temporaryDirectory(t)
  const settings = { HOST: '127.0.0.1', PORT: '0', REPROSCHEMA_BACKEND_BASEDIR: basedir, REPROSCHEMA_BACKEND_TOKEN: ADMIN_TOKEN }
  const child = spawn(command, ['serve'], { cwd: basedir, env: { PATH: environment.PATH, ...settings }, stdio: ['ignore', 'pipe', 'inherit'] })
  after(t, () => child.kill('SIGKILL'))
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  await until('it listens', () => /^Listening on (.*)$/m.test(output))
  const url = /^Listening on (.*)$/m.exec(output)?.[1] ?? ''
  const authToken = await askToken({ url })
  const answer = await submitForm({ url }, [['file', Buffer.from('voice'), 'a.wav'], ['auth_token', authToken]])
  assert.equal(answer.status, 200, answer.text)
  assert.equal(filesOf(answer).length, 1)
  const status = run('status', '--basedir', basedir)
  assert.equal(status.status, 0, status.stderr)
  assert.match(status.stdout, /study/)
})

function run(...args: readonly string[]) {
  return spawnSync(command, args, { cwd: directory, encoding: 'utf8', env: environment })
}

function npm(args: readonly string[], cwd: string): void {
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd, encoding: 'utf8', env: environment })
  assert.equal(status, 0, `${stdout}\n${stderr}`)
}
