import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { after, ROOT, temporaryDirectory, until } from './harness.ts'

/** The lines of the `console` blocks of a text of the README. */
export function linesOf(text: string): string[] {
  return [...text.matchAll(/^```console\n([^]*?)^```$/gm)].flatMap(([, block = '']) => block.trim().split('\n'))
}

/** A VM that is a directory of this machine, with a clone of the repository beside it. */
export interface Machine {
  readonly root: string
  readonly environment: Readonly<Record<string, string>>
  /** Runs lines of the README and throws where one fails. */
  readonly run: (lines: readonly string[], cwd?: string) => void
  /** What a program that is set aside was called with. */
  readonly noted: (program: string) => string[]
}

// As ssh(1) hands a command to the shell of the other machine; there its directories are. `rsync` calls it with `-l root`.
const SSH = `#!/bin/bash
if [ "$1" = -l ]; then user=$2@; shift 2; fi
echo "$user$1" >> "ROOT/ssh.noted"; shift
exec sh -c "$(sed -E 's#(^|[[:blank:]])/(etc|var/lib)/#\\1ROOT/\\2/#g' <<< "$*")"
`

/**
 * Makes one. What belongs to the machine is set aside: `apt-get`, `systemctl` and `scp` are noted. `ssh` is noted, and runs
 * its command here, with the directories of the VM in the place of this machine's.
 */
export async function prepareMachine(t: TestContext): Promise<Machine> {
  const root = realpathSync(await temporaryDirectory(t))
  for (const directory of ['etc/systemd/system', 'etc/caddy', 'var/lib', 'usr/local/bin', 'stubs', 'clone', 'old']) mkdirSync(join(root, directory), { recursive: true })
  const note = (program: string) => `#!/bin/sh\necho "$*" >> ${root}/${program}.noted\n`
  const stubs = { ...Object.fromEntries(['apt-get', 'systemctl', 'scp'].map((program) => [program, note(program)])), ssh: SSH.replaceAll('ROOT', root) }
  for (const [program, text] of Object.entries(stubs)) {
    writeFileSync(join(root, 'stubs', program), text)
    chmodSync(join(root, 'stubs', program), 0o755)
  }
  for (const name of ['package.json', 'README.md', 'dist', 'deploy']) await cp(join(ROOT, name), join(root, 'clone', name), { recursive: true })
  const environment = {
    PATH: `${root}/stubs:${root}/usr/local/bin:${process.env['PATH'] ?? ''}`,
    HOME: root,
    npm_config_prefix: join(root, 'usr/local'),
    npm_config_registry: 'http://127.0.0.1:9/', // nobody answers there
    npm_config_offline: 'true',
    npm_config_update_notifier: 'false',
  }
  const run = (lines: readonly string[], cwd = join(root, 'clone')) => {
    const script = lines.join('\n').replaceAll('root@backup.example.org:', '').replaceAll(/(?<![\w./])\/(etc|var\/lib|srv)\//g, `${root}/$1/`)
    const { status, stdout, stderr } = spawnSync('bash', ['-euxc', script], { cwd, encoding: 'utf8', env: environment })
    assert.equal(status, 0, `${stdout}\n${stderr}`)
  }
  const noted = (program: string) => readFileSync(join(root, `${program}.noted`), 'utf8').trim().split('\n')
  return { root, environment, run, noted }
}

/** A server that was started as the unit says. */
export interface Served {
  readonly url: string
  readonly stop: () => Promise<void>
}

/**
 * Starts what `ExecStart` names with the environment that the unit sets.
 * @param lab what the lab's file of settings sets
 */
export async function serveAsUnit(t: TestContext, { root, environment }: Machine, lab: Readonly<Record<string, string>> = {}): Promise<Served> {
  const unit = readFileSync(join(root, 'etc/systemd/system/reproschema-backend.service'), 'utf8')
  const paths = (text: string) => text.replaceAll('%S', join(root, 'var/lib')).replaceAll('%d', join(root, 'etc/reproschema-backend'))
  const settings = Object.fromEntries([...unit.matchAll(/^Environment=(\w+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, paths(value)]))
  const [command = '', ...args] = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? []
  const child = spawn(command, args, { cwd: root, env: { ...environment, ...settings, ...lab, HOST: '127.0.0.1', PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] })
  after(t, () => child.kill('SIGKILL'))
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  await until('it listens', () => /^Listening on (.*)$/m.test(output))
  assert.doesNotMatch(output, /TOKEN=/)
  const stop = async () => {
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await ended
  }
  return { url: /^Listening on (.*)$/m.exec(output)?.[1] ?? '', stop }
}
