import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { runCommand } from './commanded.ts'
import { needs, readReceipts, runProgram, startServer, submitForm, temporaryDirectory } from './harness.ts'

const UI = 'https://ui.example.org/#/?url=study.jsonld'

interface Link {
  readonly participant: string
  readonly link: string
  readonly expires: string
}

async function makeBasedir(t: TestContext): Promise<string> {
  const basedir = await temporaryDirectory(t)
  await mkdir(join(basedir, 'tokens'), { mode: 0o700 })
  return basedir
}

/** Reads the rows of plain CSV, without quoted cells. */
function readLinks(csv: string): Link[] {
  const [head, ...rows] = csv.split('\r\n')
  assert.equal(rows.pop(), '', 'each line ends as RFC 4180 has it')
  assert.equal(head, 'participant,link,expires')
  return rows.map((row) => {
    const [participant = '', link = '', expires = ''] = row.split(',')
    return { participant, link, expires }
  })
}

/** The parameters that a web app reads in the fragment of its address. */
const parametersOf = (link: string) => Object.fromEntries(new URLSearchParams(new URL(link).hash.split('?')[1]))

test('each participant gets a link whose token a running server takes, with the participant in the receipt', async (t) => {
  const server = await startServer(t)
  const file = join(await temporaryDirectory(t), 'participants')
  await writeFile(file, '\ufeffp-0001\r\n\r\n  Zoë 7 \n')
  const { status, stdout, stderr } = runProgram(['links', 'my-study', `--ui=${UI}`, `--participants=${file}`, '--minutes=60', `--basedir=${server.basedir}`])
  assert.deepEqual([status, stderr], [0, ''])
  const links = readLinks(stdout)
  assert.deepEqual(links.map(({ participant }) => participant), ['p-0001', 'Zoë 7'])
  for (const { participant, link, expires } of links) {
    const { url, auth_token: authToken = '', uid, expiry_time: expiryTime } = parametersOf(link)
    assert.deepEqual({ url, uid, expiryTime }, { url: 'study.jsonld', uid: participant, expiryTime: expires.replace(/[:-]/g, '') })
    assert.match(expires, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    const answer = await submitForm(server, [['auth_token', authToken], ['responses', '[]']])
    assert.equal(answer.status, 200, answer.text)
  }
  const receipts = await readReceipts(server.basedir, 'my-study')
  assert.deepEqual(receipts.map((receipt) => receipt['participant']), ['p-0001', 'Zoë 7'])
  for (const [participant, code] of [['p-0001', 0], ['Zoë 7', 0], ['p-0002', 1]] as const) {
    assert.equal(runProgram(['status', 'my-study', `--participant=${participant}`, `--basedir=${server.basedir}`]).status, code, participant)
  }
})

test('what the address of a study asks for itself is left as it is', async (t) => {
  const basedir = await makeBasedir(t)
  const ui = 'https://ui.example.org/#/?url=https://lab.example.org/study?uid=1'
  const { status, stdout } = runProgram(['links', 'study', `--ui=${ui}`, '--count=1', `--basedir=${basedir}`])
  assert.equal(status, 0)
  assert.ok(readLinks(stdout)[0]?.link.startsWith(`${ui}&auth_token=study-`), stdout)
})

test('without a list the participants get names that nobody has', async (t) => {
  const basedir = await makeBasedir(t)
  const names: string[] = []
  for (let count = 0; count < 2; count++) {
    const { status, stdout } = await runCommand(['links', 'study', `--ui=${UI}`, '--count=120', `--basedir=${basedir}`])
    assert.equal(status, 0)
    for (const { participant, expires } of readLinks(stdout)) {
      assert.ok(Math.abs(Date.parse(expires) - Date.now() - 30 * 86_400_000) < 600_000, `${expires} is 30 days from now`)
      names.push(participant)
    }
  }
  assert.equal(new Set(names).size, 240)
  for (const name of names) assert.match(name, /^p-[2-9a-z]{8}$/)
  assert.equal((await readdir(join(basedir, 'tokens'))).length, 240)
})

test('a name that a spreadsheet would run is neutralised, and what the app gets is the name', async (t) => {
  const basedir = await makeBasedir(t)
  const file = join(basedir, 'participants')
  await writeFile(file, '=1+1\n"a,b"\n')
  const { stdout } = await runCommand(['links', 'study', `--ui=${UI}`, `--participants=${file}`, `--basedir=${basedir}`])
  const [, first = '', second = ''] = stdout.split('\r\n')
  assert.ok(first.startsWith("'=1+1,https://"), first)
  assert.ok(second.startsWith('"""a,b""",https://'), second)
  assert.match(first, /&uid=%3D1%2B1,/)
})

test('the page to print has one card a participant, and each QR code is its link', async (t) => {
  const basedir = await makeBasedir(t)
  const file = join(basedir, 'participants')
  await writeFile(file, 'p-0001\n<script>alert("1")</script>&\n')
  const { status, stdout } = await runCommand(['links', 'study', `--ui=${UI}`, `--participants=${file}`, '--html', `--basedir=${basedir}`])
  assert.equal(status, 0)
  assert.ok(!stdout.includes('<script'), 'names are text')
  assert.doesNotMatch(stdout, /<(?:script|link|img|iframe)\b|\bsrc=|@import|url\((?!.*jsonld)/, 'the page loads nothing')
  const hrefs = [...stdout.matchAll(/<a href="([^"]*)"/g)].map(([, href = '']) => href.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code))))
  assert.equal(hrefs.length, 2)
  if (!needs(t, 'rsvg-convert', 'librsvg2-bin') || !needs(t, 'zbarimg', 'zbar-tools')) return
  for (const [index, [svg]] of [...stdout.matchAll(/<svg[^]*?<\/svg>/g)].entries()) {
    const [svgPath, pngPath] = [join(basedir, `${index}.svg`), join(basedir, `${index}.png`)]
    await writeFile(svgPath, svg)
    assert.equal(spawnSync('rsvg-convert', ['--width=600', `--output=${pngPath}`, svgPath]).status, 0, 'the SVG is drawn')
    assert.equal(spawnSync('zbarimg', ['--quiet', '--raw', pngPath], { encoding: 'utf8' }).stdout.trimEnd(), hrefs[index])
  }
})

const LIST = '--participants=LIST' // of the base directory
const mistakeRows: [name: string, args: string[], list: string | Buffer, sentence: RegExp][] = [
  ['no project', [`--ui=${UI}`, '--count=1'], '', /<project> is missing/],
  ['a project that cannot be', ['../x', `--ui=${UI}`, '--count=1'], '', /The project "\.\.\/x" is not allowed/],
  ['no address', ['study', '--count=1'], '', /--ui is missing/],
  ['an address that is none', ['study', '--ui=ui.example.org', '--count=1'], '', /--ui="ui\.example\.org" is not allowed/],
  ['an address that is a participant\'s link', ['study', `--ui=${UI}&auth_token=study-0123456789abcdef0123456789abcdef&uid=p`, '--count=1'], '', /^--ui has auth_token already, as a participant's link has: [^\n]*\n$/],
  ['an address that names a participant before its route', ['study', '--ui=https://ui.example.org/?uid=p#/', '--count=1'], '', /^--ui has uid already/],
  ['an address that runs a script', ['study', '--ui=javascript:alert(1)', '--count=1'], '', /--ui=.* is not allowed/],
  ['nobody', ['study', `--ui=${UI}`], '', /For whom\?/],
  ['a list and a count', ['study', `--ui=${UI}`, '--count=1', LIST], 'p\n', /^--participants and --count are both given: use one of them\.\n$/],
  ['a count of none', ['study', `--ui=${UI}`, '--count=0'], '', /--count="0" is not allowed/],
  ['a count that is no number', ['study', `--ui=${UI}`, '--count=1e3'], '', /--count="1e3" is not allowed/],
  ['minutes that are too many', ['study', `--ui=${UI}`, '--count=1', '--minutes=525601'], '', /--minutes="525601" is not allowed/],
  ['an empty list', ['study', `--ui=${UI}`, LIST], '\n \n', /names no participant/],
  ['a name twice', ['study', `--ui=${UI}`, LIST], 'p\nq\np\n', /names "p" twice/],
  ['a name twice, in two forms that look the same', ['study', `--ui=${UI}`, LIST], 'Zo\u00eb\nZoe\u0308\n', /names ".*" twice/],
  ['a list in another encoding', ['study', `--ui=${UI}`, LIST], Buffer.from('Zo\u00eb\n', 'latin1'), /LIST is not UTF-8: save it as that/],
  ['a name with a control character', ['study', `--ui=${UI}`, LIST], 'p\u0007\n', /1 to 200 characters/],
  ['a list that is not there', ['study', `--ui=${UI}`, '--participants=/nowhere/list'], '', /cannot be read/],
  ['links too long for a QR code', ['study', `--ui=https://ui.example.org/?${'x'.repeat(1900)}`, LIST], 'é'.repeat(100), /longer than a QR code holds/],
]
for (const [name, args, list, sentence] of mistakeRows) {
  test(`nothing is issued: ${name}`, async (t) => {
    const basedir = await makeBasedir(t)
    await writeFile(join(basedir, 'LIST'), list)
    const { status, stdout, stderr } = await runCommand(['links', ...args.map((arg) => arg.replace('=LIST', `=${join(basedir, 'LIST')}`)), `--basedir=${basedir}`])
    assert.deepEqual([status, stdout], [2, ''], stderr)
    assert.match(stderr, sentence)
    assert.deepEqual(await readdir(join(basedir, 'tokens')), [])
  })
}
