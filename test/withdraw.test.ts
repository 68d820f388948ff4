import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, chown, cp, link, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { formatIdentity, newIdentity } from '../lib/crypt/keys.ts'
import { findLastSubmission } from '../lib/dataset/last-submission.ts'
import { formatIntent } from '../lib/store/intent.ts'
import { Layout } from '../lib/store/layout.ts'
import { describeSelf } from '../lib/store/owner.ts'
import { runCommand } from './commanded.ts'
import { issueToken, startEncrypting } from './encrypting.ts'
import { listProject, listStaged } from './evidence.ts'
import { runExport } from './exported.ts'
import { askToken, filesOf, listFiles, needs, runAside, runProgram, startServer, submitForm, temporaryDirectory, until, wholeFile, type Answer, type Entry, type Running } from './harness.ts'
import { asOtherUser, OTHER_USER } from './other-user.ts'
import { sha256Of } from './sha256.ts'
import { askRecorded, numberOf, ONLY_TRACED, startTraced, type Call } from './trace.ts'
import { activityUpload, answer, finalZip, makeWav, openApp, send, slice } from './web-app.ts'
import { checkOthers, findTexts, readTree, runVerify, runWithdraw, withdrawThrough } from './withdrawn.ts'
import { writeZip } from './zip-writer.ts'

const file = wholeFile()
const NOTHING = /^Nothing of p-x is left in study\.$/m
const mood = Buffer.from('[{"mood":"of p-x"}]')

/** A study with what two participants sent, one of them with a token that was issued for nobody too. */
async function fill(server: Running) {
  const [x, y, nobody] = [await askToken(server, { participant_id: 'p-x' }), await askToken(server, { participant_id: 'p-y' }), await askToken(server)]
  const [ofX, ofY] = [openApp('p-x'), openApp('p-y')]
  answer(ofX, 'voice', { say: makeWav(4000, 16_000, 7), mood: 3 })
  answer(ofY, 'voice', { say: makeWav(4000), mood: 4 })
  const kept: Answer[] = []
  const gone: Answer[] = []
  kept.push(...(await send(server, y, [activityUpload(ofY, 0)])))
  gone.push(...(await send(server, x, [activityUpload(ofX, 0)])))
  const slices = slice(finalZip(ofX), 5000)
  gone.push(...(await send(server, nobody, slices)), ...(await send(server, nobody, slices.slice(0, 1)))) // one came again
  kept.push(...(await send(server, y, [finalZip(ofY)])))
  gone.push(await submitForm(server, [['auth_token', x], ['responses', String(mood)], ['note', 'words of p-x']]))
  return { x, y, nobody, ofX, ofY, kept, gone }
}

const namesOf = (answers: readonly Answer[]) => answers.flatMap(filesOf).map((file) => file.stored_as)
const tokenFile = (token: string) => join('tokens', `${sha256Of(token)}.json`)

// A submission of p-x is held up at one call to the disk, and p-x withdraws meanwhile.
const FILE: readonly Entry[] = [['file', mood, 'a.json']]
const WORDS: readonly Entry[] = [['note', 'words of p-x']]
const hasEntries = (path: string) => async (basedir: string) => (await listFiles(join(basedir, path)).catch(() => [])).some((name) => !name.endsWith('owner.json'))
const slowRows: { name: string; form: readonly Entry[]; isSlow: (call: Call) => boolean; isHeldUp: (basedir: string) => Promise<boolean>; status: number }[] = [
  { name: 'a file is not durable yet', form: FILE, isSlow: ({ name, paths }) => name === 'fsync' && paths[0]?.endsWith('/0.part') === true, isHeldUp: hasEntries('uploads/staging'), status: 403 },
  { name: 'a file is being given its second name', form: FILE, isSlow: ({ name }) => name === 'link', isHeldUp: hasEntries('uploads/staging'), status: 403 },
  { name: 'the second name of a file is not durable yet', form: FILE, isSlow: ({ name, paths }) => name === 'fsync' && paths[0]?.endsWith('/responses/study') === true, isHeldUp: hasEntries('uploads/responses/study'), status: 403 },
  { name: 'texts alone wait for a receipts file', form: WORDS, isSlow: ({ name, paths }) => name === 'fsync' && paths[0]?.endsWith('/receipts') === true, isHeldUp: async (basedir) => (await readdir(join(basedir, 'receipts'))).includes('study'), status: 403 },
  { name: 'a receipt is not durable yet', form: FILE, isSlow: ({ name, paths }) => name === 'fsync' && paths[0]?.endsWith('.ndjson') === true && paths[0].includes('/receipts/'), isHeldUp: hasEntries('receipts/study'), status: 200 },
]

const calls = new Map<readonly Entry[], Promise<Call[]>>()

/** The calls of a server that takes in a form while nothing holds it up; it is run once for each form. */
function callsOf(t: TestContext, form: readonly Entry[], submit: (server: Running) => Promise<Answer>): Promise<Call[]> {
  const known = calls.get(form)
  if (known !== undefined) return known
  const traced = startTraced(t).then(async (server) => {
    await submit(server)
    return server.calls()
  })
  calls.set(form, traced)
  return traced
}

// A withdrawal waits until what was let in before it is stored: several wait at the same time.
describe('withdraw', { concurrency: 4 }, () => {
  for (const { name, form, isSlow, isHeldUp, status } of slowRows) {
    test(`nothing of a submission stays that the disk holds up while ${name}`, async (t) => {
      if (!needs(t, 'strace', 'strace')) return
      const submit = async (server: Running) => submitForm(server, [['auth_token', await askRecorded(server, { participant_id: 'p-x' })], ...form])
      const calls = await callsOf(t, form, submit)
      const slow = calls.find(isSlow)
      assert.ok(slow !== undefined)
      const server = await startTraced(t, `${slow.name}:delay_enter=5000000:when=${numberOf(calls, slow)}`)
      const answered = submit(server)
      await until('it is held up', () => isHeldUp(server.basedir))
      const { stdout } = await runCommand(['withdraw', 'study', '--participant=p-x', '--yes', `--basedir=${server.basedir}`])
      assert.match(stdout, status === 200 ? /^Erased: 1 receipt, 1 file /m : /^Erased: 0 receipts, 0 files /m)
      assert.equal((await answered).status, status)
      assert.deepEqual([...(await listProject(server.basedir, 'study')), ...(await listStaged(server.basedir))], [])
      assert.deepEqual(await findTexts(server.basedir, ['p-x']), [])
    })
  }

  test('a participant withdraws while the server runs', async (t) => {
    const server = await startServer(t)
    const { basedir } = server
    const { x, y, ofX, ofY, kept, gone } = await fill(server)
    const before = await readTree(basedir)
    const own = new Set(namesOf(gone))

    await t.test('without --yes it shows what would go, and changes nothing', async () => {
      const shown = await runWithdraw(basedir, 'p-x')
      assert.equal(shown.status, 0, shown.stderr)
      for (const name of own) assert.ok(shown.stdout.includes(name), `${name} is not shown`)
      for (const name of namesOf(kept)) assert.ok(!shown.stdout.includes(name), `${name} is shown`)
      assert.match(shown.stdout, new RegExp(`^token +${sha256Of(x).slice(0, 8)} +good$`, 'm'))
      assert.match(shown.stdout, /^answers .*-messages\.json +19 bytes$/m)
      assert.match(shown.stdout, /^Nothing was changed\. To erase 5 receipts, 4 files \([\d.]+ kB\) and 1 token of p-x for ever: withdraw study --basedir \/\S+ --participant p-x --yes\n$/m)
      assert.deepEqual(await readTree(basedir), before)
    })
    await t.test('--json says it to a program', async () => {
      const told = JSON.parse((await runWithdraw(basedir, ' p-x ', '--json')).stdout)
      assert.deepEqual([told.project, told.participant, told.erased, told.staying, told.conflicts, told.staged_files], ['study', 'p-x', false, [], [], 0])
      assert.deepEqual(told.files.map((file: { stored_as: string }) => file.stored_as).toSorted(), [...own].toSorted())
      assert.deepEqual([told.receipts.length, told.tokens], [5, [sha256Of(x)]])
      assert.deepEqual(await readTree(basedir), before)
    })
    await t.test('with --yes it goes, and nothing of others', async () => {
      const done = await runAside(['withdraw', 'study', '--basedir', basedir, '--participant', 'p-x', '--yes'])
      assert.equal(done.status, 0, done.stdout + done.stderr)
      assert.match(done.stdout, /^Erased: 5 receipts, 4 files \([\d.]+ kB\) and 1 token of p-x\./m)
      assert.deepEqual(await findTexts(basedir, ['p-x', mood, 'of p-x', ofX.id, sha256Of(mood), sha256Of(x), ...own]), [])
      await checkOthers(basedir, before, (path) => own.has(path.split('/').at(-1) ?? ''))
      const [entry = '', ...others] = (await listFiles(join(basedir, 'receipts', 'study'))).filter((name) => name.endsWith('-withdrawal.ndjson'))
      assert.deepEqual(others, [])
      const { receipts, files } = JSON.parse(await readFile(join(basedir, 'receipts', 'study', entry), 'utf8'))
      assert.equal(receipts.length, 5)
      const expected = gone.flatMap((each) => (each.json['repeated'] === true ? [] : filesOf(each).map((file) => ({ name_sha256: sha256Of(file.stored_as), sha256: sha256Of(`${each.json['id']}\n${file.sha256}`) }))))
      assert.deepEqual(files.toSorted(byName), expected.toSorted(byName))
    })
    await t.test('its token is refused, and the server goes on in the same file', async () => {
      assert.equal((await submitForm(server, [['auth_token', x], ['responses', '[1]']])).json['code'], 'unauthorized_token')
      kept.push(...(await send(server, y, [activityUpload(ofY, 0)])))
      assert.equal((await readdir(join(basedir, 'receipts', 'study'))).length, 2)
    })
    await t.test('verify knows the gap; status and export know nothing of it', async (t) => {
      const verified = await runVerify(basedir)
      assert.equal(verified.status, 0, verified.stdout)
      assert.match(verified.stdout, /^study: 3 receipts, 3 files, .*; 5 receipts withdrawn; nothing missing or changed\n/)
      assert.equal((await runCommand(['status', 'study', '--participant', 'p-x', '--basedir', basedir])).status, 1)
      const { projects } = JSON.parse((await runCommand(['status', 'study', '--json', '--basedir', basedir])).stdout)
      assert.deepEqual([projects[0].sessions, projects[0].participants, projects[0].lost_files, projects[0].unreadable_receipts], [1, 1, 0, 0])
      const out = join(await temporaryDirectory(t), 'out')
      assert.equal((await runExport(basedir, out)).status, 0)
      assert.deepEqual(await findTexts(out, ['p-x', ofX.id]), [])
    })
    await t.test('again, it says that nothing is left', async () => {
      const now = await readTree(basedir)
      for (const args of [[], ['--yes']]) {
        const again = await runWithdraw(basedir, 'p-x', ...args)
        assert.equal(again.status, 0)
        assert.match(again.stdout, NOTHING)
      }
      assert.deepEqual(await readTree(basedir), now)
    })
    await server.stop()
    for (const each of kept) await checkFiles(basedir, each)
  })

  function byName(a: { name_sha256: string }, b: { name_sha256: string }): number {
    return a.name_sha256 < b.name_sha256 ? -1 : 1
  }

  async function checkFiles(basedir: string, answered: Answer): Promise<void> {
    for (const { stored_as: storedAs, sha256: expected } of filesOf(answered)) {
      assert.equal(sha256Of(await readFile(join(basedir, 'uploads', 'responses', 'study', storedAs))), expected, storedAs)
    }
  }

  test('what others send meanwhile is kept, and what the participant still sends goes too', async (t) => {
    const server = await startServer(t)
    const { y, x, ofX, nobody } = await fill(server)
    let isOver = false
    const withdrawing = runWithdraw(server.basedir, 'p-x', '--yes').finally(() => (isOver = true))
    const answers: Answer[] = []
    for (let number = 0; !isOver; number++) {
      const own = submitForm(server, [['auth_token', number % 2 === 0 || number > 20 ? x : nobody], ['file', makeWav(10), activityUpload(ofX, 0).name]])
      answers.push(await submitForm(server, [['auth_token', y], ['file', makeWav(number), `${number}.wav`], ['responses', `[${number}]`]]))
      assert.ok([200, 403].includes((await own).status), 'it is stored or refused')
    }
    const done = await withdrawing
    assert.equal(done.status, 0, done.stdout + done.stderr)
    assert.ok(answers.every(({ status }) => status === 200), 'others are not refused')
    await server.stop()
    assert.equal((await runWithdraw(server.basedir, 'p-x', '--yes')).status, 0)
    assert.deepEqual(await findTexts(server.basedir, ['p-x', ofX.id]), [])
    const verified = await runVerify(server.basedir)
    assert.equal(verified.status, 0, verified.stdout)
    for (const each of answers) await checkFiles(server.basedir, each)
  })

  let whole: ReturnType<typeof makeWhole> | undefined

  async function makeWhole() {
    const server = await startServer(file)
    const filled = await fill(server)
    await server.stop()
    return { server, ...filled }
  }

  /** A copy of a filled study whose server has stopped. */
  async function makeCopy(t: TestContext) {
    const { server, ...filled } = await (whole ??= makeWhole())
    const basedir = await temporaryDirectory(t)
    await cp(server.basedir, basedir, { recursive: true })
    const [receipts = ''] = await listFiles(join(basedir, 'receipts', 'study'))
    return { ...filled, basedir, receipts: join(basedir, 'receipts', 'study', receipts), responses: join(basedir, 'uploads', 'responses', 'study') }
  }

  type Copy = Awaited<ReturnType<typeof makeCopy>>

  const editLine = async ({ receipts }: Copy, number: number, edit: (line: string) => string) => {
    const lines = (await readFile(receipts, 'utf8')).split('\n')
    await writeFile(receipts, lines.with(number - 1, edit(lines[number - 1] ?? '')).join('\n'))
  }
  const entryOf = async ({ receipts }: Copy) => join(receipts, '..', (await readdir(join(receipts, '..'))).find((name) => name.includes('withdrawal')) ?? '')
  const LINE = 2 // of the first submission of p-x

  const damages: { name: string; damage: (copy: Copy, before: ReadonlyMap<string, string>) => Promise<void>; says: RegExp; heals: boolean }[] = [
    { name: 'a record of the withdrawal that was removed', damage: async (copy) => rm(await entryOf(copy)), says: /^NOT VOUCHED FOR: .*: line 2 says that it was withdrawn/m, heals: false },
    { name: 'a receipt of another that was made to look withdrawn', damage: (copy) => editLine(copy, 1, (line) => JSON.stringify({ withdrawn: sha256Of(line), previous: null }).padEnd(line.length)), says: /^NOT VOUCHED FOR: .*: line 1 says/m, heals: false },
    { name: 'a tombstone with another hash', damage: (copy) => editLine(copy, LINE, (line) => line.replace(/"withdrawn":"[0-9a-f]{8}/, '"withdrawn":"00000000')), says: /^NOT ERASED: .*: line 2: /m, heals: false },
    { name: 'a record that was changed', damage: async (copy) => writeFile(await entryOf(copy), (await readFile(await entryOf(copy), 'utf8')).replace('"project":"study"', '"project":"other"')), says: /^UNREADABLE: receipts\/study\/.*-withdrawal\.ndjson/m, heals: false },
    { name: 'a receipt that came back, as from a backup', damage: (copy, before) => editLine(copy, LINE, () => lineBefore(copy, before, LINE)), says: /^NOT ERASED: .*: line 2: a participant has withdrawn it/m, heals: true },
    { name: 'a receipt of which half was overwritten as the power was cut', damage: (copy, before) => editLine(copy, LINE, (line) => line.slice(0, 200) + lineBefore(copy, before, LINE).slice(200)), says: /^NOT ERASED: .*: line 2: /m, heals: true },
    {
      name: 'files that came back, as a backup has them',
      damage: async ({ gone, responses }, before) => {
        for (const name of namesOf(gone)) await writeFile(join(responses, name), before.get(`uploads/responses/study/${name}`) ?? '', 'latin1')
      },
      says: /^NOT ERASED: uploads\/responses\/study\/.*-messages\.json: /m,
      heals: true,
    },
  ]

  function lineBefore({ receipts, basedir }: Copy, before: ReadonlyMap<string, string>, number: number): string {
    return before.get(receipts.slice(basedir.length + 1))?.split('\n')[number - 1] ?? ''
  }

  test('a withdrawal that is not what it says is told, and run again it is ended', { concurrency: damages.length }, async (t) => {
    const copy = await makeCopy(t)
    const before = await readTree(copy.basedir)
    assert.equal((await runWithdraw(copy.basedir, 'p-x', '--yes')).status, 0)
    const rows = damages.map(({ name, damage, says, heals }) =>
      t.test(name, async (t) => {
        const basedir = join(await temporaryDirectory(t), 'copy')
        await cp(copy.basedir, basedir, { recursive: true })
        const inCopy = (path: string) => path.replace(copy.basedir, basedir)
        await damage({ ...copy, basedir, receipts: inCopy(copy.receipts), responses: inCopy(copy.responses) }, before)
        const verified = await runVerify(basedir)
        assert.equal(verified.status, 1, verified.stdout)
        assert.match(verified.stdout, says)
        if (heals) assert.doesNotMatch(verified.stdout, /BROKEN CHAIN/)
        assert.equal((await runCommand(['status', 'study', '--participant', 'p-x', '--basedir', basedir])).status, 1, 'status shows it')
        if (heals) assert.match((await runWithdraw(basedir, 'p-x')).stdout, /^Nothing was changed\. To erase what was left: withdraw study --basedir \/\S+ --participant p-x --yes$/m)
        await runWithdraw(basedir, 'p-x', '--yes')
        assert.equal((await runVerify(basedir)).status, heals ? 0 : 1)
        if (heals) assert.deepEqual(await findTexts(basedir, ['p-x', copy.ofX.id]), [])
        await checkOthers(basedir, name.startsWith('a receipt of another') ? new Map() : before, (path) => namesOf(copy.gone).includes(path.split('/').at(-1) ?? ''))
      }),
    )
    await Promise.all(rows)
  })

  test('what others have a part in is told, and stays', async (t) => {
    const server = await startServer(t)
    const [x, y, nobody] = [await askToken(server, { participant_id: 'p-x' }), await askToken(server, { participant_id: 'p-y' }), await askToken(server)]
    const [ofX, ofY] = [openApp('p-x'), openApp('p-y')]
    answer(ofX, 'first', { mood: 1 })
    answer(ofY, 'first', { mood: 2 })
    await send(server, y, [activityUpload(ofY, 0)])
    await send(server, x, [activityUpload(ofX, 0)])
    const both = JSON.stringify([ofX, ofY].flatMap(({ activities }) => activities.flatMap(({ given }) => given.flatMap(({ elements }) => elements))))
    const uuid = '00000000-0000-4000-8000-000000000001'
    const shared = await send(server, nobody, [{ name: `${uuid}-p-x.zip`, content: writeZip([{ name: `${uuid}-p-x/activity_0.jsonld`, content: both }]) }])
    const saidByY = openApp('p-y')
    answer(saidByY, 'who', { participant_id: 'p-x' })
    const named = await send(server, y, [finalZip(saidByY)])
    const asZ = { ...ofX, uid: 'p-z' }
    await send(server, x, [activityUpload(asZ, 0)]) // a token of p-x with the link of p-z: from now on p-z is taken for p-x
    const mistaken = await send(server, nobody, [finalZip(asZ)])
    const second = openApp('p-x') // a page that was loaded anew, for somebody else
    answer(second, 'who', { participant_id: 'p-w' })
    const elements = [ofX, second].flatMap(({ activities }) => activities.flatMap(({ given }) => given.flatMap((each) => each.elements)))
    const anew = await send(server, x, [{ name: `${uuid.replace(/1$/, '2')}-p-x.zip`, content: writeZip([{ name: 'x/activity_0.jsonld', content: JSON.stringify(elements) }]) }])
    const kept = [...shared, ...named, ...mistaken, ...anew]
    const first = await submitForm(server, [['auth_token', x], ['file', Buffer.from('once'), 'once.bin']])
    const [twice] = await send(server, x, [finalZip(ofX)])
    await server.stop()
    const [receipts = ''] = await listFiles(join(server.basedir, 'receipts', 'study'))
    const path = join(server.basedir, 'receipts', 'study', receipts)
    const text = await readFile(path, 'utf8')
    const repeat = { ...JSON.parse(text.split('\n')[0] ?? ''), id: 'f'.repeat(32), files: [], repeats: first.json['id'], previous: sha256Of(text.split('\n').at(-2) ?? '') }
    const lines = [JSON.stringify(repeat)]
    lines.push(JSON.stringify({ ...repeat, id: 'e'.repeat(32), received_at: twice?.json['received_at'], repeats: undefined, files: twice?.json['files'], previous: sha256Of(lines[0] ?? '') }).replaceAll('"name":', '"field":"file","name":'))
    await writeFile(path, `${text}${lines.join('\n')}\n`)

    const shown = await runWithdraw(server.basedir, 'p-x')
    assert.equal(shown.status, 0, shown.stderr)
    assert.equal(shown.stdout.match(/^stays: /gm)?.length, 7, shown.stdout)
    const reasons = [/shared with p-y/, /came with the token of p-y, and names p-x/, /shared with p-z/, /shared with .*p-w/]
    for (const [index, reason] of reasons.entries()) {
      const line = shown.stdout.split('\n').find((each) => each.startsWith('stays: ') && each.includes(namesOf(kept)[index] ?? '?'))
      assert.match(line ?? shown.stdout, reason)
    }
    assert.match(shown.stdout, /^stays: .*once\.bin: It came again with the token of somebody else/m)
    assert.match(shown.stdout, /^stays: .*\.zip: (?:A receipt of somebody else promises it too|It is shared with p-y\.\nstays: .* It came with the token of p-y)/m)
    const done = await runWithdraw(server.basedir, 'p-x', '--yes')
    assert.equal(done.status, 1, done.stdout)
    assert.match(done.stdout, /^Erased: 2 receipts, 2 files /m)
    assert.equal((await runVerify(server.basedir)).status, 0)
    for (const each of [...kept, first, ...(twice === undefined ? [] : [twice])]) await checkFiles(server.basedir, each)
    const again = await runWithdraw(server.basedir, 'p-x', '--yes')
    assert.equal(again.status, 1)
    assert.match(again.stdout, /^Nothing that is known to be of p-x alone is left in study\./m)
  })

  test('what a server that died had begun does not come back', async (t) => {
    const copy = await makeCopy(t)
    const { basedir, responses, gone, kept } = copy
    const receiptOf = async (text: string) => JSON.parse((await readFile(copy.receipts, 'utf8')).split('\n').find((line) => line.includes(text)) ?? '')
    const staging = join(basedir, 'uploads', 'staging', '20241101T120000.000000Z-0000dead')
    await mkdir(staging, { recursive: true })
    await writeFile(join(staging, 'owner.json'), JSON.stringify({ ...describeSelf(), pid: 2 ** 22 + 1 }))
    const [published = ''] = namesOf(gone) // and its note not removed yet
    const { previous: _, ...receipt } = await receiptOf(published)
    const alive = join(basedir, 'uploads', 'staging', '20241101T120000.000000Z-0000feed') // of a server that runs: this test
    await mkdir(alive)
    await writeFile(join(alive, 'owner.json'), JSON.stringify(describeSelf()))
    for (const directory of [staging, alive]) {
      await link(join(responses, published), join(directory, '0.part'))
      await writeFile(join(directory, '0.intent.json'), formatIntent({ receipt, staged: ['0.part'] }))
    }
    await link(join(responses, namesOf(gone)[1] ?? ''), join(alive, '1.part')) // without a note: one name needs none
    const begun = { ...receipt, id: 'b'.repeat(32), received_at: '2024-11-01T12:00:00.000001Z', files: [{ ...receipt.files[0], stored_as: '20241101T120000.000001Z-begun of p-x.wav', bytes: 3, sha256: sha256Of('abc') }] }
    await writeFile(join(staging, '1.part'), 'abc')
    await writeFile(join(staging, '1.intent.json'), formatIntent({ receipt: begun, staged: ['1.part'] }))
    await link(join(staging, '1.part'), join(responses, begun.files[0].stored_as))
    const ofOther = { ...begun, id: 'c'.repeat(32), received_at: '2024-11-01T12:00:00.000002Z', participant: 'p-y', files: [{ ...begun.files[0], name: 'other.wav', stored_as: '20241101T120000.000002Z-other.wav' }] }
    await writeFile(join(staging, '2.part'), 'abc')
    await writeFile(join(staging, '2.intent.json'), formatIntent({ receipt: ofOther, staged: ['2.part'] }))

    const shown = await runWithdraw(basedir, 'p-x')
    assert.match(shown.stdout, /^unfinished +submission of 1 file, never answered$/m)
    assert.match(shown.stdout, /^\d files in uploads\/staging, of whom is not known/m)
    const done = await runWithdraw(basedir, 'p-x', '--yes')
    assert.equal(done.status, 0, done.stdout + done.stderr)
    assert.deepEqual((await listFiles(staging)).toSorted(), ['2.intent.json', '2.part', 'owner.json'])
    assert.deepEqual(await listFiles(alive), ['owner.json'])
    const server = await startServer(t, { basedir })
    await until('what another had begun is completed', async () => (await readdir(responses)).includes(ofOther.files[0].stored_as))
    await server.stop()
    assert.deepEqual(await findTexts(basedir, ['p-x']), [])
    assert.equal((await runVerify(basedir)).status, 0)
    for (const each of kept) await checkFiles(basedir, each)
  })

  test('an export that began before the withdrawal is not resumed', async (t) => {
    const { basedir } = await makeCopy(t)
    const directory = await temporaryDirectory(t)
    const [before, after] = [join(directory, 'before'), join(directory, 'after')]
    assert.equal((await runExport(basedir, before)).status, 0)
    assert.equal((await runWithdraw(basedir, 'p-x', '--yes')).status, 0)
    const resumed = await runExport(basedir, before, '--resume')
    assert.equal(resumed.status, 2)
    assert.match(resumed.stderr, /^A participant has withdrawn since the export into .* began, and it may hold what was erased\. Remove that directory/)
    assert.equal((await runExport(basedir, after)).status, 0)
    assert.equal((await runExport(basedir, after, '--resume')).status, 0, 'one that began after it is')
  })

  test('files without receipts go too, and a project without receipts gets its record', async (t) => {
    const basedir = await temporaryDirectory(t)
    const responses = join(basedir, 'uploads', 'responses', 'study')
    await mkdir(responses, { recursive: true })
    const stored = (number: number, { name, content }: { name: string; content: Buffer }) => writeFile(join(responses, `20200101T00000${number}.000000Z-${name}`), content)
    const [ofX, ofY] = [openApp('p-x'), openApp('p-y')]
    answer(ofX, 'voice', { mood: 3 })
    answer(ofY, 'voice', { mood: 3 })
    for (const [number, upload] of [finalZip(ofX), finalZip(ofY), activityUpload(ofX, 0)].entries()) await stored(number, upload)
    await writeFile(join(responses, '20200101T000009.000000Z-p-x.txt'), 'of nobody known')
    const before = await readdir(responses)
    const owner = process.getuid?.() === 0 ? OTHER_USER : (process.getuid?.() ?? 0)
    await chown(basedir, owner, owner)
    const done = await runWithdraw(basedir, 'p-x', '--yes')
    assert.equal(done.status, 1, done.stdout + done.stderr)
    assert.match(done.stdout, /^stays: 20200101T000009\.000000Z-p-x\.txt: It is not known to be that of p-x alone, whom it names\.\nErased: 0 receipts, 2 files/m)
    assert.deepEqual((await readdir(responses)).map((name) => name.slice(8, 15)), ['T000001', 'T000009'])
    for (const path of ['receipts', 'receipts/study', ...(await listFiles(join(basedir, 'receipts'))).map((name) => `receipts/${name}`)]) {
      assert.equal((await stat(join(basedir, path))).uid, owner, `${path} is not the server's`)
    }
    assert.equal((await runVerify(basedir)).status, 0)

    await stored(1, { ...finalZip(ofX), name: 'other.bin' }) // of nobody known
    const [back = '', ...others] = before.filter((name) => name.includes('-p-x'))
    await writeFile(join(responses, back), '')
    assert.equal(others.length, 2)
    const { lost_files: lost, other_files: foreign } = JSON.parse((await runCommand(['status', 'study', '--json', '--basedir', basedir])).stdout).projects[0]
    assert.deepEqual([lost, foreign], [0, 2], 'one that came back is not shown')
    assert.match((await runWithdraw(basedir, 'p-x')).stdout, /^0 receipts and 1 file of an earlier withdrawal were left/m)
    assert.match((await runWithdraw(basedir, 'p-x', '--yes')).stdout, /^0 receipts and 1 file of an earlier withdrawal were left, and are erased now\.$/m)
    assert.ok(!(await readdir(responses)).includes(back), 'it is there')
  })

  test('the last submission is one of others, not the moment of a withdrawal', async (t) => {
    const { basedir, kept } = await makeCopy(t)
    assert.equal((await runWithdraw(basedir, 'p-x', '--yes')).status, 0)
    const layout = new Layout(basedir)
    assert.equal(await findLastSubmission(layout, 'study'), Date.parse(String(kept.at(-1)?.json['received_at'])))
    assert.equal((await runWithdraw(basedir, 'p-y', '--yes')).status, 0)
    assert.equal(await findLastSubmission(layout, 'study'), undefined)
  })

  test('encrypted files go by their tokens and names, with the file of their fields', async (t) => {
    const basedir = await temporaryDirectory(t)
    const [responses, receipts] = [join(basedir, 'uploads', 'responses', 'study'), join(basedir, 'receipts', 'study')]
    for (const path of [responses, receipts]) await mkdir(path, { recursive: true })
    const uuid = '00000000-0000-4000-8000-00000000000'
    const forms: { participant?: string; field: string; name: string }[] = [
      { participant: 'p-x', field: 'responses', name: 'messages.json' },
      { participant: 'p-y', field: 'responses', name: 'messages.json' },
      { participant: 'p-x', field: '', name: 'fields.json' },
      { field: 'file', name: `${uuid}1-p-x.zip.000` },
      { field: 'file', name: `${uuid}2-p-y.zip.000` },
      { field: 'responses', name: 'messages.json' },
    ]
    let text = ''
    for (const [number, { field, name, ...sender }] of forms.entries()) {
      const content = Buffer.concat([Buffer.from('age-encryption.org/v1\n'), randomBytes(500)])
      const file = { field, name, stored_as: `20240101T00000${number}.000000Z-${name}.age`, bytes: content.length, sha256: sha256Of(content), plain: { bytes: 300, zip: { bytes: 900, entries: [] } } }
      await writeFile(join(responses, file.stored_as), content)
      const previous = number === 0 ? null : sha256Of(text.trimEnd().split('\n').at(-1) ?? '')
      text += `${JSON.stringify({ id: sha256Of(name + number).slice(32), received_at: `2024-01-01T00:00:0${number}.000000Z`, project: 'study', token_sha256: sha256Of(sender.participant ?? 'nobody'), ...sender, fields: [], files: [file], previous })}\n`
    }
    await writeFile(join(receipts, '20240101T000000.000000Z-00000001.ndjson'), text)
    assert.equal((await runVerify(basedir)).status, 0)
    const done = await runWithdraw(basedir, 'p-x', '--yes')
    assert.equal(done.status, 0, done.stdout + done.stderr)
    assert.match(done.stdout, /^Erased: 3 receipts, 3 files /m)
    assert.deepEqual((await readdir(responses)).map((name) => name.slice(8, 15)), ['T000001', 'T000004', 'T000005'])
    assert.match((await runVerify(basedir)).stdout, /^study: 3 receipts, 3 files, .*; 3 receipts withdrawn; nothing missing/)
  })

  test('whoever interrupts it is told to run it again', async (t) => {
    if (!needs(t, 'strace', 'strace')) return
    const { basedir } = await makeCopy(t)
    const ended = await withdrawThrough(basedir, 'p-x', ['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=unlink', '-e', 'inject=unlink:signal=INT:when=1'])
    assert.deepEqual([ended.status, ended.stdout, ended.stderr], [null, '', 'Interrupted. Some of it may be erased, and the rest not: run the same command again.\n'])
    assert.equal((await runWithdraw(basedir, 'p-x', '--yes')).status, 0)
    assert.match((await runWithdraw(basedir, 'p-x')).stdout, NOTHING)
  })

  test('what goes is written down before anything is touched, and files are gone for good before their receipts', async (t) => {
    if (!needs(t, 'strace', 'strace')) return
    const { basedir, gone } = await makeCopy(t)
    const trace = join(await temporaryDirectory(t), 'trace')
    const done = await withdrawThrough(basedir, 'p-x', ['strace', '-f', ONLY_TRACED, '-y', '-qq', '-e', 'trace=fsync,unlink,pwrite64', '-o', trace])
    assert.equal(done.status, 0, done.stdout + done.stderr)
    const calls = (await readFile(trace, 'utf8')).split('\n').filter((line) => line.includes(basedir))
    const indexOf = (pattern: RegExp) => {
      const index = calls.findIndex((line) => pattern.test(line))
      assert.ok(index >= 0, `${pattern.source} is not there:\n${calls.join('\n')}`)
      return index
    }
    const order = [/unlink\("[^"]*\/tokens\//, /fsync\(\d+<[^>]*\/tokens>/, /fsync\(\d+<[^>]*-withdrawal\.ndjson>/, /fsync\(\d+<[^>]*\/receipts\/study>/, /unlink\("[^"]*\/responses\/study\//, /fsync\(\d+<[^>]*\/responses\/study>/, /pwrite64\(\d+<[^>]*\/receipts\/study\//].map(indexOf)
    assert.deepEqual(order, order.toSorted((a, b) => a - b), calls.join('\n'))
    const lastRemoved = calls.findLastIndex((line) => /unlink\("[^"]*\/responses\//.test(line))
    assert.ok(lastRemoved < (order[5] ?? 0), 'a file is removed after the sync of its directory')
    assert.equal(calls.filter((line) => /unlink\("[^"]*\/responses\//.test(line)).length, new Set(namesOf(gone)).size)
  })

  test('only whoever may write to the base directory may withdraw anybody', async (t) => {
    const through = await asOtherUser(t)
    if (through === undefined) return
    const { basedir } = await makeCopy(t)
    await chmod(basedir, 0o755)
    for (const path of ['', 'receipts', 'receipts/study', 'uploads', 'uploads/responses', 'uploads/responses/study', 'uploads/staging', 'tokens']) await chmod(join(basedir, path), 0o755)
    for (const path of await listFiles(basedir)) await chmod(join(basedir, path), 0o644)
    await chmod(join(basedir, 'tokens'), 0o777)
    const before = await readTree(basedir)
    const refused = runProgram(['withdraw', 'study', '--basedir', basedir, '--participant', 'p-x', '--yes'], {}, undefined, through)
    assert.equal(refused.status, 2, refused.stdout + refused.stderr)
    assert.match(refused.stderr, /is not for this user to change\. Run the command as root, or as the user that runs the server\.$/m)
    assert.deepEqual(await readTree(basedir), before)
  })

  const mistakes = [
    { args: ['study'], says: /^--participant is missing: withdraw PROJECT --participant X\.$/m },
    { args: ['study', '--participant', ' '], says: /^--participant is missing/m },
    { args: ['stduy', '--participant', 'p-x'], says: /has no project "stduy"\. It has study\.$/m },
    { args: ['--participant', 'p-x'], says: /^<project> is missing/m },
  ]
  test('arguments that are not understood are told, with exit code 2', async (t) => {
    const basedir = await temporaryDirectory(t)
    await mkdir(join(basedir, 'receipts', 'study'), { recursive: true })
    for (const { args, says } of mistakes) {
      const told = runProgram(['withdraw', ...args, '--basedir', basedir])
      assert.equal(told.status, 2)
      assert.match(told.stderr, says)
    }
    const unknown = await runWithdraw(basedir, 'p-nobody', '--yes')
    assert.deepEqual([unknown.status, unknown.stdout], [0, 'Nothing of p-nobody is left in study.\n'])
  })

  test('who was invited and never sent anything has a token that goes', async (t) => {
    const server = await startServer(t)
    const token = await askToken(server, { participant_id: 'p-x', project: 'study' })
    assert.match((await runWithdraw(server.basedir, 'p-x', '--yes')).stdout, /^Erased: 0 receipts, 0 files \(0 bytes\) and 1 token of p-x\./m)
    assert.ok(!(await listFiles(server.basedir)).includes(tokenFile(token)), 'the token is there')
  })

  test('of an encrypted study a participant withdraws without a key: by tokens and the names of uploads', async (t) => {
    const identity = newIdentity()
    const server = await startEncrypting(t, [identity])
    const { basedir } = server
    const [x, y, nobody] = [await issueToken(basedir, 'study', 'p-x'), await issueToken(basedir, 'study', 'p-y'), await issueToken(basedir)]
    const [ofX, ofY] = [openApp('p-x'), openApp('p-y')]
    answer(ofX, 'voice', { say: makeWav(4000, 16_000, 7) })
    answer(ofY, 'voice', { say: makeWav(4000) })
    await send(server, x, [activityUpload(ofX, 0)])
    await send(server, nobody, slice(finalZip(ofX), 5000))
    await submitForm(server, [['auth_token', x], ['responses', String(mood)], ['note', 'words of p-x'], ['file', Buffer.from('voice'), 'x.wav']])
    const before = new Set(await listFiles(join(basedir, 'uploads', 'responses', 'study')))
    await send(server, y, [finalZip(ofY)])
    await submitForm(server, [['auth_token', y], ['responses', '{}'], ['note', 'words of p-y']])
    const kept = (await listFiles(join(basedir, 'uploads', 'responses', 'study'))).filter((name) => !before.has(name))
    assert.ok(kept.some((name) => name.endsWith('-fields.json.age')), kept.join(', '))

    const withdrawn = await runWithdraw(basedir, 'p-x', '--yes')
    assert.equal(withdrawn.status, 0, withdrawn.stdout + withdrawn.stderr)
    assert.deepEqual(await listFiles(join(basedir, 'uploads', 'responses', 'study')), kept)
    assert.equal((await runVerify(basedir)).status, 0)
    assert.match((await runWithdraw(basedir, 'p-x', '--yes')).stdout, /^Nothing that is known to be of p-x is left in study\.$/m)

    await submitForm(server, [['auth_token', nobody], ['responses', '[{"isAbout":"record_id","value":"p-x"}]']])
    const keys = [identity, newIdentity()].map((each) => ({ each, path: join(basedir, '..', `key-of-${each.recipient.text}`) }))
    for (const { each, path } of keys) await writeFile(path, `${formatIdentity(each)}\n`, { mode: 0o600 })
    t.after(() => Promise.all(keys.map(({ path }) => rm(path))))
    const [right = '', wrong = ''] = keys.map(({ path }) => path)
    for (const args of [[], ['--identity', wrong]]) {
      const { status, stdout } = await runWithdraw(basedir, 'p-x', ...args)
      assert.equal(status, 0)
      assert.match(stdout, /^3 encrypted files not looked into: whom the answers name is not known without the key that opens them \(--identity FILE\)\.\nNothing that is known to be of p-x is left in study\.$/m)
      assert.equal(JSON.parse((await runWithdraw(basedir, 'p-x', ...args, '--json')).stdout).encrypted_files_not_opened, 3)
    }
    const shown = await runWithdraw(basedir, 'p-x', '--identity', right)
    assert.match(shown.stdout, /^answers .*-messages\.json\.age/m)
    const [, command = ''] = / for ever: (withdraw .*)$/m.exec(shown.stdout) ?? []
    assert.match(runProgram(command.split(' ')).stdout, /^Erased: 1 receipt, 1 file /m, 'the command that is shown has the key with it')
    assert.match((await runWithdraw(basedir, 'p-x', '--identity', right)).stdout, NOTHING)
  })

  test('what names the participant and proves nothing is told, and stays', async (t) => {
    const server = await startServer(t)
    const [x, y, nobody] = [await askToken(server, { participant_id: 'p-x' }), await askToken(server, { participant_id: 'p-y' }), await askToken(server)]
    const file = (name: string): [string, Buffer, string] => ['file', Buffer.from(name), name]
    const named = [
      await submitForm(server, [['auth_token', nobody], file('P-X.wav')]),
      await submitForm(server, [['auth_token', y], file('interview p-x, 2nd.wav')]),
      await submitForm(server, [['auth_token', nobody], file('1.wav'), ['who', 'P-X']]),
      await submitForm(server, [['auth_token', y], file('2.wav'), ['note', 'for p-x']]),
      await submitForm(server, [['auth_token', nobody], ['responses', '{"participant_id": "p-x"}']]),
      await submitForm(server, [['auth_token', y], ['responses', '[["p-x"]]']]),
    ]
    const fieldsAlone = await submitForm(server, [['auth_token', nobody], ['uid', 'p-x']])
    const others = [
      await submitForm(server, [['auth_token', nobody], file('p-xy.wav'), ['who', 'p-x2']]),
      await submitForm(server, [['auth_token', nobody], ['responses', '{"participant_id": "p-xx"}']]),
    ]
    const own = await submitForm(server, [['auth_token', x], file('p-x.wav'), ['who', 'p-x']])
    await writeFile(join(server.basedir, 'uploads/responses/study/20200101T000000.000000Z-p-x.wav'), 'stored by the seed server')
    for (const args of [[], ['--yes'], ['--yes']]) {
      const told = await runWithdraw(server.basedir, 'p-x', ...args)
      const staying = told.stdout.split('\n').filter((line) => line.startsWith('stays: '))
      const expected = [...namesOf(named), '20200101T000000.000000Z-p-x.wav', 'receipts/study/']
      assert.deepEqual(expected.filter((name) => !staying.some((line) => line.includes(name))), [], told.stdout)
      assert.equal(staying.length, expected.length, told.stdout)
      assert.match(told.stdout, /^2 files of nobody known: /m) // of these others, and of them alone
      assert.equal(told.status, args.length)
    }
    for (const each of [...named, ...others]) await checkFiles(server.basedir, each)
    assert.equal(fieldsAlone.status, 200)
    assert.ok(!(await listFiles(join(server.basedir, 'uploads/responses/study'))).includes(filesOf(own)[0]?.stored_as ?? ''))
  })

  const alike: readonly { name: string; other: string; looksSame: boolean }[] = [
    { name: 'Zoe\u0308', other: 'Zo\u00eb', looksSame: true },
    { name: 'Zo\u00eb', other: 'Zoe\u0308', looksSame: true },
    { name: 'p-x', other: 'P-X', looksSame: false },
    { name: 'Ann Lee', other: 'AnnLee', looksSame: false },
    { name: "O'Neil\u00a0$x\\", other: "O'Neil $x\\", looksSame: true },
    { name: 'p\u200b-x', other: 'p-x', looksSame: true },
  ]
  for (const { name, other, looksSame } of alike) {
    test(`a name that is nearly the same is told: ${JSON.stringify(other)} where ${JSON.stringify(name)} is there`, async (t) => {
      const server = await startServer(t)
      const token = await askToken(server, { participant_id: name })
      await submitForm(server, [['auth_token', token], ['responses', '[1]']])
      const done = await runWithdraw(server.basedir, other, '--yes')
      assert.equal(done.status, 1)
      if (looksSame) {
        const [, written = ''] = /^stays: .*: Its characters are not those of .*, though they look the same\. .* --participant (\$'[ -~]+')$/m.exec(done.stdout) ?? []
        assert.equal(spawnSync('bash', ['-c', `printf %s ${written}`], { encoding: 'utf8' }).stdout, name, done.stdout)
      } else assert.match(done.stdout, /^stays: .*: This name is nearly the same as .*\. If it is the same participant, withdraw it too\.$/m)
      assert.equal((await listFiles(join(server.basedir, 'uploads/responses/study'))).length, 1)
      assert.match((await runWithdraw(server.basedir, name, '--yes')).stdout, /^Erased: 1 receipt, 1 file \([^)]*\) and 1 token /m)
      assert.equal((await runWithdraw(server.basedir, other, '--yes')).status, 0)
    })
  }
})
