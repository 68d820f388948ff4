import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ROOT } from './harness.ts'

const installed = /^packages=\(([^)]*)\)$/m.exec(readFileSync(join(ROOT, '.ci', 'run'), 'utf8'))?.[1]?.trim().split(/\s+/) ?? []

test('every program that a test meets as a peer is installed before the tests run', () => {
  const wanted = readdirSync(join(ROOT, 'test')).filter((file) => file.endsWith('.ts')).flatMap((file) => {
    const source = readFileSync(join(ROOT, 'test', file), 'utf8')
    return [...source.matchAll(/\bneeds\(t, '[^']+', '([a-z0-9-]+)'\)|debianPackage: '([a-z0-9-]+)'/g)].map(([, byCall, byRow]) => byCall ?? byRow ?? '')
  })
  assert.ok(wanted.length > 40, `only ${wanted.length} calls were found`)
  assert.deepEqual([...new Set(wanted)].filter((name) => !installed.includes(name)), [])
})
