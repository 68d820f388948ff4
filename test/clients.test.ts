import assert from 'node:assert/strict'
import { execFile, type ExecFileException } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { request as openRequest } from 'node:http'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { ADMIN_TOKEN, askToken, listUploads, needs, readReceipts, request, startServer, temporaryDirectory, until } from './harness.ts'
import type { Answer, Running } from './harness.ts'
import { sha256Of } from './sha256.ts'
import { assertAccepted, assertRefused, nothingIsLeft, post, readStored } from './submission.ts'

const UNKNOWN_TOKEN = `study-${'0'.repeat(32)}`

/** Runs a program without a shell, and gives its standard output; fails with what it printed. */
function run(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { timeout: 600_000 }, (error: ExecFileException | null, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`${command} ended with ${error.code}: ${stdout}${stderr}`))
    })
  })
}

/** Runs curl, and gives the answer it printed. */
async function curl(server: Running, args: readonly string[]): Promise<Answer> {
  const output = await run('curl', ['--silent', '--show-error', '--max-time', '300', '--include', ...args, `${server.url}/submit`])
  const heads = output.split('\r\n\r\n')
  const text = heads.pop() ?? ''
  const [statusLine = '', ...lines] = heads.at(-1)?.split('\r\n') ?? []
  const headers = new Headers(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]))
  return { status: Number(statusLine.split(' ')[1]), headers, text, json: JSON.parse(text) as Record<string, unknown> }
}

/** A server, a token of it, and a file to upload; or undefined where the peer is not installed. */
async function prepare(t: TestContext, peer: string, bytes: number) {
  if (!needs(t, peer, peer)) return undefined
  const server = await startServer(t)
  const path = join(await temporaryDirectory(t), 'voice.wav')
  const content = randomBytes(bytes)
  await writeFile(path, content)
  return { server, authToken: await askToken(server), path, content }
}

test('curl submits', async (t) => {
  const prepared = await prepare(t, 'curl', 200_000)
  if (prepared === undefined) return
  const { server, authToken, path, content } = prepared
  const answers = '{"a": [1.0, "é & =+%"]}'
  const token = `auth_token=${authToken}`
  const body = join(await temporaryDirectory(t), 'body.json')
  await writeFile(body, `{"auth_token":"${authToken}","responses":${answers}}`)
  const voice = ['voice.wav', content] as const
  const messages = ['messages.json', Buffer.from(answers)] as const
  const cases: { name: string; args: string[]; expected: (readonly [string, Buffer])[] }[] = [
    { name: 'a form with a file', args: ['-F', `file=@${path}`, '-F', token, '-F', `responses=${answers}`], expected: [voice, messages] },
    {
      name: 'a file under another name and media type',
      args: ['-F', token, '-F', `file=@${path};filename="a \\"b\\";c.wav";type=audio/wav`],
      expected: [['a "b";c.wav', content]],
    },
    {
      name: 'several files in one field',
      args: ['-F', token, '-F', `file=@${path}`, '-F', `file=@${path};filename=2.wav`],
      expected: [voice, ['2.wav', content]],
    },
    { name: 'answers from a file', args: ['-F', token, '-F', `responses=<${body}`], expected: [['messages.json', await readFile(body)]] },
    { name: 'pairs', args: ['-d', token, '--data-urlencode', `responses=${answers}`], expected: [messages] },
    {
      name: 'a JSON body',
      args: ['-H', 'Content-Type: application/json', '--data-binary', `@${body}`],
      expected: [messages],
    },
    {
      name: 'a form whose token is in the header',
      args: ['-H', `Authorization: bearer ${authToken}`, '-F', `file=@${path}`],
      expected: [voice],
    },
    { name: 'a form after it was told to go on', args: ['-H', 'Expect: 100-continue', '-F', `file=@${path}`, '-F', token], expected: [voice] },
    { name: 'a form in chunks', args: ['-H', 'Transfer-Encoding: chunked', '-F', `file=@${path}`, '-F', token], expected: [voice] },
    { name: 'a form over HTTP/1.0', args: ['--http1.0', '-F', `file=@${path}`, '-F', token], expected: [voice] },
  ]
  for (const { name, args, expected } of cases) {
    await t.test(name, async () => {
      const files = assertAccepted(await curl(server, args))
      assert.deepEqual(files.map((file) => file.name), expected.map(([filename]) => filename))
      for (const [index, file] of files.entries()) assert.deepEqual(await readStored(server, file), expected[index]?.[1])
    })
  }
})

test('curl receives its refusal', async (t) => {
  const prepared = await prepare(t, 'curl', 5_000_000)
  if (prepared === undefined) return
  const { server, path } = prepared
  const unknown = { status: 403, code: 'unauthorized_token' }
  const cases = [
    { name: 'after the whole of a form', args: ['-F', `file=@${path}`, '-F', `auth_token=${UNKNOWN_TOKEN}`], expected: unknown },
    { name: 'while it still sends a form', args: ['-F', `auth_token=${UNKNOWN_TOKEN}`, '-F', `file=@${path}`], expected: unknown },
    {
      name: 'before it sends a form',
      args: ['-H', 'Expect: 100-continue', '-H', `Authorization: Bearer ${UNKNOWN_TOKEN}`, '-F', `file=@${path}`],
      expected: unknown,
    },
    { name: 'of a body that is no form', args: ['-T', path, '-X', 'POST'], expected: { status: 415, code: 'unsupported_media_type' } },
    {
      name: 'of an encoded body',
      args: ['-H', 'Content-Encoding: gzip', '-H', 'Content-Type: application/json', '--data-binary', `@${path}`],
      expected: { status: 415, code: 'unsupported_content_encoding' },
    },
  ]
  for (const { name, args, expected } of cases) {
    await t.test(name, async () => {
      assertRefused(await curl(server, args), expected)
      await nothingIsLeft(server)
    })
  }
})

test('curl submits a file of 60 MB', async (t) => {
  const prepared = await prepare(t, 'curl', 60_000_000)
  if (prepared === undefined) return
  const { server, authToken, path, content } = prepared
  const [file] = assertAccepted(await curl(server, ['-F', `file=@${path}`, '-F', `auth_token=${authToken}`]))
  assert.equal(file?.bytes, 60_000_000)
  assert.equal(file.sha256, sha256Of(content))
  assert.equal(sha256Of(await readStored(server, file)), sha256Of(content))
})

test('curl submits slowly, and longer than an upload may stand still', async (t) => {
  if (!needs(t, 'curl', 'curl')) return
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_IDLE_SECONDS: '4' } })
  const path = join(await temporaryDirectory(t), 'voice.wav')
  const content = randomBytes(500_000)
  await writeFile(path, content)
  const answered = curl(server, ['--limit-rate', '60k', '-F', `file=@${path}`, '-F', `auth_token=${await askToken(server)}`])
  await until('the upload has begun', async () => (await listUploads(server.basedir)).some((name) => name.startsWith('staging/')))
  const [file] = assertAccepted(await answered)
  assert.deepEqual(await readStored(server, file), content)
})

const PYTHON = `
import http.client, json, sys, urllib.parse
host, port, token, path = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
content = open(path, 'rb').read()
answers = '{"b": 1.0, "a": "\\u00e9"}'.encode()
boundary = 'python-7d44e178b0434'

def part(head, body):
    return b'--' + boundary.encode() + b'\\r\\nContent-Disposition: form-data; ' + head.encode() + b'\\r\\n\\r\\n' + body + b'\\r\\n'

form = (part('name="file"; filename="voice.wav"', content) + part('name="auth_token"', token.encode())
        + part('name="responses"', answers) + b'--' + boundary.encode() + b'--\\r\\n')
multipart = 'multipart/form-data; boundary=' + boundary
pieces = (form[at:at + 7001] for at in range(0, len(form), 7001))
connection = http.client.HTTPConnection(host, port, timeout=300)
requests = [
    ('a form', multipart, form, {}),
    ('a form in chunks', multipart, pieces, {}),
    ('pairs', 'application/x-www-form-urlencoded', urllib.parse.urlencode({'auth_token': token, 'responses': answers}), {}),
    ('a JSON body', 'application/json', json.dumps({'auth_token': token, 'responses': json.loads(answers)}), {}),
    ('a JSON body and a header', 'application/json', b'{"responses":' + answers + b'}', {'Authorization': 'Bearer ' + token}),
]
answered = []
for name, media_type, body, headers in requests:  # all on one connection
    connection.request('POST', '/submit/', body, {'Content-Type': media_type, **headers})
    response = connection.getresponse()
    answered.append([name, response.status, json.loads(response.read())])
print(json.dumps(answered))
`

test('python submits, all on one connection', async (t) => {
  const prepared = await prepare(t, 'python3', 300_000)
  if (prepared === undefined) return
  const { server, authToken, path, content } = prepared
  const output = await run('python3', ['-c', PYTHON, '127.0.0.1', String(server.port), authToken, path])
  const answered = JSON.parse(output) as [string, number, { files: { name: string; stored_as: string }[] }][]
  const answers = '{"b": 1.0, "a": "é"}'
  const stored = await Promise.all(
    answered.map(async ([name, status, { files }]) => {
      const contents = files.map(async (file) => [file.name, sha256Of(await readFile(join(server.basedir, 'uploads/responses/study', file.stored_as)))])
      return { name, status, files: await Promise.all(contents) }
    }),
  )
  const messages = (text: string) => ['messages.json', sha256Of(Buffer.from(text))]
  const voice = ['voice.wav', sha256Of(content)]
  assert.deepEqual(stored, [
    { name: 'a form', status: 200, files: [voice, messages(answers)] },
    { name: 'a form in chunks', status: 200, files: [voice, messages(answers)] },
    { name: 'pairs', status: 200, files: [messages(answers)] },
    { name: 'a JSON body', status: 200, files: [messages('{"b": 1.0, "a": "\\u00e9"}')] },
    { name: 'a JSON body and a header', status: 200, files: [messages(answers)] },
  ])
})

test('fetch submits', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  const content = randomBytes(300_000)
  const formData = new FormData()
  formData.append('file', new Blob([content], { type: 'audio/wav' }), 'vo"ice\r\né.wav')
  formData.append('auth_token', authToken)
  formData.append('a "b"\r\n', 'line\nend')
  const cases = [
    { name: 'FormData', body: formData, names: ['vo"ice\r\né.wav'] },
    { name: 'URLSearchParams', body: new URLSearchParams({ auth_token: authToken, responses: '{"a":"é +&="}' }), names: ['messages.json'] },
  ]
  for (const { name, body, names } of cases) {
    await t.test(name, async () => {
      const files = assertAccepted(await request(`${server.url}/submit`, { method: 'POST', body }))
      assert.deepEqual(files.map((file) => file.name), names)
      assert.deepEqual(await readStored(server, files[0]), name === 'FormData' ? content : Buffer.from('{"a":"é +&="}'))
    })
  }
  const [receipt] = await readReceipts(server.basedir, 'study')
  assert.deepEqual(receipt?.['fields'], [{ name: 'a "b"\r\n', value: 'line\r\nend' }])
  assert.equal((receipt?.['files'] as { media_type: string }[])[0]?.media_type, 'audio/wav')
})

test('a client that waits to be told to go on is told so where its head is good, and refused where it is not', async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server)
  for (const { token, expected } of [{ token: authToken, expected: ['100', '200'] }, { token: UNKNOWN_TOKEN, expected: ['403'] }]) {
    const headers = { Expect: '100-continue', 'Content-Type': 'application/json', 'Content-Length': 15, Authorization: `Bearer ${token}` }
    const upload = openRequest({ port: server.port, path: '/submit', method: 'POST', headers, agent: false })
    const seen: string[] = []
    upload.on('error', () => undefined) // it is closed under a client that was refused and sends nothing
    upload.on('continue', () => seen.push('100') > 0 && upload.end('{"responses":1}'))
    upload.on('response', (response) => seen.push(String(response.resume().statusCode)))
    upload.flushHeaders()
    await until('it is answered', () => seen.length === expected.length)
    assert.deepEqual(seen, expected)
    upload.destroy()
  }
})

/** A slice of a recording, byte for byte as reproschema-ui sends it through axios from a browser. */
function formatSlice(boundary: string, name: string, content: Buffer, fields: { auth_token: string; expires: string }): Buffer {
  const disposition = 'Content-Disposition: form-data; name='
  const texts = Object.entries(fields).map(([field, value]) => `\r\n--${boundary}\r\n${disposition}"${field}"\r\n\r\n${value}`)
  return Buffer.concat([
    Buffer.from(`--${boundary}\r\n${disposition}"file"; filename="${name}"\r\nContent-Type: application/octet-stream\r\n\r\n`),
    content,
    Buffer.from(`${texts.join('')}\r\n--${boundary}--\r\n`),
  ])
}

test('reproschema-ui submits a recording in slices, all at once, and sends one of them again', async (t) => {
  const server = await startServer(t)
  const query = new URLSearchParams({ token: ADMIN_TOKEN, project: 'study' })
  const issued = (await request(`${server.url}/token/?${query}`)).json as { auth_token: string; expiry_time: string }
  const fields = { auth_token: issued.auth_token, expires: issued.expiry_time }
  const zip = randomBytes(11 * 1_000_000 + 12_345)
  const slices = Array.from({ length: 12 }, (_, index) => ({
    name: `X.zip.00${index}`, // also the eleventh: X.zip.0010
    content: zip.subarray(index * 1_000_000, (index + 1) * 1_000_000),
  }))
  const send = async ({ name, content }: { name: string; content: Buffer }) => {
    const boundary = `----WebKitFormBoundary${randomBytes(12).toString('base64url').replace(/[_-]/g, 'A')}`
    const headers = {
      Accept: 'application/json, text/plain, */*',
      Origin: 'https://study.example.org',
      'content-type': `multipart/form-data; boundary=${boundary}`,
    }
    return post({ url: `${server.url}/` }, formatSlice(boundary, name, content, fields), { headers })
  }

  const answers = await Promise.all(slices.map(send))
  const files = answers.map((answer) => assertAccepted(answer)[0])
  assert.deepEqual(files.map((file) => file?.name), slices.map((slice) => slice.name))
  for (const [index, file] of files.entries()) assert.ok(file?.stored_as.endsWith(`Z-X.zip.00${index}`), 'file?.stored_as.endsWith(Z-X.zip.00${index})')
  const stored = await Promise.all(files.map((file) => readStored(server, file)))
  assert.deepEqual(sha256Of(Buffer.concat(stored)), sha256Of(zip))

  const [again] = assertAccepted(await send(slices[10] ?? assert.fail()))
  assert.equal(again?.name, 'X.zip.0010')
  assert.deepEqual(await readStored(server, again), slices[10]?.content)
  assert.deepEqual(await Promise.all(files.map((file) => readStored(server, file))), stored)
  const receipts = await readReceipts(server.basedir, 'study')
  for (const receipt of receipts.slice(0, 12)) assert.deepEqual(receipt['fields'], [{ name: 'expires', value: issued.expiry_time }])
})
