import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseTarget } from '../lib/http/target.ts'
import { TrustedProxies } from '../lib/http/proxies.ts'

const OURS = ['127.0.0.1', '10.0.0.0/8', '2001:db8:1::/48', 'unix']

const addresses = [
  { name: 'whoever connects, where it is no proxy of ours', peer: '192.0.2.7', forwarded: '198.51.100.1', expected: '192.0.2.7' },
  { name: 'whoever connects, where nobody is forwarded', peer: '127.0.0.1', forwarded: undefined, expected: '127.0.0.1' },
  { name: 'whom our proxy names', peer: '127.0.0.1', forwarded: '198.51.100.1', expected: '198.51.100.1' },
  { name: 'whom our proxy names, not what the client wrote', peer: '127.0.0.1', forwarded: '10.0.0.9, 203.0.113.5, 198.51.100.1', expected: '198.51.100.1' },
  { name: 'whom the outer of two proxies names', peer: '127.0.0.1', forwarded: '203.0.113.5, 198.51.100.1, 10.1.2.3', expected: '198.51.100.1' },
  { name: 'the outermost, where all are proxies', peer: '127.0.0.1', forwarded: '10.0.0.2, 10.0.0.1', expected: '10.0.0.2' },
  { name: 'a client by a Unix socket', peer: 'unix', forwarded: '198.51.100.1', expected: '198.51.100.1' },
  { name: 'an IPv6 client', peer: '127.0.0.1', forwarded: '2001:db8:2::1', expected: '2001:db8:2::1' },
  { name: 'a client behind an IPv6 proxy', peer: '2001:db8:1::1', forwarded: '2001:db8:2::1', expected: '2001:db8:2::1' },
  { name: 'a client behind an IPv4 proxy on an IPv6 socket', peer: '::ffff:127.0.0.1', forwarded: '198.51.100.1', expected: '198.51.100.1' },
  { name: 'an IPv4 client on an IPv6 socket', peer: '::ffff:192.0.2.7', forwarded: undefined, expected: '192.0.2.7' },
  { name: 'a client with its port', peer: '127.0.0.1', forwarded: '198.51.100.1:4711', expected: '198.51.100.1' },
  { name: 'an IPv6 client with its port', peer: '127.0.0.1', forwarded: '[2001:db8:2::1]:4711', expected: '2001:db8:2::1' },
  { name: 'the proxy, where it names nobody', peer: '127.0.0.1', forwarded: 'unknown', expected: '127.0.0.1' },
  { name: 'the inner proxy, where the outer one names nobody', peer: '127.0.0.1', forwarded: '198.51.100.1, hidden, 10.0.0.1', expected: '10.0.0.1' },
  { name: 'the proxy, where the field is empty', peer: '127.0.0.1', forwarded: ' , ', expected: '127.0.0.1' },
]
for (const { name, peer, forwarded, expected } of addresses) {
  test(`the client is ${name}`, () => {
    const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }
    assert.equal(new TrustedProxies(OURS).clientOf({ address: peer, isSecure: false }, headers).address, expected)
  })
}

test('without trusted proxies nobody is believed, nor by a Unix socket', () => {
  const nobody = new TrustedProxies([])
  const headers = { 'x-forwarded-for': '198.51.100.1', 'x-forwarded-proto': 'https' }
  for (const address of ['unix', '127.0.0.1', '::1', '-']) {
    assert.deepEqual(nobody.clientOf({ address, isSecure: false }, headers), { address, isSecure: false, isProxied: true, isTrusted: false })
  }
})

const protocols = [
  { name: 'https of our proxy', peer: { address: 'unix', isSecure: false }, forwarded: 'https', expected: true },
  { name: 'HTTPS of our proxy', peer: { address: 'unix', isSecure: false }, forwarded: 'HTTPS', expected: true },
  { name: 'http of our proxy', peer: { address: 'unix', isSecure: true }, forwarded: 'http', expected: false },
  { name: 'https of a stranger', peer: { address: '192.0.2.7', isSecure: false }, forwarded: 'https', expected: false },
  { name: 'http of a stranger who speaks TLS', peer: { address: '192.0.2.7', isSecure: true }, forwarded: 'http', expected: true },
  { name: 'nothing of our proxy', peer: { address: 'unix', isSecure: false }, forwarded: undefined, expected: false },
  { name: 'what the client wrote before our proxy', peer: { address: 'unix', isSecure: false }, forwarded: 'https, http', expected: false },
]
for (const { name, peer, forwarded, expected } of protocols) {
  test(`X-Forwarded-Proto: ${name} means ${expected ? 'encrypted' : 'not encrypted'}`, () => {
    const headers = forwarded === undefined ? {} : { 'x-forwarded-proto': forwarded }
    assert.equal(new TrustedProxies(OURS).clientOf(peer, headers).isSecure, expected)
  })
}

const proxied = [
  { name: 'X-Forwarded-For', headers: { 'x-forwarded-for': '198.51.100.1' }, expected: true },
  { name: 'Forwarded', headers: { forwarded: 'for=198.51.100.1' }, expected: true },
  { name: 'Via', headers: { via: '1.1 proxy' }, expected: true },
  { name: 'none of them', headers: {}, expected: false },
]
for (const { name, headers, expected } of proxied) {
  test(`a request with ${name} ${expected ? 'came' : 'did not come'} by a proxy`, () => {
    assert.equal(new TrustedProxies([]).clientOf({ address: '127.0.0.1', isSecure: false }, headers).isProxied, expected)
  })
}

const paths = [
  { target: '/vb/submit', expected: '/submit' },
  { target: '/vb//submit?x=1', expected: '/submit' },
  { target: '//vb/submit/', expected: '/submit' },
  { target: '/vb', expected: '/' },
  { target: '/vb/', expected: '/' },
  { target: '/%76b/token', expected: '/token' },
  { target: '/vbx/submit', expected: '/vbx/submit' },
  { target: '/submit', expected: '/submit' },
  { target: '/vb/vb/submit', expected: '/vb/submit' },
  { target: 'http://study.example.org/vb/submit', expected: '/submit' },
  { target: '*', expected: '*' },
]
for (const { target, expected } of paths) {
  test(`with the base path /vb the target ${target} means ${expected}`, () => assert.equal(parseTarget(target, '/vb').path, expected))
}
