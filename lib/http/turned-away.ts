import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { HttpError, systemCode } from '../errors.ts'
import { Cors } from './cors.ts'
import { COMMON_FIELDS, formatRawReply, formatRefusal, newRequestId } from './reply.ts'

const AWAY_MS = 1000 // systemd begins us again a second later: nobody waits for longer than two

/**
 * Answers everybody who waits at sockets that were passed in with a 503, for a second. Whoever passed them holds them open
 * while a server cannot start, and connections would wait in them without an answer.
 * @param sockets their descriptors; those that are no sockets, or were closed, are left out
 */
export async function turnAway(sockets: readonly number[]): Promise<void> {
  const waiting = new Set<Socket>()
  const servers: Server[] = []
  for (const fd of sockets) {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      waiting.add(socket)
      socket.on('error', () => socket.destroy())
      socket.once('data', () => refuse(socket))
    })
    if (await listen(server, fd)) servers.push(server)
  }
  if (servers.length > 0) await sleep(AWAY_MS)
  for (const server of servers) server.close()
  for (const socket of waiting) socket.destroy()
}

// What was sent is read to its end: closed before that, the connection would be reset, and the answer lost (RFC 9112 §9.6).
function refuse(socket: Socket): void {
  const id = newRequestId()
  const fields = [...COMMON_FIELDS, ...new Cors('*').fieldsForUnknown(), 'X-Request-Id', id]
  socket.end(formatRawReply(formatRefusal(new HttpError('stopping'), id), fields))
  socket.resume()
}

async function listen(server: Server, fd: number): Promise<boolean> {
  try {
    server.listen({ fd })
    await once(server, 'listening')
    return true
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return false
  }
}
