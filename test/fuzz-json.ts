import assert from 'node:assert/strict'
import { HttpError } from '../lib/errors.ts'
import type { FormParser } from '../lib/form-event.ts'
import { JsonForm } from '../lib/form/json-form.ts'
import { JsonError, JsonText } from '../lib/form/json-text.ts'

/** One field that a form gave out; the bytes of its value as latin1, so that any of them compare. */
export interface Field {
  readonly name: string
  readonly mediaType: string | undefined
  readonly value: string
}

/** What came of reading a form: its fields, or the code it was refused with. */
export type Outcome = { readonly fields: readonly Field[] } | { readonly code: string }

/** Limits that no input of a test reaches unless it means to. */
export const LIMITS = { partHeaderBytes: 2000, parts: 2000 }

/** Gives numbers from 0 to 1 that depend on the seed alone (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The bytes whole, in two at every place, and byte by byte. */
export function* chunkings(bytes: Buffer): Generator<Buffer[]> {
  yield [bytes]
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)]
  yield Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
}

/** The bytes in one to four chunks, or byte by byte. */
export function randomChunks(bytes: Buffer, random: () => number): Buffer[] {
  if (random() < 0.2) return Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
  const cuts = Array.from({ length: Math.floor(random() * 4) }, () => Math.floor(random() * (bytes.length + 1)))
  const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length]
  return edges.slice(1).map((end, index) => bytes.subarray(edges[index], end))
}

/** One of the things given. */
export function pick<T>(things: readonly T[], random: () => number): T {
  const thing = things[Math.floor(random() * things.length)]
  if (thing === undefined) throw new Error('there is nothing to pick from')
  return thing
}

/** Reads a form out of chunks, each of which is overwritten after it was read, and checks the order of the events. */
export function readForm(form: FormParser, chunks: readonly Buffer[]): Outcome {
  const fields: Field[] = []
  let head: { name: string; mediaType: string | undefined } | undefined
  let value = ''
  const read = (events: ReturnType<FormParser['finish']>): void => {
    for (const event of events) {
      assert.equal(event.type === 'part', head === undefined, `${event.type} comes out of order`)
      if (event.type === 'part') assert.equal(event.head.filename, undefined)
      if (event.type === 'part') [head, value] = [event.head, '']
      if (event.type === 'data') assert.ok(event.bytes.length > 0, 'no event is empty')
      if (event.type === 'data') value += event.bytes.toString('latin1')
      if (event.type === 'end' && head) fields.push({ name: head.name, mediaType: head.mediaType, value })
      if (event.type === 'end') head = undefined
    }
  }
  try {
    for (const chunk of chunks) {
      const own = Buffer.from(chunk)
      read(form.push(own))
      own.fill('?')
    }
    read(form.finish())
  } catch (error) {
    if (error instanceof HttpError) return { code: error.code }
    throw error
  }
  assert.equal(head, undefined, 'every part ends')
  return { fields }
}

/** What JsonText says of the bytes: undefined where they are JSON, or its error. */
export function checkText(chunks: readonly Buffer[], maxDepth?: number): JsonError | undefined {
  const text = new JsonText(maxDepth === undefined ? {} : { maxDepth })
  try {
    for (const chunk of chunks) text.push(chunk)
    text.finish()
  } catch (error) {
    if (error instanceof JsonError) return error
    throw error
  }
  return undefined
}

/** What JSON.parse says of the bytes: a list that holds the value, or an empty one where they are not JSON. */
export function parseReference(bytes: Buffer): [unknown] | [] {
  try {
    return [JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))]
  } catch {
    return [] // a SyntaxError, or a TypeError where the bytes are not UTF-8
  }
}

/**
 * Holds JsonText and JsonForm against JSON.parse, over random JSON and random damage to it, for some seconds.
 * @returns the number of inputs; throws where one of them is judged differently, naming the seed and the input
 */
export function fuzzJson(seconds: number, seed: number): number {
  const random = seededRandom(seed)
  const endMs = performance.now() + seconds * 1000
  let inputs = 0
  for (; performance.now() < endMs; inputs++) {
    const members = randomMembers(random)
    const body = Buffer.from(formatBody(members, random))
    const damaged = damage(random() < 0.5 ? body : Buffer.from(randomValue(random, 4)), random)
    try {
      checkMembers(members, readForm(new JsonForm(LIMITS), randomChunks(body, random)))
      checkDamaged(damaged, random)
    } catch (error) {
      const input = `${body.toString('base64')} or ${damaged.toString('base64')}`
      throw new Error(`seed ${seed}, input ${inputs}, in base64 ${input}`, { cause: error })
    }
  }
  return inputs
}

interface Member {
  readonly key: string
  readonly value: string
}

function checkMembers(members: readonly Member[], outcome: Outcome): void {
  const fields = members.map(({ key, value }) => ({
    name: JSON.parse(key),
    mediaType: 'application/json',
    value: Buffer.from(value).toString('latin1'),
  }))
  assert.deepEqual(outcome, { fields })
}

function checkDamaged(bytes: Buffer, random: () => number): void {
  const reference = parseReference(bytes)
  assert.equal(checkText(randomChunks(bytes, random)) === undefined, reference.length === 1, 'JsonText')
  const outcome = readForm(new JsonForm(LIMITS), randomChunks(bytes, random))
  const [value] = reference
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    assert.deepEqual(outcome, { code: 'malformed_json' })
    return
  }
  assert.ok('fields' in outcome, 'an object is a form')
  const last = new Map(outcome.fields.map((field) => [field.name, JSON.parse(decodeLatin1(field.value))]))
  assert.deepEqual(last, new Map(Object.entries(value)))
  let at = 0
  for (const { value: text } of outcome.fields) {
    assert.equal(text, text.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, ''), 'no whitespace around a value')
    at = bytes.indexOf(text, at, 'latin1') + text.length
    assert.ok(at >= text.length, 'a value stands in the body as it was given out')
  }
}

function decodeLatin1(text: string): string {
  return Buffer.from(text, 'latin1').toString()
}

const SPACES = ['', '', '', '', ' ', '\n', '\t', '\r\n', '  \n    ']
const NUMBERS = ['0', '-0', '1', '12345678901234567890', '1.0', '1e400', '1E+2', '-1.5e-7', '0.30000000000000004']
const PIECES = [
  ...['a', '0', ' ', '\\n', '\\"', '\\\\', '\\/', '\\u00e9', '\\uD83D\\ude00', '\\ud800'],
  ...['é', '€', '😀', '\x7f', '\ufeff', '/*'],
]
const KEYS = ['"a"', '"b"', '"2"', '"1"', '"__proto__"', '"constructor"', '""', '"\\u0061"']

function randomMembers(random: () => number): Member[] {
  return Array.from({ length: Math.floor(random() * 5) }, () => ({
    key: randomKey(random),
    value: randomValue(random, 3),
  }))
}

function formatBody(members: readonly Member[], random: () => number): string {
  const space = (): string => pick(SPACES, random)
  const formatted = members.map(({ key, value }) => space() + key + space() + ':' + space() + value + space())
  return `${space()}{${formatted.join(',') || space()}}${space()}`
}

function randomKey(random: () => number): string {
  return random() < 0.6 ? pick(KEYS, random) : randomString(random)
}

function randomString(random: () => number): string {
  return `"${Array.from({ length: Math.floor(random() * 6) }, () => pick(PIECES, random)).join('')}"`
}

function randomValue(random: () => number, levels: number): string {
  const kind = random()
  if (kind < 0.15) return pick(['true', 'false', 'null'], random)
  if (kind < 0.4 || levels === 0) return pick(NUMBERS, random)
  if (kind < 0.6) return randomString(random)
  const spaced = (text: string): string => pick(SPACES, random) + text + pick(SPACES, random)
  const values = Array.from({ length: Math.floor(random() * 4) }, () => spaced(randomValue(random, levels - 1)))
  if (kind < 0.8) return `[${values.join(',') || spaced('')}]`
  return `{${values.map((value) => spaced(randomKey(random)) + ':' + value).join(',') || spaced('')}}`
}

const DAMAGES = [
  ...Array.from('"\\{}[],:0123456789.eE+-tfn \n\t\r/\'u*'),
  ...['\x00', '\x1f', '\x0b', '\x7f', 'true', 'null', 'NaN', '//', '/**/', '\\u12', ',]', ',}', '00', '-', '1.', '1e'],
].map((text) => Buffer.from(text))
const NOT_ALWAYS_UTF8 = ['80', 'bf', 'c0', 'c1', 'c2', 'df', 'e0', 'ed', 'ef', 'f0', 'f4', 'f5', 'ff', 'c080', 'e08080']
const CODE_POINTS = ['eda080', 'ed9fbf', 'f0808080', 'f48fbfbf', 'f4908080', 'efbbbf', 'c3a9', 'e282ac', 'f09f9880']
DAMAGES.push(...[...NOT_ALWAYS_UTF8, ...CODE_POINTS].map((hex) => Buffer.from(hex, 'hex')))

/** Replaces, inserts, removes or repeats bytes at up to three places, or at none. */
function damage(bytes: Buffer, random: () => number): Buffer {
  let damaged = bytes
  for (let times = Math.floor(random() * 4); times > 0; times--) {
    const from = Math.floor(random() * (damaged.length + 1))
    const to = random() < 0.3 ? from : Math.min(damaged.length, from + Math.ceil(random() ** 4 * 20))
    const kind = random()
    const inserted = kind < 0.2 ? Buffer.alloc(0) : kind < 0.3 ? damaged.subarray(0, to) : pick(DAMAGES, random)
    damaged = Buffer.concat([damaged.subarray(0, from), inserted, damaged.subarray(to)])
  }
  return damaged
}
