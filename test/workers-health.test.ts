import assert from 'node:assert/strict'
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { askBeside, startFleet, workersOf } from './fleet.ts'
import { request, until, type Running } from './harness.ts'

/** Has one worker alone answer, while the others stand still, until it answers with a status. */
async function askAlone(server: Running, pid: number, status: number): Promise<void> {
  const others = (await workersOf(server)).filter((each) => each !== pid)
  for (const other of others) process.kill(other, 'SIGSTOP')
  await until(`/readyz answers ${status}`, async () => (await askBeside(server, '/readyz')).status === status)
  for (const other of others) process.kill(other, 'SIGCONT')
}

const readyOf = async (server: Running) =>
  /^reproschema_backend_ready (.*)$/m.exec((await request(`${server.url}/metrics`, { headers: { connection: 'close' } })).text)?.[1]

test('each worker says whether it is ready, and the metrics know when all are ready again', async (t) => {
  const server = await startFleet(t)
  const workers = await workersOf(server)
  assert.equal(workers.length, 2)
  for (const pid of workers) await askAlone(server, pid, 200)
  const staging = join(server.basedir, 'uploads', 'staging')
  await rename(staging, `${staging}-away`)
  await writeFile(staging, '')
  for (const pid of workers) await askAlone(server, pid, 503)
  await until('the metrics say so', async () => (await readyOf(server)) === '0')
  await rm(staging)
  await rename(`${staging}-away`, staging)
  await until('they have looked again, without having been asked', async () => (await readyOf(server)) === '1')
  assert.equal(await server.stop(), 0)
})
