// What a server cannot be faster than. Not TypeScript, so that no loader slows its start or adds to its memory.
//   node sink.mjs discard            reads each body and drops it: the limit of node:http
//   node sink.mjs pipe-fsync DIR     pipes each body to a file of its own and syncs it: the limit of a plain file server
//   node sink.mjs hash-fsync DIR     hashes it on the way too, with SHA-256, which nothing else can do for it
//   node sink.mjs calls-only DIR     makes the calls that this server makes to the disk for small bodies, and does nothing
//                                    else: no form, no token, no hash, no log. The limit of its promise
//   node sink.mjs calls-hash DIR     the same with the hash
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, createWriteStream, fsync, linkSync, mkdirSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'

const MOST_ROUNDS = 2 // as in the server: one is written while the other waits for its syncs

const [kind, directory = ''] = process.argv.slice(2)
const isCalling = kind === 'calls-only' || kind === 'calls-hash'
const ANSWER = JSON.stringify({ status: 'accepted', auth_token: 'bench-0' })
const [staging, published] = [join(directory, 'staging'), join(directory, 'published')]
const sync = promisify(fsync)
let files = 0
let receipts = 0 // its descriptor
let rounds = 0 // under way
/** @type {{ body: Buffer, onPublished: () => void }[]} */
let gathered = []

const server = createServer(async (request, response) => {
  if (kind === 'discard' || request.method !== 'POST') await once(request.resume(), 'end')
  else if (isCalling) await publish(await buffer(request))
  else await store(request)
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': ANSWER.length }).end(ANSWER)
})

/** @param {import('node:http').IncomingMessage} request */
async function store(request) {
  const hash = createHash('sha256')
  if (kind === 'hash-fsync') request.on('data', (chunk) => hash.update(chunk))
  await pipeline(request, createWriteStream(join(directory, `body-${files++}`), { flush: true }))
  const handle = await open(directory)
  await handle.sync()
  await handle.close()
}

/**
 * @param {Buffer} body
 * @returns {Promise<void>}
 */
function publish(body) {
  return new Promise((resolve) => {
    gathered.push({ body, onPublished: resolve })
    if (gathered.length === 1) setImmediate(beginRound)
  })
}

async function beginRound() {
  if (rounds === MOST_ROUNDS || gathered.length === 0) return
  const round = gathered
  gathered = []
  rounds++
  await publishAll(round.map(({ body }) => body))
  rounds--
  for (const { onPublished } of round) onPublished()
  void beginRound()
}

/** @param {Buffer[]} bodies */
async function publishAll(bodies) {
  const staged = bodies.map((body) => {
    const name = String(files++)
    const descriptor = openSync(join(staging, name), 'wx', 0o600)
    writeSync(descriptor, body)
    return { name, descriptor }
  })
  await Promise.all(staged.map(({ descriptor }) => sync(descriptor)))
  for (const { name, descriptor } of staged) {
    closeSync(descriptor)
    linkSync(join(staging, name), join(published, name))
  }
  const names = openSync(published, 'r')
  await sync(names)
  closeSync(names)
  const hashes = kind === 'calls-hash' ? bodies.map((body) => createHash('sha256').update(body).digest('hex')) : []
  writeSync(receipts, staged.map(({ name }, index) => `${JSON.stringify({ file: name, sha256: hashes[index] })}\n`).join(''))
  await sync(receipts)
  for (const { name } of staged) unlinkSync(join(staging, name))
}

if (isCalling) {
  mkdirSync(staging)
  mkdirSync(published)
  receipts = openSync(join(directory, 'receipts.ndjson'), 'a')
}
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object') console.log(`Listening on http://127.0.0.1:${address?.port}`)
})
