import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cp, readFile } from 'node:fs/promises'
import { once } from 'node:events'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { Setting } from '../lib/settings/setting.ts'
import { SETTINGS } from '../lib/settings/settings.ts'
import { freePort, needs, ROOT, temporaryDirectory, until } from './harness.ts'

const README = readFileSync(join(ROOT, 'README.md'), 'utf8')

const CONSTANT = new Set(['status', 'code'])

interface Block {
  readonly language: string
  readonly text: string
}

const blocks: Block[] = [...README.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({ language, text }))
const shell = blocks.filter((block) => block.language === 'sh')
const isServer = (block: Block) => block.text.includes('npm start')
const isTests = (block: Block) => block.text.includes('npm test')

test('every shell command of the README works as it stands there, in its order', async (t) => {
  if (!needs(t, 'curl', 'curl')) return
  const directory = await copyCheckout(t)
  const [first, ...others] = shell.filter(isServer)
  assert.equal(first?.text, 'npm ci && npm start\n')
  const server = await start(t, directory, first?.text ?? '')

  const commands = blocks.filter((block) => block.language === 'json' || (block.language === 'sh' && !isServer(block) && !isTests(block)))
  const script = commands.filter((block) => block.language === 'sh').map((block) => `${block.text}printf '\\f'\n`)
  const run = spawnSync('bash', ['-euo', 'pipefail', '-c', atPort(script.join(''), server.port)], { cwd: directory, encoding: 'utf8', timeout: 600_000 })
  assert.equal(run.status, 0, `${run.stdout}\n${run.stderr}`)
  const outputs = run.stdout.split('\f')

  await t.test('the answers look as they are shown', () => {
    let output = -1
    for (const block of commands) {
      if (block.language === 'sh') output++
      else assert.deepEqual(shapeOf(outputs[output] ?? ''), shapeOf(block.text), outputs[output])
    }
  })
  await t.test('the stored recording is the one that was sent', () => {
    const sums = outputs.join('\n').match(/^[0-9a-f]{64}(?= .*voice\.wav$)/gm) ?? []
    assert.equal(sums.length, 2)
    assert.equal(sums[0], sums[1])
  })
  await t.test('the link sends the participant back to the app with a token', () => {
    const line = outputs.find((text) => text.startsWith('302 ')) ?? ''
    assert.match(line, /^302 https:\/\/ui\.example\.org\/#\/\?url=study\.jsonld&auth_token=my-study-[0-9a-f]{32}&expires=.*&participant_id=p-0042\n$/)
  })
  await server.stop()
  for (const block of others) {
    const further = await start(t, directory, block.text)
    await further.stop()
  }
})

test('the continuous integration runs the same two commands as the README', async () => {
  const run = await readFile(join(ROOT, '.ci', 'run'), 'utf8')
  for (const command of ['npm ci && npm start', 'npm ci && npm test']) {
    assert.equal(shell.filter((block) => block.text === `${command}\n`).length, 1, command)
    assert.ok(run.includes(`--line-regexp '${command}' README.md`), command)
  }
})

test('the README asks for the Node that the package asks for', async () => {
  const { engines } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { engines: { node: string } }
  const asked = README.match(/\bNode [\d.]+ or newer/g)
  assert.deepEqual([...new Set(asked)], [engines.node.replace('>=', 'Node ') + ' or newer'])
})

test('the table of settings is the one that the program has', () => {
  const rows = Object.values(SETTINGS).map((row: Setting<unknown>) => {
    const flag = row.flag === undefined ? '' : `\`--${row.flag}\``
    return `| \`${row.variable}\` | ${flag} | ${row.description} | ${row.fallback} |`
  })
  const table = /\| variable \| flag[^\n]*\n\|[-|]+\n((?:\|.*\n)*)/.exec(README)?.[1]
  assert.deepEqual(table?.trim().split('\n'), rows)
})

// What git knows of, without what was built or installed: as a fresh clone has it.
async function copyCheckout(t: TestContext): Promise<string> {
  const directory = await temporaryDirectory(t)
  const listed = spawnSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' })
  for (const file of listed.stdout.split('\n').filter((line) => line !== '')) await cp(join(ROOT, file), join(directory, file))
  return directory
}

async function start(t: TestContext, cwd: string, command: string): Promise<{ port: number; stop: () => Promise<void> }> {
  const port = await freePort()
  const env = { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', PORT: String(port), npm_config_prefer_offline: 'true' }
  const child: ChildProcess = spawn('bash', ['-c', command], { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (output += text))
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
    process.kill(-child.pid, 'SIGTERM')
    await once(child, 'exit')
  }
  t.after(stop)
  await until(`${command} listens`, () => {
    if (child.exitCode !== null) throw new Error(output)
    return output.includes(`Listening on http://0.0.0.0:${port}`)
  }, 600)
  return { port, stop }
}

// The port is the only thing that is not as it stands in the README: 8000 may be taken here.
function atPort(script: string, port: number): string {
  return script.replaceAll('localhost:8000', `127.0.0.1:${port}`).replaceAll('serve.js try', `serve.js try --url http://127.0.0.1:${port}`)
}

/** The keys of an answer, and the values that do not change from one run to the next. */
function shapeOf(text: string): unknown {
  const shape = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(shape)
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, CONSTANT.has(key) ? each : shape(each)]))
    }
    return typeof value
  }
  return shape(JSON.parse(text))
}
