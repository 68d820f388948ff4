import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { addParameters, parseCallbackUrl } from '../lib/access/callback.ts'
import { HttpError } from '../lib/errors.ts'
import { ADMIN_TOKEN, commonServer, listFiles, request, startServer, submitForm, until, type Answer } from './harness.ts'
import { sha256Of } from './sha256.ts'

const common = commonServer()
const DEVELOPMENT = { DEV8dac6d02a913: '1' }

function register(server: { url: string }, parameters: Record<string, string>): Promise<Answer> {
  return request(`${server.url}/register?${new URLSearchParams({ token: ADMIN_TOKEN, ...parameters })}`)
}

async function clientFor(server: { url: string }, callbackUrl: string, project?: string): Promise<string> {
  const answer = await register(server, { callback_url: callbackUrl, ...(project === undefined ? {} : { project }) })
  assert.equal(answer.status, 200, answer.text)
  return String(answer.json['client_id'])
}

/** What the callback of a redirect is given, and where it goes. */
async function follow(server: { url: string }, query: string): Promise<{ location: string; parameters: URLSearchParams }> {
  const answer = await request(`${server.url}/token?${query}`)
  assert.equal(answer.status, 302, answer.text)
  assert.equal(answer.headers.get('cache-control'), 'no-store')
  assert.equal(answer.headers.get('access-control-allow-origin'), '*')
  const location = answer.headers.get('location') ?? ''
  return { location, parameters: new URL(location).searchParams }
}

const localAddresses = [
  'http://localhost/',
  'http://LOCALHOST:3000/',
  'http://localhost./',
  'http://localhost../',
  'http://%6cocalhost/',
  'http://ｌｏｃａｌｈｏｓｔ/',
  'http://study.localhost/',
  'http://localhost.localdomain/',
  'http://localhost6.localdomain6/',
  'http://localhost4/',
  'http://ip6-localhost/',
  'http://ip6-loopback/',
  'http://printer.local/',
  'http://metadata.google.internal/',
  'http://nas.home.arpa/',
  'http://127.0.0.1/',
  'http://127.0.0.1./',
  'http://127.255.255.254/',
  'http://127.1/',
  'http://127.0.1/',
  'http://2130706433/',
  'http://0x7f000001/',
  'http://0x7f.1/',
  'http://0177.0.0.1/',
  'http://017700000001/',
  'http://127。0。0。1/',
  'http://１２７.0.0.1/',
  'http://①②⑦.0.0.1/',
  'http://%31%32%37.0.0.1/',
  'http://0/',
  'http://0.0.0.0/',
  'http://0.1.2.3/',
  'http://10.0.0.1/',
  'http://10.255.255.255/',
  'http://172.16.0.1/',
  'http://172.31.255.255/',
  'http://192.168.0.1/',
  'http://192.168.257/',
  'http://169.254.169.254/',
  'http://100.64.0.1/',
  'http://[::1]/',
  'http://[0:0:0:0:0:0:0:1]/',
  'http://[0000::0001]/',
  'http://[::]/',
  'http://[::127.0.0.1]/',
  'http://[::ffff:127.0.0.1]/',
  'http://[::ffff:7f00:1]/',
  'http://[0:0:0:0:0:ffff:10.0.0.1]/',
  'http://[::ffff:0:127.0.0.1]/',
  'http://[64:ff9b::10.0.0.1]/',
  'http://[64:ff9b:1::10.0.0.1]/',
  'http://[2002:7f00:1::]/',
  'http://[2002:c0a8:101::1]/',
  'http://[fe80::1]/',
  'http://[febf::1]/',
  'http://[fec0::1]/',
  'http://[fc00::1]/',
  'http://[fdff:ffff::1]/',
  'http:///localhost/',
  'http://\\localhost/',
  'http://local\thost/',
  'HTTP://LocalHost',
  'https://localhost/ui/#/?url=https://study.example.org',
]
const publicAddresses = [
  'http://localhost.example.org/',
  'http://notlocalhost/',
  'http://study.example.org/',
  'http://127.example.org/',
  'http://local.example.org/',
  'http://1.1.1.1/',
  'http://9.255.255.255/',
  'http://11.0.0.0/',
  'http://126.255.255.255/',
  'http://128.0.0.1/',
  'http://172.15.255.255/',
  'http://172.32.0.1/',
  'http://192.167.255.255/',
  'http://192.169.0.1/',
  'http://169.253.0.1/',
  'http://100.63.255.255/',
  'http://100.128.0.0/',
  'http://[2001:db8::1]/',
  'http://[2606:4700::1111]/',
  'http://[2002:101:101::1]/',
  'http://[::ffff:1.1.1.1]/',
  'http://[64:ff9b::1.1.1.1]/',
  'http://[fbff::1]/',
  'http://[ff02::1]/',
]
for (const text of localAddresses) {
  test(`${JSON.stringify(text)} is a callback in development mode only`, () => {
    assert.equal(parseCallbackUrl(text, true), new URL(text).href)
    assert.equal(codeOf(() => parseCallbackUrl(text, false)), 'not_authorized_url')
  })
}
for (const text of publicAddresses) {
  test(`${JSON.stringify(text)} is a callback in production`, () => {
    assert.equal(parseCallbackUrl(text, false), new URL(text).href)
  })
}

const hostileCallbacks = [
  '/ui/',
  '//study.example.org/',
  'study.example.org',
  'http:',
  'http:/',
  'http://',
  'http:study.example.org',
  'http:/study.example.org',
  'http:\\\\study.example.org',
  'javascript:alert(1)',
  'javascript://study.example.org/%0Aalert(1)',
  'data:text/html,x',
  'file:///etc/passwd',
  'ftp://study.example.org/',
  'ws://study.example.org/',
  'view-source:http://study.example.org/',
  'blob:http://study.example.org/x',
  'intent://study.example.org/#Intent;end',
  ' https://study.example.org/',
  '\nhttps://study.example.org/',
  'ht\ntps://study.example.org/',
  'https://user@study.example.org/',
  'https://user:word@study.example.org/',
  'https://:word@study.example.org/',
  'https://study.example.org:99999/',
  'https://exa mple.org/',
  'https://[::1',
  'https://256.256.256.256/',
  `https://study.example.org/${'x'.repeat(2000)}`,
]
for (const text of hostileCallbacks) {
  test(`${JSON.stringify(text.slice(0, 60))} is no callback, in development mode neither`, () => {
    assert.equal(codeOf(() => parseCallbackUrl(text, true)), 'invalid_callback_url')
  })
}

const added = [
  { callback: 'https://x.org/', expected: 'https://x.org/?a=1&b=2' },
  { callback: 'https://x.org/ui/', expected: 'https://x.org/ui/?a=1&b=2' },
  { callback: 'https://x.org/?', expected: 'https://x.org/?a=1&b=2' },
  { callback: 'https://x.org/?q=%20+%2B', expected: 'https://x.org/?q=%20+%2B&a=1&b=2' },
  { callback: 'https://x.org/?q=1&', expected: 'https://x.org/?q=1&a=1&b=2' },
  { callback: 'https://x.org/#', expected: 'https://x.org/?a=1&b=2#' },
  { callback: 'https://x.org/#part', expected: 'https://x.org/?a=1&b=2#part' },
  { callback: 'https://x.org/?q=1#part', expected: 'https://x.org/?q=1&a=1&b=2#part' },
  { callback: 'https://x.org/ui/#/', expected: 'https://x.org/ui/#/?a=1&b=2' },
  { callback: 'https://x.org/ui/#/study', expected: 'https://x.org/ui/#/study?a=1&b=2' },
  { callback: 'https://x.org/ui/#/?url=https://y.org/z', expected: 'https://x.org/ui/#/?url=https://y.org/z&a=1&b=2' },
  { callback: 'https://x.org/ui/#/?url=https://y.org/z?v=1#w', expected: 'https://x.org/ui/#/?url=https://y.org/z?v=1#w&a=1&b=2' },
  { callback: 'https://x.org/ui/?v=2#/?url=z', expected: 'https://x.org/ui/?v=2#/?url=z&a=1&b=2' },
  { callback: 'https://x.org/ui/#!/study', expected: 'https://x.org/ui/#!/study?a=1&b=2' },
  { callback: 'https://x.org/ui/#study?url=z', expected: 'https://x.org/ui/#study?url=z&a=1&b=2' },
]
for (const { callback, expected } of added) {
  test(`parameters are added to ${callback} where the app reads them`, () => {
    assert.equal(addParameters(callback, [['a', '1'], ['b', '2']]), expected)
  })
}

test('what is added stays one parameter, whatever it holds', () => {
  const pairs = [['a&b', '=&#?+ %"<>\r\n'], ['é', '名 🎙'], ['__proto__', 'x']] as const
  const location = addParameters('https://x.org/ui/?q=1', pairs)
  assert.match(location, /^[\x21-\x7e]+$/)
  assert.deepEqual([...new URL(location).searchParams], [['q', '1'], ...pairs])
})

const registrations = [
  { name: 'no admin token', query: 'callback_url=https://x.org/', status: 403, code: 'not_authorized' },
  { name: 'a wrong admin token', query: 'token=wrong&callback_url=https://x.org/', status: 403, code: 'not_authorized_token' },
  { name: 'no callback', query: `token=${ADMIN_TOKEN}`, status: 400, code: 'missing_callback_url' },
  { name: 'an empty callback', query: `token=${ADMIN_TOKEN}&callback_url=`, status: 400, code: 'missing_callback_url' },
  { name: 'two callbacks', query: `token=${ADMIN_TOKEN}&callback_url=https://x.org/&callback_url=https://y.org/`, status: 400, code: 'repeated_parameter' },
  { name: 'a callback that is a script', query: `token=${ADMIN_TOKEN}&callback_url=javascript:alert(1)`, status: 400, code: 'invalid_callback_url' },
  { name: 'a callback that has a token', query: `token=${ADMIN_TOKEN}&callback_url=https://x.org/?auth_token=1`, status: 400, code: 'invalid_callback_url' },
  { name: 'a callback that has an expiry', query: `token=${ADMIN_TOKEN}&callback_url=https://x.org/?lang=de%26expires`, status: 400, code: 'invalid_callback_url' },
  { name: 'a callback whose route has an expiry', query: `token=${ADMIN_TOKEN}&callback_url=https://x.org/%23/?url=x%26expiry%255ftime=`, status: 400, code: 'invalid_callback_url' },
  { name: 'a local callback', query: `token=${ADMIN_TOKEN}&callback_url=http://127.1/`, status: 403, code: 'not_authorized_url' },
  { name: 'a bad project', query: `token=${ADMIN_TOKEN}&callback_url=https://x.org/&project=../x`, status: 400, code: 'invalid_project' },
]
test('`GET /register` refuses, and stores nothing for,', async (t) => {
  const server = await startServer(t)
  for (const { name, query, status, code } of registrations) {
    await t.test(name, async () => {
      const answer = await request(`${server.url}/register?${query}`)
      assert.deepEqual([answer.status, answer.json['code'], answer.headers.get('location')], [status, code, null])
      assert.equal(answer.json['status'], status === 403 ? code : 'refused')
      assert.equal(answer.headers.get('access-control-allow-origin'), '*')
    })
  }
  assert.deepEqual(await readdir(join(server.basedir, 'clients')), [])
})

test('a registered app gets its participants back with a token that is good', async () => {
  const server = await common()
  const clientId = await clientFor(server, 'https://study.example.org/ui/?lang=de')
  assert.match(clientId, /^[0-9a-f]{32}$/)
  const { location, parameters } = await follow(server, `client_id=${clientId}&participant_id=Zo%C3%AB&arm=b&arm=c`)
  assert.ok(location.startsWith('https://study.example.org/ui/?lang=de&auth_token=unknown-'), location)
  assert.deepEqual([...parameters.keys()], ['lang', 'auth_token', 'expires', 'expiry_time', 'participant_id', 'arm', 'arm'])
  assert.equal(parameters.get('participant_id'), 'Zoë')
  assert.match(parameters.get('expires') ?? '', /^\d{8}T\d{6}Z$/)
  assert.equal(parameters.get('expiry_time'), parameters.get('expires'))
  const answer = await submitForm(server, [['auth_token', parameters.get('auth_token') ?? ''], ['responses', '[]']])
  assert.equal(answer.status, 200)
})

test('a route in the fragment of a callback gets the parameters', async () => {
  const server = await common()
  const clientId = await clientFor(server, 'https://study.example.org/ui/#/?url=https://x.org/schema')
  const { location } = await follow(server, `client_id=${clientId}&participant_id=p1`)
  assert.match(
    location,
    /^https:\/\/study\.example\.org\/ui\/#\/\?url=https:\/\/x\.org\/schema&auth_token=unknown-[0-9a-f]{32}&expires=\w+&expiry_time=\w+&participant_id=p1$/,
  )
})

test('a callback may hold an address that holds the names of what is added', async () => {
  const server = await common()
  const clientId = await clientFor(server, 'https://study.example.org/auth_token=1/#/?url=https://x.org/?auth_token=1')
  const { location } = await follow(server, `client_id=${clientId}`)
  assert.match(location, /^https:\/\/study\.example\.org\/auth_token=1\/#\/\?url=https:\/\/x\.org\/\?auth_token=1&auth_token=unknown-/)
})

test('what is for the server, and what would pass for its own words, is not passed on', async () => {
  const server = await common()
  const clientId = await clientFor(server, 'https://study.example.org/')
  const forged = 'auth_token=forged&expires=29990101T000000Z&expiry_time=29990101T000000Z&project=p&expiry_minutes=5'
  const { location, parameters } = await follow(server, `${forged}&client_id=${clientId}`)
  assert.deepEqual([...parameters.keys()], ['auth_token', 'expires', 'expiry_time'])
  assert.match(parameters.get('auth_token') ?? '', /^p-[0-9a-f]{32}$/)
  assert.doesNotMatch(location, /forged|2999/)
})

test('an app that is registered for a project gets tokens for no other', async () => {
  const server = await common()
  const clientId = await clientFor(server, 'https://study.example.org/', 'my-study')
  for (const query of [`client_id=${clientId}`, `client_id=${clientId}&project=my-study`]) {
    assert.match((await follow(server, query)).parameters.get('auth_token') ?? '', /^my-study-[0-9a-f]{32}$/)
  }
  const answer = await request(`${server.url}/token?client_id=${clientId}&project=other`)
  assert.deepEqual([answer.status, answer.json['code'], answer.headers.get('location')], [403, 'not_authorized_project', null])
})

const unknownClients = [
  { name: 'that nobody registered', query: `client_id=${'0'.repeat(32)}`, status: 403, code: 'unknown_client' },
  { name: 'that is empty', query: 'client_id=', status: 403, code: 'unknown_client' },
  { name: 'that is a path', query: 'client_id=..%2Ftokens%2Fx', status: 403, code: 'unknown_client' },
  { name: 'that is __proto__', query: 'client_id=__proto__', status: 403, code: 'unknown_client' },
  { name: 'that is the admin token', query: `client_id=${ADMIN_TOKEN}`, status: 403, code: 'unknown_client' },
  { name: 'beside a wrong admin token', query: `client_id=${'0'.repeat(32)}&token=wrong`, status: 403, code: 'not_authorized_token' },
  { name: 'beside an empty admin token', query: `client_id=${'0'.repeat(32)}&token=`, status: 403, code: 'not_authorized' },
]
test('a token is refused, without a redirect, to a client', async (t) => {
  const server = await startServer(t)
  const clientId = await clientFor(server, 'https://study.example.org/')
  const rows = [
    ...unknownClients,
    { name: 'in capitals', query: `client_id=${clientId.toUpperCase()}x`, status: 403, code: 'unknown_client' },
    { name: 'given twice', query: `client_id=${clientId}&client_id=${clientId}`, status: 400, code: 'repeated_parameter' },
    { name: 'with a bad project', query: `client_id=${clientId}&project=..`, status: 400, code: 'invalid_project' },
    { name: 'with bad minutes', query: `client_id=${clientId}&expiry_minutes=0`, status: 400, code: 'invalid_expiry_minutes' },
    { name: 'with a bad participant', query: `client_id=${clientId}&participant_id=%0d%0aX:`, status: 400, code: 'invalid_participant_id' },
  ]
  for (const { name, query, status, code } of rows) {
    await t.test(name, async () => {
      const answer = await request(`${server.url}/token?${query}`)
      assert.deepEqual([answer.status, answer.json['code'], answer.headers.get('location')], [status, code, null])
    })
  }
  assert.deepEqual(await readdir(join(server.basedir, 'tokens')), [])
})

test('registered apps survive restarts, and their ids are on disk as SHA-256 only', async (t) => {
  const first = await startServer(t)
  const clientId = await clientFor(first, 'https://study.example.org/', 'my-study')
  assert.equal(await first.stop('SIGKILL'), 'SIGKILL')
  const second = await startServer(t, { basedir: first.basedir })
  assert.match((await follow(second, `client_id=${clientId}`)).location, /^https:\/\/study\.example\.org\/\?auth_token=my-study-/)
  assert.equal(await second.stop(), 0)
  const sha256 = sha256Of(clientId)
  assert.deepEqual(await readdir(join(second.basedir, 'clients')), [`${sha256}.json`])
  for (const path of await listFiles(second.basedir)) {
    assert.ok(!(await readFile(join(second.basedir, path), 'latin1')).includes(clientId), path)
  }
})

test('in development mode a local app is registered and its participants are sent there', async (t) => {
  const server = await startServer(t, { env: DEVELOPMENT })
  const clientId = await clientFor(server, 'http://localhost:3000/#/?url=x')
  assert.match((await follow(server, `client_id=${clientId}`)).location, /^http:\/\/localhost:3000\/#\/\?url=x&auth_token=/)
})

test('no callback is ever fetched', async (t) => {
  let visits = 0
  const app = createServer((_request, response) => {
    visits++
    response.end()
  }).listen(0, '127.0.0.1')
  t.after(() => app.close())
  await until('the app listens', () => app.listening)
  const address = app.address()
  const callback = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/`
  const server = await startServer(t, { env: DEVELOPMENT })
  assert.equal((await request(`${server.url}/register?token=wrong&callback_url=${callback}`)).status, 403)
  await follow(server, `client_id=${await clientFor(server, callback)}`)
  assert.equal(await server.stop(), 0)
  assert.equal(visits, 0)
})

function codeOf(work: () => unknown): string {
  try {
    return `accepted ${String(work())}`
  } catch (error) {
    if (error instanceof HttpError) return error.code
    throw error
  }
}
