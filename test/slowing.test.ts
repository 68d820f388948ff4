import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { networkOf } from '../lib/routes/network.ts'
import { Slowing } from '../lib/routes/slowing.ts'
import { askToken, request, startServer } from './harness.ts'

const MINUTE_MS = 60_000
const times = (count: number) => Array.from({ length: count })

test('after ten wrong tokens from one address each further one waits longer, up to 5 seconds', () => {
  const slowing = new Slowing()
  const waits = times(40).map(() => slowing.count('192.0.2.1', 1000))
  assert.deepEqual(waits.slice(0, 10), times(10).map(() => 0))
  assert.deepEqual(waits.slice(10, 17), [250, 500, 1000, 2000, 4000, 5000, 5000])
  assert.equal(waits.at(-1), 5000)
  assert.equal(slowing.count('192.0.2.2', 1000), 0, 'another address is free')
})

const forgiven = [
  { name: 'not within a minute', afterMs: MINUTE_MS - 1, expected: 500 },
  { name: 'one after a minute', afterMs: MINUTE_MS, expected: 250 },
  { name: 'two after two minutes', afterMs: 2 * MINUTE_MS, expected: 0 },
  { name: 'all in the end', afterMs: 60 * MINUTE_MS, expected: 0 },
]
for (const { name, afterMs, expected } of forgiven) {
  test(`wrong tokens are forgiven: ${name}`, () => {
    const slowing = new Slowing()
    for (const _ of times(11)) slowing.count('192.0.2.1', 1000)
    assert.equal(slowing.count('192.0.2.1', 1000 + afterMs), expected)
  })
}

test('parts of a minute are not lost: who guesses every 40 seconds is forgiven as the others', () => {
  const slowing = new Slowing()
  for (const _ of times(11)) slowing.count('192.0.2.1', 0)
  const waits = [40_000, 80_000, 120_000].map((nowMs) => slowing.count('192.0.2.1', nowMs))
  assert.deepEqual(waits, [500, 500, 500])
})

test('however many have guessed, the longest wait is over in half an hour', () => {
  const slowing = new Slowing()
  for (const _ of times(100_000)) slowing.count('192.0.2.1', 0)
  assert.equal(slowing.count('192.0.2.1', 30 * MINUTE_MS), 0)
})

test('of more addresses than are remembered the one that guessed longest ago is forgotten', () => {
  const slowing = new Slowing()
  for (const _ of times(11)) slowing.count('192.0.2.1', 0)
  for (const [index] of times(10_000).entries()) slowing.count(`2001:db8:${Math.floor(index / 1000)}:${index % 1000}::1`, 0)
  assert.equal(slowing.count('192.0.2.1', 0), 0)
})

const networks = [
  { address: '192.0.2.1', expected: '192.0.2.1' },
  { address: 'unix', expected: 'unix' },
  { address: '2001:db8:1:2:3:4:5:6', expected: '2001:db8:1:2' },
  { address: '2001:db8:1:2::9', expected: '2001:db8:1:2' },
  { address: '2001:db8::9', expected: '2001:db8:0:0' },
  { address: '::1', expected: ':0:0:0' },
]
for (const { address, expected } of networks) {
  test(`${address} counts as one of ${expected}`, () => assert.equal(networkOf(address), expected))
}

test('few requests wait at once: four of an address, sixty-four in all; the others are answered', async () => {
  const slowing = new Slowing()
  let answered = 0
  const ask = (address: string) => void slowing.wait(address, 3_600_000).then(() => answered++)
  for (const _ of times(10)) ask('192.0.2.1')
  await setImmediate()
  assert.equal(answered, 6)
  for (const [index] of times(100).entries()) ask(`198.51.100.${index}`)
  await setImmediate()
  assert.equal(answered, 6 + 40)
})

test('while wrong tokens wait a right one from the same address is answered, at every route', async (t) => {
  const server = await startServer(t)
  let answered = 0
  const wrong = times(16).map(() => request(`${server.url}/token?token=wrong`).then((answer) => (answered++, answer)))
  while (answered < 12) await setImmediate() // ten at once, then the shorter waits
  assert.match(await askToken(server), /^study-/)
  assert.ok(answered < 16, 'some still wait')
  for (const { status, json } of await Promise.all(wrong)) {
    assert.deepEqual([status, json['status'], json['code']], [403, 'not_authorized_token', 'not_authorized_token'])
  }
})

test('the clients of a trusted proxy are slowed one by one', async (t) => {
  const server = await startServer(t, { env: { REPROSCHEMA_BACKEND_TRUSTED_PROXIES: '127.0.0.1' } })
  const ask = (address: string) => request(`${server.url}/register?token=wrong`, { headers: { 'x-forwarded-for': address } })
  await Promise.all(times(12).map(() => ask('198.51.100.1')))
  const waiting = ask('198.51.100.1').then(() => 'the one who guessed')
  assert.equal(await Promise.race([waiting, ask('198.51.100.2').then(() => 'another')]), 'another')
  await waiting
})
