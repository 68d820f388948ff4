import assert from 'node:assert/strict'
import { appendFile, cp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { ExportTree } from '../lib/dataset/export-tree.ts'
import { exportAndCheck, runExport, type Exported, type Row } from './exported.ts'
import { askToken, listFiles, needs, startServer, submitForm, temporaryDirectory } from './harness.ts'
import { answer, finalZip, makeWav, openApp, send, slice, type Sitting } from './web-app.ts'

const SLICE = 3000
const CENTRAL = Buffer.from('PK\x01\x02', 'latin1')
const DIFFERS = /It differs from its receipt, which promised (\d+) bytes with the SHA-256 [0-9a-f]{64}: it has (\d+) bytes with the SHA-256 [0-9a-f]{64}\.$/

type Damage = (path: string) => Promise<void>

/** What of a base directory is changed, and what its export says of that. */
interface Case {
  readonly name: string
  /** How the stored name ends; the last file that has such a name is damaged, or the first one. */
  readonly file: string
  readonly isFirst?: boolean
  readonly damage: Damage
  /** A file that is gone besides. */
  readonly without?: string
  readonly expect: (found: { exported: Exported; sitting: Sitting; row: Row; session: Row }) => void
}

const flip: Damage = async (path) => {
  const bytes = await readFile(path)
  bytes[0] = (bytes[0] ?? 0) ^ 0x20
  await writeFile(path, bytes)
}

// The internal attributes of an entry (APPNOTE 4.4.14): no checksum of the archive tells.
const flipUnchecked: Damage = async (path) => {
  const bytes = await readFile(path)
  const at = bytes.lastIndexOf(CENTRAL) + 36
  bytes[at] = (bytes[at] ?? 0) ^ 1
  await writeFile(path, bytes)
}

const isApart = ({ exported, row, session }: { exported: Exported; row: Row; session: Row }) => {
  assert.match(row['file'] ?? '', /^incomplete\/changed\//)
  assert.equal(exported.files.filter((path) => path.endsWith(row['source'] ?? '')).length, 1, 'it is nowhere else')
  assert.ok(!exported.unassigned.some((each) => each['source'] === row['source']))
  assert.equal(session['state'], 'complete')
}

const cases: readonly Case[] = [
  { name: 'a file of any other name', file: '-notes.txt', damage: flip, expect: isApart },
  { name: 'a file that became longer', file: '-notes.txt', damage: (path) => appendFile(path, 'x'), expect: isApart },
  {
    name: 'a JSON submission',
    file: '-messages.json',
    damage: async (path) => writeFile(path, (await readFile(path, 'utf8')).replace('7', '8')),
    expect: (found) => {
      isApart(found)
      assert.equal(found.row['participant'], 'json')
      const [message] = found.exported.messages.filter((each) => each['file'] === found.row['file'])
      assert.deepEqual([message?.['participant'], message?.['note']], ['json', found.row['reason']])
    },
  },
  { name: 'a JSON submission that was cut', file: '-messages.json', damage: (path) => truncate(path, 2), expect: isApart },
  { name: 'a JSON submission of nobody', file: '-messages.json', isFirst: true, damage: flip, expect: isApart },
  {
    name: 'a slice, where every checksum of its archive holds',
    file: '.zip.001',
    isFirst: true,
    damage: flipUnchecked,
    expect: ({ exported, sitting, row, session }) => {
      assert.ok(row['file']?.startsWith(`incomplete/sessions/${sitting.id}/`) && row['file'].endsWith('.zip'), row['file'])
      assert.ok(!exported.files.includes(`archives/${sitting.id}.zip`))
      assert.equal(exported.recordings.filter((each) => each['session'] === sitting.id).length, 1, 'what it holds is there')
      assert.match(session['missing'] ?? '', /^upload \S+ as it was sent: what is stored differs from its receipt$/)
    },
  },
  {
    name: 'a slice of an upload of which another is gone',
    file: '.zip.000',
    isFirst: true,
    damage: flip,
    without: '.zip.001',
    expect: ({ row }) => assert.match(row['reason'] ?? '', /^The upload is incomplete: .* It differs/),
  },
  {
    name: 'a slice that came again, where the copy holds',
    file: '.zip.001',
    damage: flipUnchecked,
    expect: ({ exported, row, session, sitting }) => {
      assert.match(row['reason'] ?? '', /^It came under a name that has another content already\. It differs/)
      assert.equal(session['state'], 'complete')
      assert.ok(exported.files.includes(`archives/${sitting.id}.zip`))
    },
  },
]

test('what differs from its receipt is exported as such', async (t) => {
  if (!needs(t, 'python3', 'python3') || !needs(t, 'unzip', 'unzip')) return
  let server = await startServer(t)
  const [json, nobody] = [await askToken(server, { participant_id: 'json' }), await askToken(server)]
  await submitForm(server, [['responses', '[1]'], ['auth_token', nobody]])
  await submitForm(server, [['responses', '{"n": 7}'], ['auth_token', json]])
  await submitForm(server, [['file', Buffer.from('notes'), 'notes.txt'], ['file', Buffer.from('NOTES'), 'NOTES.txt'], ['auth_token', json]])
  const [once, twice] = [openApp('once'), openApp('twice')]
  for (const sitting of [once, twice]) answer(sitting, 'voice', { say: makeWav(1500), mood: 3 })
  const [onceSlices, twiceSlices] = [slice(finalZip(once), SLICE), slice(finalZip(twice), SLICE)]
  await send(server, await askToken(server), onceSlices)
  const authToken = await askToken(server)
  await send(server, authToken, twiceSlices)
  await server.stop()
  server = await startServer(t, { basedir: server.basedir })
  await send(server, authToken, twiceSlices.slice(-1))
  const stored = join('uploads', 'responses', 'study')
  const names = await listFiles(join(server.basedir, stored))
  for (const { name, file, isFirst = false, damage, without, expect } of cases) {
    await t.test(name, async (t) => {
      const sitting = file.startsWith('.zip') && !isFirst ? twice : once
      const own = file.startsWith('.zip') ? names.filter((each) => each.includes(`-${sitting.uid}.zip`)) : names
      const title = own.filter((each) => each.endsWith(file)).at(file.startsWith('.zip') || isFirst ? 0 : -1) ?? ''
      const directory = await temporaryDirectory(t)
      const basedir = join(directory, 'base')
      await cp(server.basedir, basedir, { recursive: true })
      await damage(join(basedir, stored, title))
      for (const each of own.filter((each) => without !== undefined && each.endsWith(without))) await rm(join(basedir, stored, each))
      const exported = await exportAndCheck(basedir, join(directory, 'out'))
      const rows = exported.incomplete.filter((each) => DIFFERS.test(each['reason'] ?? ''))
      assert.equal(rows.length, 1, JSON.stringify(exported.incomplete))
      const [row = {}] = rows
      const [, promised, found] = DIFFERS.exec(row['reason'] ?? '') ?? []
      const sizes = await Promise.all([server.basedir, basedir].map(async (each) => (await readFile(join(each, stored, title))).length))
      assert.deepEqual([Number(promised), Number(found)], sizes)
      expect({ exported, sitting, row, session: exported.sessions.find((each) => each['session'] === sitting.id) ?? {} })
      await rm(join(exported.out, 'SHA256SUMS'))
      const { status, stdout } = await runExport(basedir, exported.out, '--resume')
      assert.equal(status, 0, stdout)
      assert.match(stdout, /^WARNING: 1 file of study differs from its receipt, and is set aside: incomplete\/reasons\.csv says which, and how\./m)
      assert.deepEqual(await listFiles(exported.out), exported.files, 'the same when it is run again')
    })
  }
  await t.test('nothing, where nothing was changed', async (t) => {
    const { status, stdout } = await runExport(server.basedir, join(await temporaryDirectory(t), 'out'))
    assert.equal(status, 0)
    assert.doesNotMatch(stdout, /WARNING/)
  })
})

test('what goes to another path leaves the one that it was to have to nobody, also when it is run again', async (t) => {
  const root = await temporaryDirectory(t)
  for (let run = 1; run <= 2; run++) {
    const tree = new ExportTree(root, () => undefined, () => undefined)
    await tree.open()
    const paths = []
    for (const content of ['changed', 'whole', 'changed too']) {
      const other = content === 'whole' ? undefined : 'aside/a.txt'
      paths.push((await tree.write('files/a.txt', [Buffer.from(content)], () => other)).path)
    }
    await tree.settle()
    await tree.close()
    assert.deepEqual(paths, ['aside/a.txt', 'files/a-2.txt', 'aside/a-2.txt'], `run ${run}`)
    assert.deepEqual(await listFiles(root), paths.toSorted())
  }
})
