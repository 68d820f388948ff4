import assert from 'node:assert/strict'
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { runCommand } from './commanded.ts'
import { askToken, filesOf, needs, startServer, submitForm, temporaryDirectory } from './harness.ts'
import { activityUpload, answer, makeWav, openApp, send } from './web-app.ts'
import { checkOthers, findTexts, readTree, runVerify, runWithdraw, withdrawThrough } from './withdrawn.ts'

const CALLS = ['fsync', 'unlink', 'pwrite64'] // what the command does to the disk, but for the writing of its record: see below
const MOST_STEPS = 30

test('withdraw is killed before each of its steps, and run again it ends the same', { concurrency: CALLS.length }, async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const server = await startServer(t)
  const [x, y] = [await askToken(server, { participant_id: 'p-x' }), await askToken(server, { participant_id: 'p-y' })]
  const [ofX, ofY] = [openApp('p-x'), openApp('p-y')]
  for (const sitting of [ofX, ofY]) answer(sitting, 'voice', { say: makeWav(1000), mood: 3 })
  await send(server, y, [activityUpload(ofY, 0)])
  const gone = await send(server, x, [activityUpload(ofX, 0)])
  gone.push(await submitForm(server, [['auth_token', x], ['responses', '["of p-x"]'], ['file', makeWav(10), 'of p-x.wav']]))
  await send(server, y, [activityUpload(ofY, 0)])
  await server.stop()
  const before = await readTree(server.basedir)
  const own = new Set(gone.flatMap(filesOf).map((file) => `uploads/responses/study/${file.stored_as}`))
  const killed = CALLS.map(async (call) => {
    let steps = 0
    for (let isOver = false; !isOver; steps++) {
      assert.ok(steps < MOST_STEPS, `${call} is still called`)
      await t.test(`before ${call} ${steps + 1}`, async (t) => {
        const basedir = join(await temporaryDirectory(t), 'copy')
        await cp(server.basedir, basedir, { recursive: true })
        const ended = await withdrawThrough(basedir, 'p-x', ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `trace=${call}`, '-e', `inject=${call}:signal=SIGKILL:when=${steps + 1}`])
        isOver = ended.status === 0
        await checkOthers(basedir, before, (path) => own.has(path))
        const broken = (await runVerify(basedir)).stdout.split('\n').filter((line) => /^[A-Z ]+: /.test(line) && !/^(NOT ERASED|FAILED): /.test(line))
        assert.deepEqual(broken, [], 'verify knows only of what is not erased yet')
        const status = JSON.parse((await runCommand(['status', 'study', '--json', '--basedir', basedir])).stdout)
        assert.deepEqual([status.projects[0].lost_files, status.projects[0].unreadable_receipts], [0, 0])

        const again = await runWithdraw(basedir, 'p-x', '--yes')
        assert.equal(again.status, 0, again.stdout + again.stderr)
        assert.deepEqual(await findTexts(basedir, ['p-x', ofX.id]), [])
        await checkOthers(basedir, before, (path) => own.has(path))
        const verified = await runVerify(basedir)
        assert.equal(verified.status, 0, verified.stdout)
        assert.match(verified.stdout, /^study: 2 receipts, 2 files, .*; 2 receipts withdrawn; nothing missing/)
        assert.match((await runWithdraw(basedir, 'p-x')).stdout, /^Nothing of p-x is left in study\.$/m)
      })
    }
    t.diagnostic(`${call}: killed ${steps - 1} times`)
    assert.ok(steps > 1, `${call} is never called`)
  })
  await Promise.all(killed)
  assert.equal((await runWithdraw(server.basedir, 'p-x', '--yes')).status, 0)
  const directory = join(server.basedir, 'receipts', 'study')
  const [record = ''] = (await readdir(directory)).filter((name) => name.includes('withdrawal'))
  const text = await readFile(join(directory, record), 'utf8')
  const cut = [0, 100, text.length - 1].map((bytes) =>
    t.test(`as its record had ${bytes} bytes`, async (t) => {
      const basedir = join(await temporaryDirectory(t), 'copy')
      for (const [path, content] of before) {
        await mkdir(join(basedir, path, '..'), { recursive: true })
        await writeFile(join(basedir, path), content, 'latin1')
      }
      await writeFile(join(basedir, 'receipts', 'study', record), text.slice(0, bytes))
      assert.equal((await runVerify(basedir)).status, 0)
      assert.equal((await runCommand(['status', 'study', '--participant', 'p-x', '--basedir', basedir])).status, 0, 'nothing has gone')
      assert.equal((await runWithdraw(basedir, 'p-x', '--yes')).status, 0)
      assert.deepEqual(await findTexts(basedir, ['p-x', ofX.id]), [])
      assert.equal((await runVerify(basedir)).status, 0)
    }),
  )
  await Promise.all(cut)
})
