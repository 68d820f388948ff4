import assert from 'node:assert/strict'
import { HttpError } from '../lib/errors.ts'
import type { PartHead } from '../lib/form-event.ts'
import { MultipartParser, type MultipartLimits } from '../lib/multipart/parser.ts'

/** Limits that are small enough for a test to reach, and large enough for all other tests. */
export const LIMITS: MultipartLimits = { parts: 50, partHeaderBytes: 2000, preambleBytes: 1000 }

/** A part as the parser gave it out, its content one latin1 character a byte. */
export interface ParsedPart {
  readonly head: PartHead
  readonly content: string
  readonly isEnded: boolean
}

/** What came of a body: the parts, and the code of the error that ended it, if one did. */
export interface Outcome {
  readonly parts: readonly ParsedPart[]
  readonly error: string | undefined
}

/** How a body is to be parsed. */
export interface ParseOptions {
  readonly boundary: string
  readonly limits?: MultipartLimits
}

/** Parses a body that comes in these chunks; checks that the events come in order and that data is never empty. */
export function parseChunks(chunks: readonly Buffer[], { boundary, limits = LIMITS }: ParseOptions): Outcome {
  const parser = new MultipartParser(boundary, limits)
  const parts: { head: PartHead; content: Buffer[]; isEnded: boolean }[] = []
  const outcome = (error: string | undefined): Outcome => ({
    parts: parts.map((part) => ({ ...part, content: Buffer.concat(part.content).toString('latin1') })),
    error,
  })
  try {
    for (const events of [...chunks.map((chunk) => parser.push(chunk)), parser.finish()]) {
      for (const event of events) {
        const last = parts.at(-1)
        assert.equal(event.type === 'part', last === undefined || last.isEnded, 'the events come in order')
        if (event.type === 'part') parts.push({ head: event.head, content: [], isEnded: false })
        else if (last !== undefined && event.type === 'end') last.isEnded = true
        else if (last !== undefined && event.type === 'data') {
          assert.ok(event.bytes.length > 0, 'data is never empty')
          last.content.push(event.bytes) // kept without a copy: the parser may not write to it any more
        }
      }
    }
    return outcome(undefined)
  } catch (error) {
    if (!(error instanceof HttpError)) throw error
    assert.throws(() => [...parser.push(Buffer.from('x'))], HttpError, 'a parser that has thrown throws again')
    assert.throws(() => [...parser.finish()], HttpError)
    return outcome(error.code)
  }
}

/** Cuts a body into chunks of `size` bytes, each a copy of its own. */
export function cut(body: Buffer, size: number): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0; at < body.length; at += size) chunks.push(Buffer.from(body.subarray(at, at + size)))
  return chunks
}

/** Parses a body whole, in two at every place, and byte by byte; checks that all of that comes to the same. */
export function parseEveryWay(body: Buffer, options: ParseOptions): Outcome {
  const whole = parseChunks([body], options)
  for (let at = 0; at <= body.length; at++) {
    const halves = parseChunks([Buffer.from(body.subarray(0, at)), Buffer.from(body.subarray(at))], options)
    assert.deepEqual(halves, whole, `cut in two at ${at}`)
  }
  assert.deepEqual(parseChunks(cut(body, 1), options), whole, 'byte by byte')
  return whole
}

/** A part to be written: its header block without the empty line, and its content as latin1. */
export interface GivenPart {
  readonly header: string
  readonly content: string
}

/** Writes a body. The header is written as UTF-8. */
export function formatBody(parts: readonly GivenPart[], boundary: string): Buffer {
  const pieces: Buffer[] = []
  for (const { header, content } of parts) {
    pieces.push(Buffer.from(`--${boundary}\r\n${header}\r\n\r\n`), Buffer.from(`${content}\r\n`, 'latin1'))
  }
  return Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)])
}

/** Makes the beginning of a form, a field a chunk, of so many fields that those after them are read in the quickest way. */
export function makeFieldChunks(boundary: string): Buffer[] {
  return Array.from({ length: 10 }, () => Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n`))
}
