import type { Reply } from '../http/reply.ts'

/** `GET /`: what the seed server says, and what clients look for to see whether the server is there. */
export async function root(): Promise<Reply> {
  return { status: 200, body: { hello: 'world' } }
}
