import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { ROOT } from './harness.ts'

const BENCH = join(ROOT, 'test', 'bench', 'bench.ts')

function runBench(...args: string[]) {
  return spawnSync(process.execPath, ['--import', 'tsx', BENCH, ...args], { cwd: ROOT, encoding: 'utf8' })
}

const runs = [
  { scenario: 'answers-16', subjects: ['ours', 'ours-encrypting', 'sink-discard', 'sink-pipe-fsync', 'sink-hash-fsync', 'sink-calls-only', 'sink-calls-hash'] },
  { scenario: 'parser-fields', subjects: ['parser', 'indexOf', 'copy'] },
]
for (const { scenario, subjects } of runs) {
  test(`the benchmark measures ${scenario}`, () => {
    const { status, stdout, stderr } = runBench('--scenario', scenario, '--rounds', '1', '--seconds', '0.01')
    assert.equal(status, 0, stderr)
    assert.match(stdout, new RegExp(`^${scenario}: `, 'm'))
    const rows = [...stdout.matchAll(/^│ ([a-z]\S*) +│(.*)│$/gim)].map(([, subject, figures = '']) => ({ subject, figures: figures.split('│').map(Number) }))
    assert.deepEqual(rows.map((row) => row.subject), subjects, stdout)
    for (const { figures } of rows) assert.ok(figures.every(Number.isFinite), stdout)
  })
}

const refused = [
  { args: ['--scenario', 'unheard-of'], says: 'There is no scenario unheard-of. --help lists what there is.' },
  { args: ['--rounds', 'many'], says: '--rounds and --seconds are numbers above 0. --help lists what there is.' },
]
for (const { args, says } of refused) {
  test(`the benchmark refuses ${args.join(' ')}`, () => {
    const { status, stderr } = runBench(...args)
    assert.deepEqual([status, stderr], [2, `${says}\n`])
  })
}
