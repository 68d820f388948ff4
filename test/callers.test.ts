import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Callers, type Caller } from '../lib/store/callers.ts'
import { chooseSeed, makeChance } from './seeded.ts'

const random = makeChance(chooseSeed())
const makeCaller = (): Caller<string> => ({ resolve: () => undefined, reject: () => undefined })

test('whoever comes and goes, a number is that of its caller alone, and is used again', () => {
  const callers = new Callers<string>()
  const waiting = new Map<number, Caller<string>>()
  let highest = 0
  for (let step = 0; step < 5000; step++) {
    const [gone] = waiting.keys()
    if (gone === undefined || (waiting.size < 20 && random(2) === 0)) {
      const caller = makeCaller()
      const number = callers.add(caller)
      assert.ok(!waiting.has(number), `${number} was somebody's`)
      waiting.set(number, caller)
      highest = Math.max(highest, number)
    } else {
      assert.equal(callers.take(gone), waiting.get(gone))
      assert.equal(callers.take(gone), undefined, 'once only')
      waiting.delete(gone)
    }
    assert.equal(callers.isEmpty, waiting.size === 0)
  }
  assert.ok(highest < 20, `${highest} is more than ever waited`)
  assert.deepEqual(new Set(callers.takeAll()), new Set(waiting.values()))
  assert.ok(callers.isEmpty)
  assert.deepEqual(callers.takeAll(), [])
})
