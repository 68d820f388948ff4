import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { parseHeader } from '../lib/crypt/header.ts'
import { formatIdentity, newIdentity } from '../lib/crypt/keys.ts'
import { HEADER_BYTES } from '../lib/crypt/late-encryption.ts'
import type { Receipt } from '../lib/store/receipt.ts'
import { giveRecipients, issueToken, openAll, settingsFor, startEncrypting, type Opened } from './encrypting.ts'
import { checkReceipts, listProject, listStaged } from './evidence.ts'
import { filesOf, listFiles, needs, readAll, readReceipts, submitForm, temporaryDirectory, until, type Entry, type Running } from './harness.ts'
import { sha256Of } from './sha256.ts'
import { assertAccepted, FORMATS, post } from './submission.ts'
import { numberOf, startTraced, type Call } from './trace.ts'
import { writeZip } from './zip-writer.ts'

const KiB = 1024
const identity = newIdentity()
const EXPIRES: Entry = ['expires', '20241101T023615Z']

const contentOf = (opened: readonly Opened[], name: string) => opened.find(({ file }) => file.name === name)?.content
const receiptsOf = (server: { basedir: string }, project = 'study') => readReceipts(server.basedir, project) as Promise<unknown> as Promise<Receipt[]>

test('files and answers of any size are stored encrypted, and answered as they were sent', async (t) => {
  const server = await startEncrypting(t, [newIdentity(), identity])
  const auth: Entry = ['auth_token', await issueToken(server.basedir)]
  const voices = [0, 1, 64 * KiB - 1, 64 * KiB, 64 * KiB + 1, 128 * KiB, 128 * KiB + 1, 300_000, 3_000_000].map((size) => randomBytes(size))
  for (const content of voices) {
    const answer = await submitForm(server, [['file', content, 'voice.wav'], ['responses', '{"a": 1.0}'], EXPIRES, auth])
    const stamp = filesOf(answer)[0]?.stored_as.slice(0, 23)
    assert.deepEqual(assertAccepted(answer), [
      { name: 'voice.wav', stored_as: `${stamp}-voice.wav.age`, bytes: content.length, sha256: sha256Of(content) },
      { name: 'messages.json', stored_as: `${stamp}-messages.json.age`, bytes: 10, sha256: sha256Of('{"a": 1.0}') },
    ])
  }
  const opened = await openAll(server.basedir, identity)
  assert.deepEqual(opened.map(({ content }) => content), voices.flatMap((content) => [content, Buffer.from('{"a": 1.0}')]))
  assert.deepEqual(await listStaged(server.basedir), [])
})

test('age opens what is stored', async (t) => {
  if (!needs(t, 'age', 'age')) return
  const server = await startEncrypting(t, [identity])
  const auth: Entry = ['auth_token', await issueToken(server.basedir)]
  const content = randomBytes(200_000)
  await submitForm(server, [auth, ['file', content, 'voice.wav'], ['responses', '{"a":1}'], ['note', 'tired']])
  const key = join(await temporaryDirectory(t), 'key')
  await writeFile(key, `${formatIdentity(identity)}\n`)
  const directory = join(server.basedir, 'uploads/responses/study')
  const opened = (await readdir(directory)).map((name) => spawnSync('age', ['-d', '-i', key, join(directory, name)]).stdout)
  assert.deepEqual(new Set(opened.map(sha256Of)), new Set([content, '{"a":1}', '[{"name":"note","value":"tired"}]'].map(sha256Of)))
})

const orders: { name: string; order: (auth: Entry, file: Entry) => Entry[] }[] = [
  { name: 'the token comes behind the file', order: (auth, file) => [file, auth] },
  { name: 'the token comes before the file', order: (auth, file) => [auth, file] },
]
for (const { name, order } of orders) {
  test(`a project's own recipients, and nobody else, open its files where ${name}`, async (t) => {
    const own = newIdentity()
    const server = await startEncrypting(t, [identity])
    await giveRecipients(server.basedir, 'own', [own])
    const auth: Entry = ['auth_token', await issueToken(server.basedir, 'own')]
    for (const size of [10, 64 * KiB + 1, 1_000_000]) {
      const content = randomBytes(size)
      assertAccepted(await submitForm(server, order(auth, ['file', content, 'voice.wav'])))
      const opened = await openAll(server.basedir, own, 'own')
      assert.deepEqual(opened.at(-1)?.content, content)
    }
    await assert.rejects(openAll(server.basedir, identity, 'own'), /none of the given identities/)
  })
}

test('text fields are stored in a file that is encrypted, whatever their length; the expiry that we gave stays in the receipt', async (t) => {
  const server = await startEncrypting(t, [identity])
  const authToken = await issueToken(server.basedir)
  const auth: Entry = ['auth_token', authToken]
  const long = 'long '.repeat(20_000)
  const file: Entry = ['', Buffer.from('[]'), 'fields.json'] // of the form's own, with our name
  const answer = await submitForm(server, [file, EXPIRES, ['mood', 'sad 😢'], ['essay', long], ['mood', 'tired'], ['expires', 'never'], auth])
  assert.deepEqual(assertAccepted(answer).map(({ name }) => name), ['fields.json', 'essay.txt'])
  const [receipt] = await receiptsOf(server)
  assert.deepEqual(receipt?.fields, [{ name: 'expires', value: '20241101T023615Z' }])
  const opened = await openAll(server.basedir, identity)
  const ours = opened.filter((each) => each.file.holds === 'fields')
  const fields = [{ name: 'mood', value: 'sad 😢' }, { name: 'mood', value: 'tired' }, { name: 'expires', value: 'never' }]
  assert.deepEqual(ours.map(({ content }) => JSON.parse(String(content)) as unknown), [fields])
  assert.match(ours[0]?.file.stored_as ?? '', /Z-fields\.json\.age$/)
  assert.match(opened[0]?.file.stored_as ?? '', /Z-2-fields\.json\.age$/)
  assert.equal(String(contentOf(opened, 'essay.txt')), long)
  await submitForm(server, [['file', Buffer.from('x'), 'a'], EXPIRES, auth])
  assert.equal((await receiptsOf(server)).at(-1)?.files.length, 1, 'no file for nothing but the expiry')
})

test('text fields of every media type are encrypted, also those with halves of characters', async (t) => {
  const server = await startEncrypting(t, [identity])
  const authToken = await issueToken(server.basedir)
  for (const { contentType, format } of FORMATS) {
    const answer = await post(server, format([['auth_token', authToken], ['responses', '[1]'], ['note', 'secret']]), { headers: { 'content-type': contentType } })
    assert.equal(assertAccepted(answer).length, 1)
  }
  const json = { headers: { 'content-type': 'application/json' } }
  assertAccepted(await post(server, `{"auth_token":"${authToken}","half":"\\ud83d","number":1.0}`, json))
  const opened = await openAll(server.basedir, identity)
  const texts = opened.filter(({ file }) => file.holds === 'fields').map(({ content }) => String(content))
  const note = '[{"name":"note","value":"secret"}]'
  assert.deepEqual(texts, [note, note, note, '[{"name":"half","value":"\\ud83d"},{"name":"number","value":"1.0"}]'])
})

test('a receipt says of a zip, or of the slice at its end, how long it is and what hashes its names have', async (t) => {
  const server = await startEncrypting(t, [identity])
  const auth: Entry = ['auth_token', await issueToken(server.basedir)]
  const zip = writeZip([{ name: 'voice.wav', content: randomBytes(150_000), method: 'stored' }, { name: 'activity_0.jsonld', content: '[]' }])
  const small = writeZip([{ name: 'a', content: 'x' }])
  const cut = zip.length - 100 // within its directory
  const sent: [string, Buffer][] = [
    ['u.zip', zip],
    ['s.zip', small],
    ['u.zip.000', zip.subarray(0, 100_000)],
    ['u.zip.001', zip.subarray(100_000)],
    ['v.zip.000', zip.subarray(0, cut)],
    ['v.zip.001', zip.subarray(cut)],
    ['voice.wav', randomBytes(100_000)],
  ]
  for (const [name, content] of sent) await submitForm(server, [['file', content, name], auth])
  const noted = { bytes: zip.length, entries: ['voice.wav', 'activity_0.jsonld'].map(sha256Of) }
  assert.deepEqual(
    (await receiptsOf(server)).map(({ files }) => [files[0]?.name, files[0]?.plain?.bytes, files[0]?.plain?.zip]),
    [
      ['u.zip', zip.length, noted],
      ['s.zip', small.length, { bytes: small.length, entries: [sha256Of('a')] }],
      ['u.zip.000', 100_000, undefined],
      ['u.zip.001', zip.length - 100_000, noted],
      ['v.zip.000', cut, undefined],
      ['v.zip.001', 100, undefined],
      ['voice.wav', 100_000, undefined],
    ],
  )
})

test('a form that comes again is stored once; one with other words, or with words alone, is not taken for another', async (t) => {
  const server = await startEncrypting(t, [identity])
  const auth: Entry = ['auth_token', await issueToken(server.basedir)]
  for (const content of [randomBytes(100), randomBytes(200_000)]) {
    const before = (await listProject(server.basedir, 'study')).length
    const file: Entry = ['file', content, 'voice.wav']
    const first = await submitForm(server, [file, ['note', 'tired'], EXPIRES, auth])
    const second = await submitForm(server, [file, ['note', 'tired'], EXPIRES, auth])
    assert.deepEqual(second.json, { ...first.json, repeated: true })
    assert.equal(filesOf(second)[0]?.sha256, sha256Of(content))
    const other = await submitForm(server, [file, ['note', 'awake'], EXPIRES, auth])
    assert.equal(other.json['repeated'], undefined)
    assert.equal((await listProject(server.basedir, 'study')).length, before + 4)
  }
  for (let count = 0; count < 2; count++) assert.equal((await submitForm(server, [['note', 'tired'], auth])).json['repeated'], undefined)
  const receipts = await receiptsOf(server)
  assert.deepEqual(receipts.map(({ repeats, files }) => (repeats === undefined ? files.length : -1)), [2, -1, 2, 2, -1, 2, 1, 1])
  assert.equal(receipts[1]?.repeats, receipts[0]?.id)
  assert.deepEqual(await listStaged(server.basedir), [])
})

test('a form of many files, small and large, is stored whole with few descriptors', async (t) => {
  if (!needs(t, 'prlimit', 'util-linux')) return
  const server = await startEncrypting(t, [identity], { through: ['prlimit', '--nofile=150'] })
  const files = Array.from({ length: 300 }, (_, index): Entry => ['file', randomBytes(index % 50 === 0 ? 200_000 : 2000), `${index}.wav`])
  assertAccepted(await submitForm(server, [...files, ['auth_token', await issueToken(server.basedir)]]))
  const opened = await openAll(server.basedir, identity)
  assert.deepEqual(opened.map(({ content }) => content), files.map(([, content]) => content))
})

const MARKER = 'Xq7-this-is-what-the-participant-said-'
const MARKED = Buffer.from(MARKER.repeat(10_000))

// The shapes in which bytes could lie about: as they are, and as a SHA-256 in a receipt or a log.
async function assertNothingSaid(basedir: string, digests: readonly string[]): Promise<void> {
  const paths = await listFiles(basedir)
  assert.ok(paths.length > 2, 'there is something to look at')
  for (const path of paths) {
    const content = await readFile(join(basedir, path))
    assert.ok(!content.includes(MARKER), `${path} has what was said`)
    for (const digest of digests) assert.ok(!content.includes(digest), `${path} has its SHA-256`)
  }
}

test('nothing that was said is on disk: not while it comes, not after, not when the server was killed or began again', async (t) => {
  const basedir = await temporaryDirectory(t)
  const first = await startEncrypting(t, [identity], { basedir })
  const authToken = await issueToken(basedir)
  const responses = JSON.stringify(MARKER)
  const answersOf = JSON.stringify(MARKER.repeat(5000))
  const entries: Entry[] = [
    ['file', MARKED, 'voice.wav'],
    ['file', Buffer.from(MARKER), 'note.txt'],
    ['note', MARKER],
    ['essay', MARKED.toString()],
    ['auth_token', authToken],
  ]
  const fields = JSON.stringify([{ name: 'note', value: MARKER }])
  const digests = [MARKED, MARKER, responses, answersOf, fields].map(sha256Of)
  assertAccepted(await submitForm(first, [...entries, ['responses', responses]]))
  assertAccepted(await submitForm(first, [...entries, ['responses', answersOf]]))
  for (const { contentType, format } of FORMATS) {
    const body = format([['auth_token', authToken], ['responses', answersOf], ['note', MARKER], ['essay', MARKED.toString()]])
    assertAccepted(await post(first, body, { headers: { 'content-type': contentType } }))
  }
  const broken = await submitForm(first, [...entries, ['responses', `{"${MARKER}`]])
  assert.equal(broken.status, 400)
  await assertNothingSaid(basedir, digests)

  beginUpload(first)
  await until('half of it is staged', async () => (await stagedBytes(basedir)) > 200_000)
  const [staged = ''] = await listStaged(basedir)
  const half = await readFile(join(basedir, 'uploads/staging', staged))
  assert.deepEqual(half.subarray(0, HEADER_BYTES), Buffer.alloc(HEADER_BYTES), 'nobody can open what is staged')
  assert.throws(() => parseHeader(half))
  await assertNothingSaid(basedir, digests)
  await first.stop('SIGKILL')
  await assertNothingSaid(basedir, digests)
  const second = await startEncrypting(t, [identity], { basedir })
  assert.deepEqual(await listStaged(basedir), [])
  await assertNothingSaid(basedir, digests)
  assert.equal(await second.stop(), 0)
  await assertNothingSaid(basedir, digests)
  const opened = await openAll(basedir, identity)
  assert.ok(opened.some(({ content }) => content.equals(MARKED)), 'the key opens it')
})

function beginUpload(server: Running): void {
  const socket = connect(server.port, '127.0.0.1')
  void readAll(socket)
  const head = '--b\r\nContent-Disposition: form-data; name="f"; filename="slow.wav"\r\n\r\n'
  socket.write(
    'POST /submit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=b\r\n' +
      `Content-Length: 10000000\r\n\r\n${head}${MARKED.toString().repeat(4)}`, // more than waits in memory
  )
}

async function stagedBytes(basedir: string): Promise<number> {
  const staged = await listStaged(basedir)
  const sizes = await Promise.all(staged.map(async (path) => (await readFile(join(basedir, 'uploads/staging', path))).length))
  return sizes.reduce((sum, size) => sum + size, 0)
}

const VOICE = randomBytes(300_000)
const entriesWith = (authToken: string): Entry[] => [['f', VOICE, 'a.wav'], ['f', VOICE.subarray(1), 'b.wav'], ['note', 'tired'], ['auth_token', authToken]]

const path = (call: Call) => call.paths.at(-1) ?? ''
const isStaged = (call: Call, number: number) => path(call).endsWith(`/${number}.part`)
const isHeader = (call: Call, number: number) => isStaged(call, number) && /^\d+<[^>]*>, "age-encryption.*, 4096, 0$/.test(call.text)

async function traceSubmission(t: TestContext): Promise<Call[]> {
  const server = await startTraced(t, undefined, { env: settingsFor([identity]) })
  assertAccepted(await submitForm(server, entriesWith(await issueToken(server.basedir))))
  return server.calls()
}

test('the header is written before its file is synced, and that before the file has a name', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const calls = await traceSubmission(t)
  const indexOf = (what: string, matches: (call: Call) => boolean) => {
    const index = calls.findIndex(matches)
    assert.ok(index >= 0, `there is ${what}`)
    return index
  }
  for (const number of [0, 1]) {
    const written = calls.findLastIndex((call) => call.name.startsWith('pwrite') && isStaged(call, number) && !isHeader(call, number))
    const header = indexOf('a header', (call) => isHeader(call, number))
    const synced = calls.findLastIndex((call) => call.name === 'fsync' && isStaged(call, number))
    const linked = indexOf('a name', (call) => call.name.startsWith('link') && call.paths[0] === path(calls[header] ?? calls[0] as Call))
    const receipt = calls.findLastIndex((call) => call.name === 'fsync' && path(call).endsWith('.ndjson'))
    assert.deepEqual([written, header, synced, linked, receipt].toSorted((a, b) => a - b), [written, header, synced, linked, receipt])
  }
})

// Each row is a call of a submission of two files and text fields; the server is killed as it makes it.
const rows: { name: string; completes: boolean; find: (call: Call) => boolean }[] = [
  { name: 'the sync of the last file', completes: false, find: (call) => call.name === 'fsync' && isStaged(call, 1) },
  { name: 'the sync of the note of what is to be linked', completes: true, find: (call) => call.name === 'fsync' && path(call).endsWith('.intent.json') },
  { name: 'the second link', completes: true, find: (call) => call.name.startsWith('link') && path(call).endsWith('b.wav.age') },
  { name: 'the link of the text fields', completes: true, find: (call) => call.name.startsWith('link') && path(call).endsWith('fields.json.age') },
  { name: 'the sync of the receipt', completes: true, find: (call) => call.name === 'fsync' && path(call).endsWith('.ndjson') },
]
test('a submission that is killed is whole and can be opened after the next start, or is not there', async (t) => {
  if (!needs(t, 'strace', 'strace')) return
  const calls = await traceSubmission(t)
  for (const { name, completes, find } of rows) {
    await t.test(`killed at ${name}`, async (t) => {
      const found = calls.find(find)
      assert.ok(found !== undefined, 'the submission makes this call')
      const inject = `${found.name}:signal=KILL:when=${numberOf(calls, found)}`
      const server = await startTraced(t, inject, { env: settingsFor([identity]) })
      const { basedir } = server
      const entries = entriesWith(await issueToken(basedir))
      await assert.rejects(submitForm(server, entries), 'the server was killed before it answered')
      await server.stop('SIGKILL')
      await startEncrypting(t, [identity], { basedir })
      const contents = (await checkReceipts(basedir, 'study')).length === 0 ? [] : (await openAll(basedir, identity)).map(({ content }) => content)
      assert.deepEqual(contents, completes ? [VOICE, VOICE.subarray(1), Buffer.from('[{"name":"note","value":"tired"}]')] : [])
      assert.deepEqual([(await listProject(basedir, 'study')).length, await listStaged(basedir)], [completes ? 3 : 0, []])
    })
  }
})

test('an upload that is too large for the disk is refused, and nothing of it is left', async (t) => {
  if (!needs(t, 'prlimit', 'util-linux')) return
  const server = await startEncrypting(t, [identity], { through: ['prlimit', '--fsize=1000000'] })
  const auth: Entry = ['auth_token', await issueToken(server.basedir)]
  const answer = await submitForm(server, [['file', randomBytes(2_000_000), 'voice.wav'], auth])
  assert.deepEqual([answer.status, answer.json['code']], [507, 'insufficient_storage'])
  await until('it is gone', async () => (await listStaged(server.basedir)).length === 0)
  assertAccepted(await submitForm(server, [['file', randomBytes(900_000), 'voice.wav'], auth]))
})
