import { test } from 'node:test'
import { parseArgs } from 'node:util'
import { fuzzArchive } from './fuzz-archive.ts'
import { fuzzJson } from './fuzz-json.ts'
import { fuzzMultipart } from './fuzz-multipart.ts'
import { fuzzServer } from './fuzz-server.ts'
import { fuzzUrlencoded } from './fuzz-urlencoded.ts'
import { askToken, startServer, temporaryDirectory } from './harness.ts'
import { chooseSeed } from './seeded.ts'

// npm run fuzz -- --seconds 600; FUZZ_SEED gives the inputs of an earlier run again.
const { values } = parseArgs({ options: { seconds: { type: 'string', default: '60' } } })
const seconds = Number(values.seconds)
const seed = chooseSeed()

for (const fuzz of [fuzzMultipart, fuzzJson, fuzzUrlencoded]) {
  test(`${fuzz.name} for ${seconds} s`, (t) => t.diagnostic(`${fuzz(seconds, seed)} inputs`))
}

test(`fuzzServer for ${seconds} s`, async (t) => {
  const server = await startServer(t)
  const authToken = await askToken(server, { expiry_minutes: '1440' })
  t.diagnostic(`${await fuzzServer(server, authToken, seconds, seed)} requests`)
})

test(`fuzzArchive for ${seconds} s`, async (t) => {
  t.diagnostic(`${await fuzzArchive(await temporaryDirectory(t), seconds, seed)} inputs`)
})
