import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { Directories } from '../lib/directories.ts'
import { SharedRun } from '../lib/shared-run.ts'
import { Layout } from '../lib/store/layout.ts'
import type { Receipt } from '../lib/store/receipt.ts'
import { Receipts } from '../lib/store/receipts.ts'
import { StampClock } from '../lib/store/stamp.ts'
import { checkReceipts } from './evidence.ts'
import { temporaryDirectory } from './harness.ts'

async function openReceipts(t: TestContext): Promise<{ basedir: string; receipts: Receipts }> {
  const basedir = await temporaryDirectory(t)
  const receipts = new Receipts(new Layout(basedir), new Directories(), new StampClock(), '20241101T120000.000000Z-0123abcd')
  t.after(() => receipts.close())
  return { basedir, receipts }
}

function makeReceipt(id: string, project = 'study'): Receipt {
  return { id, received_at: '2024-11-01T12:00:00.000000Z', project, token_sha256: '', fields: [], files: [] }
}

const ids = async (basedir: string, project = 'study') => (await checkReceipts(basedir, project)).map(({ id }) => id)

test('receipts that come one by one and together are one chain in one file, in the order they came', async (t) => {
  const { basedir, receipts } = await openReceipts(t)
  const names = Array.from({ length: 200 }, (_, index) => String(index))
  await receipts.append(makeReceipt('first'))
  await Promise.all(names.map((id) => receipts.append(makeReceipt(id))))
  await receipts.append(makeReceipt('last'))
  assert.deepEqual(await ids(basedir), ['first', ...names, 'last'])
  assert.equal((await readdir(join(basedir, 'receipts', 'study'))).length, 1)
})

test('more projects than files may be open keep one file and one chain each', async (t) => {
  const { basedir, receipts } = await openReceipts(t)
  const projects = Array.from({ length: 150 }, (_, index) => `p${index}`)
  for (const id of ['a', 'b', 'c']) await Promise.all(projects.map((project) => receipts.append(makeReceipt(id, project))))
  for (const project of projects) {
    assert.deepEqual(await ids(basedir, project), ['a', 'b', 'c'])
    assert.equal((await readdir(join(basedir, 'receipts', project))).length, 1)
  }
  await receipts.append(makeReceipt('d', 'p0'))
  assert.ok((await countOpen(basedir)) <= 64, 'idle files are closed')
})

// What happens to a receipts file that is closed because others were used since.
const closedRows: { name: string; harm: (file: string) => Promise<unknown>; kept: string[] }[] = [
  { name: 'stays as it is: it is gone on with', harm: async () => undefined, kept: ['a', 'b'] },
  { name: 'is removed: it does not come back empty', harm: (file) => rm(file), kept: ['b'] },
  { name: 'loses its directory: both are made anew', harm: (file) => rm(join(file, '..'), { recursive: true }), kept: ['b'] },
  { name: 'is cut: a new file is begun', harm: (file) => writeFile(file, ''), kept: ['b'] },
  { name: 'has grown: a new file is begun', harm: (file) => writeFile(file, '\n', { flag: 'a' }), kept: ['a', 'b'] },
]
for (const { name, harm, kept } of closedRows) {
  test(`a closed receipts file ${name}`, async (t) => {
    const { basedir, receipts } = await openReceipts(t)
    await receipts.append(makeReceipt('a'))
    const [file = ''] = await readdir(join(basedir, 'receipts', 'study'))
    await receipts.close()
    await harm(join(basedir, 'receipts', 'study', file))
    await receipts.append(makeReceipt('b'))
    const texts = await readAllOf(join(basedir, 'receipts', 'study'))
    const found = texts.flatMap((text) => text.split('\n')).filter((line) => line !== '')
    assert.deepEqual(found.map((line) => (JSON.parse(line) as Receipt).id), kept)
  })
}

test('a receipt that cannot be written is refused, and those after it are a chain of their own', async (t) => {
  const { basedir, receipts } = await openReceipts(t)
  await mkdir(join(basedir, 'receipts'))
  await writeFile(join(basedir, 'receipts', 'study'), 'in the way')
  const together = await Promise.allSettled(['a', 'b', 'c'].map((id) => receipts.append(makeReceipt(id))))
  assert.deepEqual(together.map(({ status }) => status), ['rejected', 'rejected', 'rejected'])
  await receipts.append(makeReceipt('a', 'other'))
  await rm(join(basedir, 'receipts', 'study'))
  await receipts.append(makeReceipt('d'))
  assert.deepEqual([await ids(basedir), await ids(basedir, 'other')], [['d'], ['a']])
})

const LONG = 'x'.repeat(70_000)
const hasRows: { name: string; lines: string[]; expected: boolean }[] = [
  { name: 'is found behind much else', lines: [...Array<string>(20).fill(`{"id":"${LONG}"}`), '{"id":"wanted"}'], expected: true },
  { name: 'is found over the edge of what is read at once', lines: [`{"id":"${'x'.repeat(65_520)}"}`, '{"id":"wanted"}'], expected: true },
  { name: 'is not a part of another', lines: ['{"id":"wanted2"}'], expected: false },
  { name: 'is not what a participant wrote', lines: [JSON.stringify({ id: 'b', fields: [{ name: 'x', value: '"id":"wanted"' }] })], expected: false },
  { name: 'is not in an empty file', lines: [], expected: false },
]
for (const { name, lines, expected } of hasRows) {
  test(`a receipt that was written ${name}`, async (t) => {
    const { basedir, receipts } = await openReceipts(t)
    await mkdir(join(basedir, 'receipts', 'study'), { recursive: true })
    await writeFile(join(basedir, 'receipts', 'study', 'other.ndjson'), lines.map((line) => `${line}\n`).join(''))
    assert.equal(await receipts.has(makeReceipt('wanted')), expected)
  })
}

test('a receipt of a project without receipts was not written', async (t) => {
  assert.equal(await (await openReceipts(t)).receipts.has(makeReceipt('wanted')), false)
})

/** A run whose work is done, or fails, when the test says so. */
function makeRun(): { run: SharedRun; began: () => number; end: (error?: Error) => Promise<void> } {
  let began = 0
  let settle: (error?: Error) => void = () => undefined
  const run = new SharedRun(() => {
    began++
    return new Promise((resolve, reject) => (settle = (error) => (error === undefined ? resolve() : reject(error))))
  })
  const end = async (error?: Error) => {
    settle(error)
    await new Promise((done) => setImmediate(done))
  }
  return { run, began: () => began, end }
}

test('who asks while work runs waits for the next run, which all of them share', async () => {
  const { run, began, end } = makeRun()
  const done: string[] = []
  const ask = (name: string) => void run.run().then(() => done.push(name), () => done.push(`${name} failed`))
  ask('a')
  await null // who asks at this moment shares its run
  assert.equal(began(), 1)
  ask('b')
  ask('c')
  assert.equal(began(), 1, 'the work that runs does not cover what came later')
  await end()
  assert.deepEqual([began(), done], [2, ['a']])
  ask('d')
  await end(new Error('disk'))
  assert.deepEqual([began(), done], [3, ['a', 'b failed', 'c failed']])
  assert.equal(run.isIdle, false)
  await end()
  assert.deepEqual([done.at(-1), run.isIdle], ['d', true])
  ask('e')
  ask('f')
  await null
  assert.equal(began(), 4, 'idle work begins in a moment, for all who ask at that one')
  await end()
  assert.deepEqual([done.slice(-2), run.isIdle, began()], [['e', 'f'], true, 4])
})

test('each who asks is covered by a run that began later, however they come', async () => {
  let asked = 0
  let covered = 0
  const run = new SharedRun(async () => {
    const seen = asked
    for (let turn = 0; turn < Math.random() * 5; turn++) await (Math.random() < 0.5 ? null : new Promise((done) => setImmediate(done)))
    covered = seen
  })
  const askers = Array.from({ length: 500 }, async () => {
    for (let turn = 0; turn < Math.random() * 60; turn++) await (Math.random() < 0.8 ? null : new Promise((done) => setImmediate(done)))
    const own = ++asked
    await run.run()
    assert.ok(covered >= own, 'covered >= own')
  })
  await Promise.all(askers)
  assert.equal(run.isIdle, true)
})

async function countOpen(basedir: string): Promise<number> {
  const links = await Promise.all((await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')))
  return links.filter((link) => link.startsWith(basedir)).length
}

async function readAllOf(directory: string): Promise<string[]> {
  const entries = (await readdir(directory)).toSorted()
  return Promise.all(entries.map((entry) => readFile(join(directory, entry), 'utf8')))
}
