import { test } from 'node:test'
import { fuzzServer } from './fuzz-server.ts'
import { askToken, startServer } from './harness.ts'
import { chooseSeed } from './seeded.ts'

test('random submissions over sockets are stored as sent, or refused and leave nothing', async (t) => {
  const server = await startServer(t)
  const requests = await fuzzServer(server, await askToken(server), 1, chooseSeed())
  t.diagnostic(`${requests} requests`)
})
