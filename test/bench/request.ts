import { randomFillSync } from 'node:crypto'
import type { Request } from './load.ts'

const BOUNDARY = '----WebKitFormBoundary7MA4YWxkTrZu0gW'
const BLOCK = randomFillSync(Buffer.alloc(1_000_000)) // a file is this over and over

/** Makes the requests that ask for an auth token. */
export function makeTokenRequests(target: string): () => Request {
  const request = [Buffer.from(`GET ${target} HTTP/1.1\r\nHost: bench\r\n\r\n`)]
  return () => request
}

/** Makes submissions of answers: a JSON text of about so many bytes. */
export function makeAnswersRequests(authToken: string, bytes: number): () => Request {
  const items = Array.from({ length: Math.ceil(bytes / 80) }, (_, at) => ({ isAbout: `items/question_${at}`, value: at % 5, at: '2024-11-01T02:36:15.000Z' }))
  const parts = formatPart('name="auth_token"', authToken) + formatPart('name="responses"', JSON.stringify(items))
  const body = `${parts}--${BOUNDARY}--\r\n`
  const request = [Buffer.from(formatHead(body.length) + body)]
  return () => request
}

/** Makes submissions of one file of so many bytes; each has a name of its own, for a file that comes again is stored once. */
export function makeFileRequests(authToken: string, bytes: number): (n: number) => Request {
  const content = Array.from({ length: Math.ceil(bytes / BLOCK.length) }, (_, at) => BLOCK.subarray(0, bytes - at * BLOCK.length))
  const end = Buffer.from(`\r\n--${BOUNDARY}--\r\n`)
  return (n) => {
    const filename = `recording-${String(n).padStart(9, '0')}.wav`
    const parts = formatPart('name="auth_token"', authToken) + formatPart(`name="file"; filename="${filename}"`, '').slice(0, -2)
    const start = Buffer.from(formatHead(parts.length + bytes + end.length) + parts)
    return bytes < 256 * 1024 ? [Buffer.concat([start, ...content, end])] : [start, ...content, end]
  }
}

function formatHead(bodyBytes: number): string {
  return `POST /submit HTTP/1.1\r\nHost: bench\r\nContent-Type: multipart/form-data; boundary=${BOUNDARY}\r\nContent-Length: ${bodyBytes}\r\n\r\n`
}

function formatPart(parameters: string, content: string): string {
  return `--${BOUNDARY}\r\nContent-Disposition: form-data; ${parameters}\r\n\r\n${content}\r\n`
}
