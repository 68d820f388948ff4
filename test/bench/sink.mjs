// What a server cannot be faster than. Not TypeScript, so that no loader slows its start or adds to its memory.
//   node sink.mjs discard            reads each body and drops it: the limit of node:http
//   node sink.mjs pipe-fsync DIR     pipes each body to a file of its own and syncs it: the limit of a plain file server
//   node sink.mjs hash-fsync DIR     hashes it on the way too, with SHA-256, which nothing else can do for it
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

const [kind, directory = ''] = process.argv.slice(2)
const ANSWER = JSON.stringify({ status: 'accepted', auth_token: 'bench-0' })
let files = 0

const server = createServer(async (request, response) => {
  if (kind !== 'discard' && request.method === 'POST') await store(request)
  else await once(request.resume(), 'end')
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

server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object') console.log(`Listening on http://127.0.0.1:${address?.port}`)
})
