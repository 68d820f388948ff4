import { Agent, request as requestPlain, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { Agent as SecureAgent, request as requestSecure } from 'node:https'
import { once } from 'node:events'
import { TLSSocket } from 'node:tls'
import { parseObject, type JsonObject } from '../json.ts'

const SILENCE_MS = 120_000

/** An answer, read to its end. */
export interface Visited {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly json: JsonObject
  /** When the certificate of the server ends; undefined without TLS. */
  readonly certificateEnds: Date | undefined
}

/**
 * Sends one request over a connection of its own, its body piece by piece; an answer that comes early ends the sending.
 * Throws what the system says where no answer comes.
 */
export async function visit(
  url: URL,
  { method = 'GET', headers = {}, body = [] }: { method?: string; headers?: Readonly<Record<string, string>>; body?: AsyncIterable<Buffer> | Iterable<Buffer> } = {},
): Promise<Visited> {
  // Kept alive: who is asked to close may do so before all was sent, and the answer is then lost on its way.
  const isSecure = url.protocol === 'https:'
  const agent = isSecure ? new SecureAgent({ keepAlive: true }) : new Agent({ keepAlive: true })
  const request = (isSecure ? requestSecure : requestPlain)(url, { method, headers, agent, timeout: SILENCE_MS })
  request.on('timeout', () => request.destroy(Object.assign(new Error('no answer for two minutes'), { code: 'ETIMEDOUT' })))
  try {
    const response = await send(request, body)
    const { socket } = response
    const certificateEnds = socket instanceof TLSSocket ? new Date(socket.getPeerCertificate().valid_to) : undefined
    const text = await readAll(response)
    return { status: response.statusCode ?? 0, headers: response.headers, text, json: parseObject(text) ?? {}, certificateEnds }
  } finally {
    request.destroy()
    agent.destroy()
  }
}

async function send(request: ClientRequest, body: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<IncomingMessage> {
  let isAnswered = false
  const answered = once(request, 'response').then(([response]) => {
    isAnswered = true
    return response as IncomingMessage
  })
  answered.catch(() => undefined)
  request.on('error', () => undefined) // `answered` tells of it; after an answer it is of no interest
  for await (const piece of body) {
    if (isAnswered || request.destroyed) break
    if (!request.write(piece)) await Promise.race([once(request, 'drain').catch(() => undefined), answered.catch(() => undefined)])
  }
  request.end()
  return answered
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
