import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { ADMIN_TOKEN, askToken, request, sendRaw, startServer } from './harness.ts'

const PAGE = 'https://study.example.org'
const OTHER_PAGE = 'http://localhost:3000'
const NO_PAGE = 'https://study.example.org.evil.example'
const FORM = { method: 'POST', headers: { 'Content-Type': 'multipart/form-data; boundary=x' } }

interface Case {
  readonly name: string
  readonly path: string
  readonly options?: RequestInit
  readonly status: number
}

const answers: readonly Case[] = [
  { name: 'the greeting', path: '/', status: 200 },
  { name: 'a token', path: `/token?token=${ADMIN_TOKEN}`, status: 200 },
  { name: 'HEAD', path: '/', options: { method: 'HEAD' }, status: 200 },
  { name: 'a preflight', path: '/submit', options: { method: 'OPTIONS' }, status: 204 },
  { name: 'a target that cannot be decoded', path: '/%E9', status: 400 },
  { name: 'a malformed form', path: '/submit', options: { ...FORM, body: 'x' }, status: 400 },
  { name: 'a form without a boundary', path: '/submit', options: { ...FORM, headers: { 'Content-Type': 'multipart/form-data' }, body: 'x' }, status: 400 },
  { name: 'a missing admin token', path: '/token', status: 403 },
  { name: 'a wrong admin token', path: '/register?token=wrong', status: 403 },
  { name: 'a form without an auth token', path: '/submit', options: { method: 'POST', body: new URLSearchParams({ x: '1' }) }, status: 403 },
  { name: 'a wrong auth token', path: '/submit', options: { ...FORM, headers: { ...FORM.headers, Authorization: 'Bearer x' } }, status: 403 },
  { name: 'an unknown path', path: '/nothing', status: 404 },
  { name: 'a method that the path does not take', path: '/submit', status: 405 },
  { name: 'a form over the limit', path: '/submit', options: { method: 'POST', body: new URLSearchParams({ x: 'x'.repeat(20_000) }) }, status: 413 },
  { name: 'an unknown media type', path: '/submit', options: { method: 'POST', body: 'x', headers: { 'Content-Type': 'text/plain' } }, status: 415 },
  { name: 'a coded body', path: '/submit', options: { method: 'POST', body: 'x', headers: { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' } }, status: 415 },
]
const SMALL = { REPROSCHEMA_BACKEND_MAX_FIELD_BYTES: '10000', REPROSCHEMA_BACKEND_IDLE_SECONDS: '1' }

test('any page may read', async (t) => {
  const server = await startServer(t, { env: SMALL })
  for (const { name, path, options, status } of answers) {
    await t.test(`the answer ${status} to ${name}`, async () => {
      const answer = await request(`${server.url}${path}`, withOrigin(options, PAGE))
      assert.equal(answer.status, status)
      assert.equal(answer.headers.get('access-control-allow-origin'), '*')
      assert.equal(answer.headers.get('access-control-allow-credentials'), null)
      assert.match(answer.headers.get('access-control-expose-headers') ?? '', /Retry-After/)
    })
  }
})

const raws = [
  { name: 'an upload that stands still', text: 'POST /submit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{', status: 408 },
  { name: 'an expectation that nobody knows', text: 'GET / HTTP/1.1\r\nHost: x\r\nExpect: x\r\nConnection: close\r\n\r\n', status: 417 },
  { name: 'a header that is too large', text: `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`, status: 431 },
  { name: 'what is not HTTP', text: 'hello\r\n\r\n', status: 400 },
  { name: 'a request without Host', text: 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n', status: 400 },
  { name: 'CONNECT', text: 'CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n', status: 405 },
]
test('any page may read the refusal', async (t) => {
  const server = await startServer(t, { env: SMALL })
  for (const { name, text, status } of raws) {
    await t.test(`${status} of ${name}`, async () => {
      const raw = await sendRaw(server.port, text)
      assert.match(raw, new RegExp(`^HTTP/1\\.1 ${status} `))
      assert.match(raw, /^Access-Control-Allow-Origin: \*\r$/m)
      assert.match(raw, /^Content-Type: application\/json\r$/m)
    })
  }
})

test('a page may read that something failed on our side', async (t) => {
  const server = await startServer(t, { env: SMALL })
  await rm(join(server.basedir, 'tokens'), { recursive: true })
  await writeFile(join(server.basedir, 'tokens'), 'not a directory')
  const answer = await request(`${server.url}/token?token=${ADMIN_TOKEN}`)
  assert.deepEqual([answer.status, answer.json['code'], answer.headers.get('access-control-allow-origin')], [500, 'internal', '*'])
  assert.doesNotMatch(answer.text, /tokens|ENOTDIR|node:|\/tmp/)
})

const preflights = [
  { name: 'the fields it asks for', asked: 'authorization,content-type', allowed: 'authorization,content-type' },
  { name: 'one field', asked: 'X-Study', allowed: 'X-Study' },
  { name: 'fields with blanks between', asked: 'authorization, x-a ,x-b', allowed: 'authorization, x-a ,x-b' },
  { name: 'Authorization and Content-Type where it asks for none', asked: undefined, allowed: 'Authorization, Content-Type' },
  { name: 'the same where it asks for what is no field', asked: 'a b', allowed: 'Authorization, Content-Type' },
  { name: 'the same where it asks for an empty list', asked: '', allowed: 'Authorization, Content-Type' },
  { name: 'the same where it asks for too much', asked: 'x'.repeat(1001), allowed: 'Authorization, Content-Type' },
]
test('a preflight is allowed', async (t) => {
  const server = await startServer(t)
  for (const path of ['/submit', '/submit/', '//submit', '/token', '/', '/nothing']) {
    for (const { name, asked, allowed } of path === '/submit' ? preflights : preflights.slice(0, 1)) {
      await t.test(`${name}, at ${path}`, async () => {
        const headers = {
          'Access-Control-Request-Method': 'POST',
          ...(asked === undefined ? {} : { 'Access-Control-Request-Headers': asked }),
        }
        const answer = await request(`${server.url}${path}`, withOrigin({ method: 'OPTIONS', headers }, PAGE))
        assert.deepEqual([answer.status, answer.text], [204, ''])
        assert.equal(answer.headers.get('access-control-allow-origin'), '*')
        assert.match(answer.headers.get('access-control-allow-methods') ?? '', /\bPOST\b/)
        assert.equal(answer.headers.get('access-control-allow-headers'), allowed)
        assert.match(answer.headers.get('access-control-max-age') ?? '', /^[1-9]\d*$/)
        assert.equal(answer.headers.get('access-control-allow-credentials'), null)
      })
    }
  }
})

const origins = [
  { name: 'a page of the list', origin: PAGE, expected: PAGE },
  { name: 'another page of the list', origin: OTHER_PAGE, expected: OTHER_PAGE },
  { name: 'a page whose name only begins like one', origin: NO_PAGE, expected: null },
  { name: 'a page of the list on another port', origin: `${PAGE}:444`, expected: null },
  { name: 'a page of the list without TLS', origin: PAGE.replace('https', 'http'), expected: null },
  { name: 'a page of the list in capitals', origin: PAGE.toUpperCase(), expected: null },
  { name: 'a page without an origin', origin: 'null', expected: null },
  { name: 'no page', origin: undefined, expected: null },
]
test('with a list of origins, what may be read is as the list says for', async (t) => {
  const env = { ...SMALL, REPROSCHEMA_BACKEND_CORS_ORIGINS: `${PAGE}, ${OTHER_PAGE}` }
  const server = await startServer(t, { env })
  for (const { name, origin, expected } of origins) {
    for (const each of origin === PAGE || origin === NO_PAGE ? answers : answers.slice(0, 4)) {
      await t.test(`${name}: ${each.name}`, async () => {
        const answer = await request(`${server.url}${each.path}`, withOrigin(each.options, origin))
        assert.equal(answer.status, each.status)
        assert.equal(answer.headers.get('access-control-allow-origin'), expected)
        assert.equal(answer.headers.get('access-control-allow-credentials'), null)
        assert.equal(answer.headers.get('vary'), 'Origin')
      })
    }
  }
})

test('a list of origins narrows what pages read, not who may submit', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_CORS_ORIGINS: PAGE } })
  const body = new URLSearchParams({ auth_token: await askToken(server), responses: '[]' })
  for (const origin of [undefined, PAGE, NO_PAGE]) {
    assert.equal((await request(`${server.url}/submit`, withOrigin({ method: 'POST', body }, origin))).status, 200)
  }
})

function withOrigin(options: RequestInit = {}, origin: string | undefined): RequestInit {
  const headers = new Headers(options.headers)
  if (origin !== undefined) headers.set('Origin', origin)
  return { ...options, headers }
}

test('a refusal of what is no HTTP can be read by the page of the only origin there is', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_CORS_ORIGINS: 'https://a.example' } })
  const text = await sendRaw(server.port, 'no HTTP\r\n\r\n')
  assert.match(text, /^HTTP\/1\.1 400 [^]*\r\nAccess-Control-Allow-Origin: https:\/\/a\.example\r\n/)
})
