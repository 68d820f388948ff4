import assert from 'node:assert/strict'
import { lstat, mkdir, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { askToken, listFiles, listUploads, readReceipts, startServer, temporaryDirectory, type Running } from './harness.ts'
import { sha256Of } from './sha256.ts'
import { assertAccepted, filePart, formatMultipart, nothingIsLeft, post, readStored, textPart, type RawPart } from './submission.ts'

const MAX_NAME_BYTES = 255 // ext4 and most other file systems
const STAMP = /^\d{8}T\d{6}\.\d{6}Z-/

/** `given` is what the receipt says where it is not what stands in the header, `stored` the name without its stamp. */
interface NameCase {
  readonly name: string
  readonly header: string | Buffer
  readonly given?: string
  readonly stored: string
}

const quoted = (filename: string) => `Content-Disposition: form-data; name="file"; filename="${filename}"`

const cases: NameCase[] = [
  { name: 'a plain name is kept', header: quoted('voice.wav'), stored: 'voice.wav' },
  { name: 'blanks within are kept', header: quoted('my voice 1.wav'), stored: 'my voice 1.wav' },
  { name: 'blanks around are cut', header: quoted('  voice.wav '), stored: 'voice.wav' },
  { name: 'composed accents are kept', header: quoted('é.wav'), stored: 'é.wav' },
  { name: 'accents that are not composed are kept', header: quoted('e\u0301.wav'), stored: 'e\u0301.wav' },
  { name: 'CJK is kept', header: quoted('録音.wav'), stored: '録音.wav' },
  { name: 'an emoji of several characters is kept', header: quoted('👩‍👩‍👧.wav'), stored: '👩‍👩‍👧.wav' },
  { name: 'a quote may be written with a backslash', header: quoted('a\\"b.wav'), given: 'a"b.wav', stored: 'a"b.wav' },
  { name: 'a quote may be written as %22', header: quoted('a%22b.wav'), given: 'a"b.wav', stored: 'a"b.wav' },
  { name: 'a line end may be written as %0D%0A', header: quoted('a%0D%0Ab.wav'), given: 'a\r\nb.wav', stored: 'a__b.wav' },
  { name: 'a semicolon is part of a quoted name', header: quoted('a;b; filename=c.wav'), stored: 'a;b; filename=c.wav' },
  { name: 'a leading dash is kept', header: quoted('-rf.wav'), stored: '-rf.wav' },
  { name: 'several extensions are kept', header: quoted('a.tar.gz'), stored: 'a.tar.gz' },
  { name: 'the number of a slice is kept', header: quoted('X.zip.0010'), stored: 'X.zip.0010' },
  { name: 'a shell would be surprised', header: quoted('$(id)`id`|&<>*?~!#'), stored: '$(id)`id`|&<>*?~!#' },
  { name: 'a percent sign is kept', header: quoted('100%.wav'), stored: '100%.wav' },
  { name: 'a name without quotes is taken', header: 'Content-Disposition: form-data; name=file; filename=voice.wav', given: 'voice.wav', stored: 'voice.wav' },
  { name: 'a name without quotes may hold blanks', header: 'Content-Disposition: form-data; name=file; filename=a b.wav', given: 'a b.wav', stored: 'a b.wav' },
  { name: 'the parent directory is left out', header: quoted('../x.wav'), stored: 'x.wav' },
  { name: 'many parent directories are left out', header: quoted(`${'../'.repeat(40)}etc/cron.d/x`), stored: 'x' },
  { name: 'the parent directory is left out with backslashes', header: quoted('..\\..\\x.wav'), stored: 'x.wav' },
  { name: 'an absolute path is left out', header: quoted('/etc/passwd'), stored: 'passwd' },
  { name: 'a drive is left out', header: quoted('C:\\fakepath\\voice.wav'), stored: 'voice.wav' },
  { name: 'two backslashes are one separator after another', header: quoted('\\\\host\\share\\x.wav'), given: '\\host\\share\\x.wav', stored: 'x.wav' },
  { name: 'slashes and backslashes may be mixed', header: quoted('a/..\\../x.wav'), stored: 'x.wav' },
  { name: 'a directory is its own name', header: quoted('recordings/'), stored: 'recordings' },
  { name: 'percent-encoding is none', header: quoted('..%2f..%2fx.wav'), stored: '%2f..%2fx.wav' },
  { name: 'percent-encoding of dots is none', header: quoted('%2e%2e%2fx.wav'), stored: '%2e%2e%2fx.wav' },
  { name: 'percent-encoding of NUL is none', header: quoted('a%00.wav'), stored: 'a%00.wav' },
  {
    name: 'an overlong encoding of a slash is no slash',
    header: Buffer.concat([Buffer.from(quoted('..').slice(0, -1)), Buffer.from([0xc0, 0xaf]), Buffer.from('x.wav"')]),
    given: '..\ufffd\ufffdx.wav',
    stored: '\ufffd\ufffdx.wav',
  },
  { name: 'Latin-1 is replaced', header: Buffer.from(quoted('é.wav'), 'latin1'), given: '\ufffd.wav', stored: '\ufffd.wav' },
  { name: 'what looks like a slash is replaced', header: quoted('..\u2215..\uff0fx\u2044y\u29f8z.wav'), stored: '_.._x_y_z.wav' },
  { name: 'what looks like a backslash is replaced', header: quoted('..\uff3cx\u2216y\ufe68z\u29f9.wav'), stored: '_x_y_z_.wav' },
  { name: 'filename* alone is the name', header: "Content-Disposition: form-data; name=file; filename*=UTF-8''%C3%A9.wav", given: 'é.wav', stored: 'é.wav' },
  {
    name: 'filename* loses its directories',
    header: "Content-Disposition: form-data; name=file; filename*=UTF-8''..%2F..%5Cx.wav",
    given: '../..\\x.wav',
    stored: 'x.wav',
  },
  {
    name: 'filename* loses its NUL',
    header: "Content-Disposition: form-data; name=file; filename*=UTF-8''a%00%0Ab.wav",
    given: 'a\0\nb.wav',
    stored: 'a__b.wav',
  },
  {
    name: 'filename goes before filename*',
    header: `${quoted('a.wav')}; filename*=UTF-8''..%2Fb.wav`,
    given: 'a.wav',
    stored: 'a.wav',
  },
  { name: 'one dot is no name', header: quoted('.'), stored: 'unnamed' },
  { name: 'two dots are no name', header: quoted('..'), stored: 'unnamed' },
  { name: 'dots are no name', header: quoted('.....'), stored: 'unnamed' },
  { name: 'dots and blanks are no name', header: quoted('. . .'), stored: 'unnamed' },
  { name: 'a blank is no name', header: quoted(' '), stored: 'unnamed' },
  { name: 'a blank that is not ASCII is no name', header: quoted('\u3000\u00a0'), stored: 'unnamed' },
  { name: 'nothing is no name', header: quoted(''), stored: 'unnamed' },
  { name: 'separators are no name', header: quoted('/\\/'), stored: 'unnamed' },
  { name: 'the parent directory is no name at the end either', header: quoted('a/..'), stored: 'unnamed' },
  { name: 'a leading dot is left out', header: quoted('.htaccess'), stored: 'htaccess' },
  { name: 'leading dots and blanks are left out', header: quoted('.. .bashrc'), stored: 'bashrc' },
  { name: 'control characters are replaced', header: quoted('a\u0001\u001b[31m\u007f\u0085b.wav'), stored: 'a__[31m__b.wav' },
  { name: 'a tab is replaced', header: quoted('a\tb.wav'), stored: 'a_b.wav' },
  { name: 'bidirectional characters are replaced', header: quoted('a\u202egnp.\u2066exe\u200f\u061c'), stored: 'a_gnp._exe__' },
  { name: 'line separators are replaced', header: quoted('a\u2028b\u2029.wav'), stored: 'a_b_.wav' },
  { name: 'what cannot be seen is replaced', header: quoted('a\u200bb\u2060c\ufeff.wav'), stored: 'a_b_c_.wav' },
  { name: 'a long name is cut, and keeps its extension', header: quoted(`${'a'.repeat(5000)}.zip.0010`), stored: `${'a'.repeat(191)}.zip.0010` },
  { name: 'a long name is cut between characters', header: quoted(`${'é'.repeat(300)}.wav`), stored: `${'é'.repeat(98)}.wav` },
  { name: 'a long name is cut between emoji', header: quoted(`${'👩‍👩‍👧'.repeat(50)}.wav`), stored: `${'👩‍👩‍👧'.repeat(10)}.wav` },
  { name: 'a long name without an extension is cut', header: quoted('漢'.repeat(300)), stored: '漢'.repeat(66) },
  { name: 'a long extension is cut with its name', header: quoted(`a.${'b'.repeat(300)}`), stored: `a.${'b'.repeat(198)}` },
  { name: 'one character of many accents is no name', header: quoted(`a${'\u0301'.repeat(300)}.wav`), stored: 'unnamed.wav' },
]

test('the name of a file', async (t) => {
  const above = await temporaryDirectory(t)
  await mkdir(join(above, 'beside'))
  for (const name of ['x', 'x.wav', 'passwd', 'beside/x.wav']) await writeFile(join(above, name), 'mine')
  const server = await startServer(t, { basedir: join(above, 'base') })
  const token = textPart('auth_token', await askToken(server))
  const outside = async () => Promise.all((await listFiles(above)).filter((path) => !path.startsWith('base/')).map(async (path) => [path, await readFile(join(above, path), 'utf8')]))
  const before = await outside()

  for (const { name, header, given = quotedName(header), stored } of cases) {
    await t.test(name, async () => {
      const uploads = await listUploads(server.basedir)
      const answer = await post(server, formatMultipart([{ header, content: name }, token]))
      const [file, ...others] = assertAccepted(answer)
      assert.deepEqual(others, [])
      assert.equal(file?.name, given)
      assert.equal(file.stored_as.replace(STAMP, ''), stored)
      assert.equal(await readStored(server, file).then(String), name)
      assert.deepEqual(await added(server, uploads), [`responses/study/${file.stored_as}`], 'one plain file, directly in its project')
      assert.deepEqual(await outside(), before)
      const [receipt] = (await readReceipts(server.basedir, 'study')).filter((each) => each['id'] === answer.json['id'])
      assert.deepEqual((receipt?.['files'] as { name: string }[]).map((each) => each.name), [given])
    })
  }
})

function quotedName(header: string | Buffer): string {
  return /filename="(.*)"$/s.exec(header.toString())?.[1] ?? ''
}

async function added(server: Running, before: readonly string[]): Promise<string[]> {
  return (await listUploads(server.basedir)).filter((path) => !before.includes(path))
}

test('a name that cannot be read is refused, and nothing of its file is left', async (t) => {
  const server = await startServer(t)
  const token = textPart('auth_token', await askToken(server))
  const headers: { name: string; header: string }[] = [
    { name: 'a second filename', header: `${quoted('a.wav')}; filename="../b.wav"` },
    { name: 'a second filename in capitals', header: `${quoted('a.wav')}; FileName="b.wav"` },
    { name: 'a second Content-Disposition', header: `${quoted('a.wav')}\r\n${quoted('../b.wav')}` },
    { name: 'a filename* that is not UTF-8', header: "Content-Disposition: form-data; name=file; filename*=UTF-8''%c0%af" },
    { name: 'a filename* of an unknown charset', header: "Content-Disposition: form-data; name=file; filename*=UTF-7''+AC8-" },
    { name: 'a filename* without a charset', header: 'Content-Disposition: form-data; name=file; filename*=a.wav' },
    { name: 'a quote that does not end', header: 'Content-Disposition: form-data; name="file"; filename="a.wav' },
    { name: 'NUL', header: quoted('a\0.wav') },
  ]
  for (const { name, header } of headers) {
    await t.test(name, async () => {
      const answer = await post(server, formatMultipart([{ header, content: 'RIFF' }, token]))
      assert.deepEqual([answer.status, answer.json['code']], [400, 'malformed_form'])
      await nothingIsLeft(server)
    })
  }
})

test('stored names are at most 255 bytes, however many files of one long name there are', async (t) => {
  const server = await startServer(t)
  const token = textPart('auth_token', await askToken(server))
  const parts: RawPart[] = Array.from({ length: 990 }, (_, index) => filePart('file', `${'漢'.repeat(100)}.zip.000`, String(index)))
  const files = assertAccepted(await post(server, formatMultipart([...parts, token])))
  assert.equal(new Set(files.map((file) => file.stored_as)).size, 990)
  for (const [index, file] of files.entries()) {
    assert.ok(Buffer.byteLength(file.stored_as) <= MAX_NAME_BYTES, file.stored_as)
    assert.ok(file.stored_as.endsWith('漢.zip.000'), 'file.stored_as.endsWith(漢.zip.000)')
    assert.equal(Buffer.from(file.stored_as).toString(), file.stored_as)
    assert.equal(await readStored(server, file).then(String), String(index))
  }
})

test('nothing is written through a project directory that is a link', async (t) => {
  for (const { name, target } of [
    { name: 'to a directory outside', target: 'elsewhere' },
    { name: 'to another project', target: 'base/uploads/responses/other' },
    { name: 'to nothing', target: 'missing' },
  ]) {
    await t.test(name, async (t) => {
      const above = await temporaryDirectory(t)
      const server = await startServer(t, { basedir: join(above, 'base') })
      const responses = join(server.basedir, 'uploads', 'responses')
      await mkdir(join(above, 'elsewhere'))
      await mkdir(join(responses, 'other'))
      await symlink(join(above, target), join(responses, 'study'))
      await assertFails(server)
      assert.equal(await readlink(join(responses, 'study')), join(above, target))
      assert.deepEqual(await listFiles(join(above, 'elsewhere')), [])
      assert.deepEqual(await listUploads(server.basedir), ['responses/study'])
      await assert.rejects(lstat(join(above, 'missing')), { code: 'ENOENT' })
    })
  }
  await t.test('that replaced the directory while the server ran', async (t) => {
    const above = await temporaryDirectory(t)
    const server = await startServer(t, { basedir: join(above, 'base') })
    const study = join(server.basedir, 'uploads', 'responses', 'study')
    assertAccepted(await submitFile(server))
    await mkdir(join(above, 'elsewhere'))
    await rm(study, { recursive: true })
    await symlink(join(above, 'elsewhere'), study)
    await assertFails(server)
    assert.deepEqual(await listFiles(join(above, 'elsewhere')), [])
    await rm(study)
    assertAccepted(await submitFile(server))
  })
})

test('a plain file in the place of a project directory is left as it is', async (t) => {
  const server = await startServer(t)
  const study = join(server.basedir, 'uploads', 'responses', 'study')
  await writeFile(study, 'mine')
  await assertFails(server)
  assert.equal(await readFile(study, 'utf8'), 'mine')
  assert.deepEqual(await listUploads(server.basedir), ['responses/study'])
  const other = await askToken(server, { project: 'other' })
  assertAccepted(await post(server, formatMultipart([filePart('file', 'a', ''), textPart('auth_token', other)])))
})

test('a project whose directory of receipts is a file is refused, and nothing of a submission stays', async (t) => {
  const server = await startServer(t)
  await writeFile(join(server.basedir, 'receipts', 'study'), 'mine')
  const answer = await submitFile(server)
  assert.deepEqual([answer.status, answer.json['code']], [409, 'unusable_project'])
  await nothingIsLeft(server)
  assert.equal(await readFile(join(server.basedir, 'receipts', 'study'), 'utf8'), 'mine')
})

async function submitFile(server: Running) {
  return post(server, formatMultipart([filePart('file', 'a.wav', 'RIFF'), filePart('file', 'b.wav', 'RIFF'), textPart('auth_token', await askToken(server))]))
}

async function assertFails(server: Running): Promise<void> {
  const receipts = await readReceipts(server.basedir, 'study').catch(() => [])
  const answer = await submitFile(server)
  assert.equal(answer.status, 409)
  assert.equal(answer.headers.get('access-control-allow-origin'), '*')
  assert.equal(answer.json['code'], 'unusable_project')
  assert.ok(!answer.text.includes(server.basedir), '!answer.text.includes(server.basedir)')
  await nothingIsLeft(server, ['responses/study'])
  assert.deepEqual(await readReceipts(server.basedir, 'study').catch(() => []), receipts)
}

test('what is stored carries no permission for others, whatever the umask', async (t) => {
  const server = await startServer(t, { through: ['sh', '-c', 'umask 000; exec "$@"', 'sh'] })
  assertAccepted(await submitFile(server))
  const entries = await readdir(server.basedir, { recursive: true, withFileTypes: true })
  assert.ok(entries.length > 8, 'entries.length > 8')
  for (const entry of entries) {
    const { mode } = await lstat(join(entry.parentPath, entry.name))
    assert.equal(mode & 0o777, entry.isDirectory() ? 0o700 : 0o600, entry.name)
  }
})

test('a name never begins a path: a file of each hash is where its receipt says', async (t) => {
  const server = await startServer(t)
  const token = textPart('auth_token', await askToken(server))
  const parts = cases.map(({ name, header }) => ({ header, content: `content of ${name}` }))
  const files = assertAccepted(await post(server, formatMultipart([...parts, token])))
  assert.equal(files.length, cases.length)
  for (const file of files) {
    assert.equal(sha256Of(await readStored(server, file)), file.sha256)
  }
})
