import { randomFillSync } from 'node:crypto'
import type { MultipartParser } from '../../lib/multipart/parser.ts'
import type { Sample, Scenario } from './scenario.ts'

const BOUNDARY = '----WebKitFormBoundary7MA4YWxkTrZu0gW'
const DELIMITER = `\r\n--${BOUNDARY}`
const LIMITS = { parts: Infinity, partHeaderBytes: 16_384, preambleBytes: 0 }
const CHUNK_BYTES = 65_536 // as node:http gives a body

const [small, large] = [30_000_000, 100_000_000]
const fields = () => Array.from({ length: 60_000 }, (_, at) => ({ name: `field_${at}`, content: Buffer.from(`value number ${1e6 + at}`) }))
const file = (bytes: number, text: string) => [{ name: 'file', content: Buffer.alloc(bytes, text) }]
const CASES = [
  { name: 'file', description: 'a file of 100 MB', makeParts: () => [{ name: 'file', content: randomFillSync(Buffer.alloc(large)) }] },
  { name: 'packets', description: 'a file in chunks of 1,460 bytes', chunkBytes: 1460, makeParts: () => [{ name: 'file', content: randomFillSync(Buffer.alloc(small)) }] },
  { name: 'fields', description: '60,000 small fields', makeParts: fields },
  { name: 'crlf', description: 'a file of line ends', makeParts: () => file(small, '\r\n') },
  { name: 'dashes', description: 'a file of dashes', makeParts: () => file(small, '-') },
  { name: 'near-misses', description: 'a file of all but a delimiter', makeParts: () => file(small, `${DELIMITER.slice(0, -1)}X`) },
]

type Subject = 'parser' | 'indexOf' | 'copy'

/** The scenarios that measure the multipart parser in this process, as it was built, against what it cannot be faster than. */
export const PARSER_SCENARIOS: readonly Scenario[] = CASES.map(({ name, description, chunkBytes = CHUNK_BYTES, makeParts }) => {
  let chunks: readonly Buffer[] | undefined
  return {
    name: `parser-${name}`,
    description: `the multipart parser, ${description}`,
    subjects: ['parser', 'indexOf', 'copy'] satisfies Subject[],
    measure: async (subject) => measure(SUBJECTS[subject as Subject], (chunks ??= cut(formatBody(makeParts()), chunkBytes))),
  }
})

const SUBJECTS: Record<Subject, (chunks: readonly Buffer[]) => Promise<number>> = {
  parser: async (chunks) => {
    const built: string = '../../dist/lib/multipart/parser.js' // as users run it, not as the loader of this file makes it
    const { MultipartParser: Parser } = (await import(built)) as { MultipartParser: typeof MultipartParser }
    const parser = new Parser(BOUNDARY, LIMITS)
    let count = 0
    for (const chunk of chunks) for (const event of parser.push(chunk)) count += event.type === 'data' ? event.bytes.length : 1
    for (const _ of parser.finish()) count++
    return count
  },
  indexOf: async (chunks) => {
    const delimiter = Buffer.from(DELIMITER)
    let count = 0
    for (const chunk of chunks) for (let at = chunk.indexOf(delimiter); at !== -1; at = chunk.indexOf(delimiter, at + 1)) count++
    return count
  },
  copy: async (chunks) => {
    const target = Buffer.alloc(CHUNK_BYTES)
    return chunks.reduce((count, chunk) => count + chunk.copy(target), 0)
  },
}

/** Processor time, not time: it is the same whatever else the machine does. */
async function measure(subject: (chunks: readonly Buffer[]) => Promise<number>, chunks: readonly Buffer[]): Promise<Sample> {
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  const runs = Math.max(3, Math.ceil(large / bytes))
  await subject(chunks)
  const before = process.cpuUsage()
  for (let run = 0; run < runs; run++) await subject(chunks)
  const { user, system } = process.cpuUsage(before)
  return { 'MB/s': (bytes * runs) / (user + system) }
}

function formatBody(parts: readonly { name: string; content: Buffer }[]): Buffer {
  const pieces = parts.flatMap(({ name, content }, at) => [
    Buffer.from(`${at === 0 ? '' : '\r\n'}--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n`),
    content,
  ])
  return Buffer.concat([...pieces, Buffer.from(`${DELIMITER}--\r\n`)])
}

function cut(body: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(body.length / size) }, (_, at) => Buffer.from(body.subarray(at * size, (at + 1) * size)))
}
