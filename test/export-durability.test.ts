import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { listFiles, needs, PROGRAM, temporaryDirectory } from './harness.ts'
import { ONLY_TRACED, parseTrace, type Call } from './trace.ts'
import { answer, finalZip, makeWav, openApp, slice } from './web-app.ts'

const SESSIONS = 40 // with their files they are more than are synced at once

// A kill shows no missing sync: the calls are looked at.
test('no file of an export has its name before it is synced, and SHA256SUMS comes after all others are durable', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const directory = await temporaryDirectory(t)
  const stored = join(directory, 'base', 'uploads', 'responses', 'study')
  await mkdir(stored, { recursive: true })
  for (let number = 0; number < SESSIONS; number++) {
    const sitting = openApp(`p${number}`)
    answer(sitting, 'voice', { say: makeWav(100) })
    for (const { name, content } of slice(finalZip(sitting))) await writeFile(join(stored, `20240101T0000${10 + number}.000000Z-${name}`), content)
  }
  const [out, trace] = [join(directory, 'new', 'out'), join(directory, 'trace')]
  const calls = 'trace=openat,write,writev,fsync,link,linkat,rename,mkdir'
  const run = spawnSync('strace', ['-f', ONLY_TRACED, '-y', '-s', '200', '-e', calls, '-o', trace, process.execPath, PROGRAM, 'export', 'study', out, '--basedir', join(directory, 'base')])
  assert.equal(run.status, 0, run.stderr.toString())
  const made = parseTrace(await readFile(trace, 'utf8')).filter(({ result }) => !result.startsWith('-1'))
  const all = (name: RegExp, path: RegExp) => made.filter((call) => name.test(call.name) && path.test(call.paths[0] ?? ''))
  const links = all(/^link/, /\.unfinished\/\d+$/)
  const placed = links.map((call) => call.paths.at(-1)?.slice(out.length + 1)).toSorted()
  assert.deepEqual(placed, (await listFiles(out)).filter((path) => path !== '.export.json'))
  const last = (found: readonly Call[]) => Math.max(...found.map(({ ended }) => ended))
  for (const link of links) {
    const [unfinished = ''] = link.paths
    const path = new RegExp(`${unfinished.replaceAll('.', '\\.')}$`)
    const [written, synced] = [all(/^write/, path), all(/^fsync$/, path)]
    assert.equal(synced.length, 1, unfinished)
    assert.ok(last(written) < (synced[0]?.began ?? 0), `${unfinished} is written before it is synced`)
    assert.ok((synced[0]?.ended ?? Infinity) < link.began, `${unfinished} is synced before it has its name`)
  }
  const sums = links.find((link) => link.paths.at(-1)?.endsWith('/SHA256SUMS'))
  for (const each of links.filter((link) => link !== sums)) {
    const parent = join(each.paths.at(-1) ?? '', '..')
    const syncs = made.filter(({ name, paths }) => name === 'fsync' && paths[0] === parent)
    assert.ok(syncs.some(({ began, ended }) => began > each.ended && ended < (sums?.began ?? 0)), `the name of ${each.paths.at(-1)} is durable before SHA256SUMS is there`)
  }
  for (const { paths } of made.filter(({ name, paths }) => name === 'mkdir' && !paths[0]?.endsWith('.unfinished'))) {
    const parent = join(paths[0] ?? '', '..')
    assert.ok(made.some(({ name, paths }) => name === 'fsync' && paths[0] === parent), `the name of ${paths[0]} is synced`)
  }
  const ends = made.filter(({ name, paths }) => name === 'fsync' && paths[0] === out)
  assert.ok(last(ends) > (sums?.ended ?? Infinity), 'the name of SHA256SUMS is synced')
})
