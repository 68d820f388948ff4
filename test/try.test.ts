import assert from 'node:assert/strict'
import { createServer, type IncomingMessage } from 'node:http'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { runCommand } from './commanded.ts'
import { ADMIN_TOKEN, freePort, listUploads, readReceipts, runAside, startServer, temporaryDirectory, until } from './harness.ts'
import { sha256Of } from './sha256.ts'

const attempt = (...args: readonly string[]) => runCommand(['try', ...args])

// Not `runProgram`: the fake server below lives in this process and must go on meanwhile.
const attemptAside = (...args: readonly string[]) => runAside(['try', ...args])

for (const end of ['', '/', '//']) {
  test(`\`try\` ends with 0 where everything arrived, at an address that ends in ${JSON.stringify(end)}`, async (t) => {
    const server = await startServer(t)
    const { status, stdout, stderr } = await attemptAside('--token', ADMIN_TOKEN, '--url', `${server.url}${end}`)
    assert.deepEqual([status, stderr], [0, ''], stdout)
    assert.equal(stdout.match(/: SHA-256 matches$/gm)?.length, 3)
    assert.match(stdout, /^ok: /m)
    assert.ok(!stdout.includes(ADMIN_TOKEN) && !/try-[0-9a-f]{32}/.test(stdout), stdout)
    const stored = await listUploads(server.basedir)
    assert.deepEqual(stored.map((path) => path.replace(/^responses\/try\/[^-]*-/, '')).toSorted(), ['messages.json', 'messages.json', 'try.bin'])
    assert.equal((await readReceipts(server.basedir, 'try')).length, 2)
    for (const path of stored) {
      const content = await readFile(join(server.basedir, 'uploads', path))
      assert.ok(stdout.includes(sha256Of(content)), path)
    }
  })
}

test('`try` reads the admin token from a file, with a newline or without', async (t) => {
  const server = await startServer(t)
  const file = join(await temporaryDirectory(t), 'admin-token')
  for (const end of ['', '\n']) {
    await writeFile(file, `${ADMIN_TOKEN}${end}`)
    const { status, stdout, stderr } = await attempt('--token-file', file, '--url', server.url)
    assert.deepEqual([status, stderr], [0, ''], stdout)
    assert.ok(!stdout.includes(ADMIN_TOKEN), stdout)
  }
})

const FILE_ALLOWED = 'use a file that can be read and holds 8 to 200 visible ASCII characters'
const usages = [
  { name: 'no token', args: [], says: /^--token is missing: .*\n$/ },
  { name: 'a file that is not there', args: ['--token-file=/nowhere/x'], says: new RegExp(`^--token-file="/nowhere/x" is not allowed: ${FILE_ALLOWED}\\.\\n$`) },
  { name: 'a file that holds no token', args: ['--token-file=/dev/null'], says: new RegExp(`^--token-file="/dev/null" is not allowed: ${FILE_ALLOWED}\\.\\n$`) },
  { name: 'a token and a file', args: ['--token=x', '--token-file=/dev/null'], says: /^--token and --token-file are both given: use one of them\.\n$/ },
  { name: 'a file and an address that are none', args: ['--token-file=/nowhere/x', '--url=localhost'], says: /^--url="localhost" .*\n--token-file="\/nowhere\/x" .*\n$/ },
  { name: 'a token without its text', args: ['--token'], says: /--token/ },
  { name: 'an address that is none', args: ['--token=x', '--url=localhost'], says: /^--url="localhost" is not allowed: .*\n$/ },
  { name: 'an address of another scheme', args: ['--token=x', '--url=ftp://x/'], says: /^--url="ftp:\/\/x\/" is not allowed: .*\n$/ },
  { name: 'an option that does not exist', args: ['--token=x', '--bogus'], says: /bogus.*--help lists what there is\.\n$/ },
  { name: 'a word too many', args: ['--token=x', 'more'], says: /more.*--help lists what there is\.\n$/ },
]
for (const { name, args, says } of usages) {
  test(`\`try\` with ${name} ends with 2 and a line that says so`, async () => {
    const { status, stdout, stderr } = await attempt(...args)
    assert.deepEqual([status, stdout], [2, ''])
    assert.match(stderr, says)
    assert.doesNotMatch(stderr, /\n {4}at /)
  })
}

test('`try` with a wrong admin token ends with 1 and shows what the server said', async (t) => {
  const server = await startServer(t)
  const { status, stdout, stderr } = await attempt('--token', 'wrong-token', '--url', server.url)
  assert.deepEqual([status, stderr], [1, ''])
  assert.match(stdout, /^FAILED: GET \/token: 403 .*not_authorized_token/)
})

for (const host of ['127.0.0.1', 'localhost']) {
  test(`\`try\` without a server at ${host} ends with 1 and one line that says where`, async () => {
    const port = await freePort()
    const { status, stdout, stderr } = await attempt('--token', ADMIN_TOKEN, '--url', `http://${host}:${port}`)
    assert.deepEqual([status, stderr], [1, ''])
    assert.match(stdout, new RegExp(`^FAILED: no answer from http://${host}:${port}: .*ECONNREFUSED.*\\. Nothing listens there: .* --url\\.\\n$`))
  })
}

test('`try` with https: at a server that speaks no TLS says so in one line', async (t) => {
  const server = await startServer(t)
  const url = server.url.replace('http:', 'https:')
  const { status, stdout, stderr } = await attempt('--token', ADMIN_TOKEN, '--url', url)
  assert.deepEqual([status, stderr, stdout], [1, '', `FAILED: no answer from ${url}: it speaks no TLS. Use http:// for a server without TLS.\n`])
})

test('`try` with a name that does not exist ends with 1 and one line', async () => {
  const { status, stdout, stderr } = await attempt('--token', ADMIN_TOKEN, '--url', 'http://no.such.invalid')
  assert.deepEqual([status, stderr], [1, ''])
  assert.match(stdout, /^FAILED: no answer from http:\/\/no\.such\.invalid: .+\n$/)
})

const granted = { status: 200, body: '{"auth_token":"try-0","expires":"x"}' }
interface FakeAnswer {
  readonly status: number
  readonly body: string
}

/** What a server would say that stores what it is sent. */
function honest(fields: ReadonlyMap<string, Buffer>): { name: string; sha256: string }[] {
  const names: Record<string, string> = { file: 'try.bin', responses: 'messages.json' }
  return [...fields].flatMap(([field, content]) => {
    const name = names[field]
    return name === undefined ? [] : [{ name, sha256: sha256Of(content) }]
  })
}

const accepted = (files: unknown, status = 'accepted'): FakeAnswer => ({ status: 200, body: JSON.stringify({ status, files }) })
const fakes: readonly { name: string; status: number; token?: FakeAnswer; submit: (fields: ReadonlyMap<string, Buffer>) => FakeAnswer; says: RegExp }[] = [
  { name: 'holds', status: 0, submit: (fields) => accepted(honest(fields)), says: /^ok: /m },
  {
    name: 'has the wrong SHA-256 of the file',
    status: 1,
    submit: (fields) => accepted(honest(fields).map((file) => (file.name === 'try.bin' ? { ...file, sha256: '0'.repeat(64) } : file))),
    says: /^try\.bin: SHA-256 should be [0-9a-f]{64}, the answer says 0{64}$/m,
  },
  {
    name: 'has the wrong SHA-256 of the second messages',
    status: 1,
    submit: (fields) => accepted(fields.has('file') ? honest(fields) : [{ name: 'messages.json', sha256: 'f'.repeat(64) }]),
    says: /^messages\.json: SHA-256 should be .* the answer says f{64}$/m,
  },
  { name: 'says nothing of the messages', status: 1, submit: (fields) => accepted(honest(fields).slice(0, 1)), says: /^messages\.json: .*nothing of it$/m },
  { name: 'has no files', status: 1, submit: () => accepted(undefined), says: /^try\.bin: .*nothing of it$/m },
  { name: 'has files that are none', status: 1, submit: () => accepted([null, 1, { name: 'try.bin', sha256: 1 }]), says: /^FAILED: see above$/m },
  { name: 'is not `accepted`', status: 1, submit: (fields) => accepted(honest(fields), 'refused'), says: /^FAILED: see above$/m },
  { name: 'is refused', status: 1, submit: () => ({ status: 507, body: '{"code":"insufficient_storage"}' }), says: /^FAILED: POST \/submit: 507 .*insufficient_storage/m },
  { name: 'is no JSON', status: 1, submit: () => ({ status: 200, body: '<html>' }), says: /^FAILED: POST \/submit: 200 and no JSON object$/m },
  { name: 'has no token', status: 1, token: { status: 200, body: '{}' }, submit: () => accepted([]), says: /^FAILED: GET \/token: the answer has no auth_token$/m },
  { name: 'is null instead of a token', status: 1, token: { status: 200, body: 'null' }, submit: () => accepted([]), says: /^FAILED: GET \/token: 200 and no JSON/m },
]
for (const { name, status, token = granted, submit, says } of fakes) {
  test(`\`try\` ends with ${status} at a server whose answer ${name}`, async (t) => {
    const url = await fakeServer(t, async (request) => {
      if (request.method === 'GET') return token
      return submit(await fieldsOf(request))
    })
    const ended = await attempt('--token', ADMIN_TOKEN, '--url', url)
    assert.deepEqual([ended.status, ended.stderr], [status, ''], ended.stdout)
    assert.match(ended.stdout, says)
    assert.equal(/^ok: /m.test(ended.stdout), status === 0)
  })
}

test('`try` ends with 1 at a server that hangs up', async (t) => {
  const url = await fakeServer(t, async (request) => void request.socket.destroy())
  const { status, stdout, stderr } = await attemptAside('--token', ADMIN_TOKEN, '--url', url)
  assert.deepEqual([status, stderr], [1, ''])
  assert.match(stdout, /^FAILED: no answer from .+\n$/)
})

async function fakeServer(t: TestContext, answer: (request: IncomingMessage) => Promise<FakeAnswer | void>): Promise<string> {
  const server = createServer((request, response) => {
    void answer(request).then((given) => {
      if (given !== undefined) response.writeHead(given.status, { Connection: 'close' }).end(given.body)
    })
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await until('the fake server listens', () => server.listening)
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
}

/** The fields of a form, by a reader that is not the server's: the one behind `Response` in Node. */
async function fieldsOf(request: IncomingMessage): Promise<ReadonlyMap<string, Buffer>> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const headers = { 'Content-Type': request.headers['content-type'] ?? '' }
  const form = await new Response(Buffer.concat(chunks), { headers }).formData()
  const fields = new Map<string, Buffer>()
  for (const [name, value] of form) {
    fields.set(name, typeof value === 'string' ? Buffer.from(value) : Buffer.from(await value.arrayBuffer()))
  }
  return fields
}
