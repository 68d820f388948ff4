import assert from 'node:assert/strict'
import test from 'node:test'
import { StampClock } from '../lib/store/stamp.ts'

const NOON = Date.UTC(2024, 10, 1, 12)
const HOUR = 3_600_000

const rows = [
  { name: 'a moment is written to the microsecond', moments: [NOON + 0.123], expected: ['20241101T120000.000123Z'] },
  { name: 'the same moment is never given twice', moments: [NOON, NOON, NOON], expected: ['20241101T120000.000000Z', '20241101T120000.000001Z', '20241101T120000.000002Z'] },
  { name: 'a clock set back an hour does not set the stamps back', moments: [NOON, NOON - HOUR], expected: ['20241101T120000.000000Z', '20241101T120000.000001Z'] },
  { name: 'stamps follow the clock again when it has caught up', moments: [NOON, NOON - HOUR, NOON + 1], expected: ['20241101T120000.000000Z', '20241101T120000.000001Z', '20241101T120000.001000Z'] },
  { name: 'a second that is full runs over into the next', moments: [NOON + 999.999, NOON], expected: ['20241101T120000.999999Z', '20241101T120001.000000Z'] },
  { name: 'a year that is full runs over into the next', moments: [Date.UTC(2025, 0) - 0.001, NOON], expected: ['20241231T235959.999999Z', '20250101T000000.000000Z'] },
]
for (const { name, moments, expected } of rows) {
  test(name, () => {
    const clock = new StampClock()
    assert.deepEqual(moments.map((moment) => clock.next(moment).basic), expected)
  })
}

test('both forms of a stamp are the same moment', () => {
  const { basic, extended } = new StampClock().next(NOON + 250.5)
  assert.deepEqual({ basic, extended }, { basic: '20241101T120000.250500Z', extended: '2024-11-01T12:00:00.250500Z' })
})

test('stamps rise as text and never repeat, whatever the clock does', () => {
  const clock = new StampClock()
  const stamps = Array.from({ length: 10_000 }, (_, index) => clock.next(index % 3 === 0 ? NOON - HOUR * Math.random() : NOON + index / 700).basic)
  assert.deepEqual(stamps, [...new Set(stamps)].toSorted())
})

test('the clock of the machine is the default', () => {
  const before = Date.now()
  const moment = Date.parse(new StampClock().next().extended)
  assert.ok(moment >= before - 1 && moment <= Date.now() + 1, 'moment >= before - 1 && moment <= Date.now() + 1')
})
