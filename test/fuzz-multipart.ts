import assert from 'node:assert/strict'
import { cut, formatBody, makeFieldChunks, parseChunks, type GivenPart, type Outcome } from './multipart-body.ts'
import { makeChance, type Chance } from './seeded.ts'

const BOUNDARIES = ['b', '-', '--', 'a:b', '0--0', "q'()+_,-./:=? q", '----WebKitFormBoundaryAAAA', 'x'.repeat(70)]
const NAMES = ['file', '', 'a;b', 'ä ö', '__proto__', 'C:\\dir\\a.wav', "it's=1", '日本.wav']

/**
 * Parses random bodies, and random mutations of them, for some seconds. Each is cut at random places and compared with
 * how it parses whole, with what was written into it, and with a slow reader of a few lines.
 * @returns the number of bodies
 */
export function fuzzMultipart(seconds: number, seed: number): number {
  const chance = makeChance(seed)
  const endMs = Date.now() + seconds * 1000
  let inputs = 0
  while (Date.now() < endMs) {
    inputs++
    const boundary = pick(chance, BOUNDARIES)
    const parts = Array.from({ length: chance(5) }, () => makePart(chance, boundary))
    const plain = formatBody(parts, boundary)
    const body = Buffer.concat([Buffer.from(makePreamble(chance, boundary), 'latin1'), plain])
    const message = `seed ${seed}, input ${inputs}`
    const whole = checkChunks(body, boundary, chance, message)
    assert.deepEqual(contentsOf(whole), parts.map((part) => part.content), message)
    checkMutation(mutate(chance, body), boundary, chance, message)
  }
  return inputs
}

function checkMutation(body: Buffer, boundary: string, chance: Chance, message: string): void {
  const whole = checkChunks(body, boundary, chance, message)
  if (whole.error === undefined) assert.deepEqual(contentsOf(whole), readSlowly(body, boundary), message)
}

/** Checks that a body comes to the same however it is cut, and returns to what. */
function checkChunks(body: Buffer, boundary: string, chance: Chance, message: string): Outcome {
  const whole = parseChunks([body], { boundary })
  const chunks = cutAtRandom(chance, body)
  const sizes = chunks.map((chunk) => chunk.length).join(' ')
  assert.deepEqual(parseChunks(chunks, { boundary }), whole, `${message}, chunks of ${sizes}`)
  assert.deepEqual(parseChunks(cut(body, 1), { boundary }), whole, `${message}, byte by byte`)
  const many = makeFieldChunks(boundary)
  const afterMany = parseChunks([...many, body], { boundary })
  assert.deepEqual(parseChunks([...many, ...cut(body, 1)], { boundary }), afterMany, `${message}, after many fields`)
  return whole
}

function contentsOf(outcome: Outcome): string[] {
  return outcome.parts.map((part) => part.content)
}

/** Reads the contents of a form with a regular expression, or undefined where it does not end. */
function readSlowly(body: Buffer, boundary: string): string[] | undefined {
  const text = `\r\n${body.toString('latin1')}`
  const contents: string[] = []
  const delimiter = makeDelimiterPattern(boundary)
  let match = delimiter.exec(text)
  while (match !== null && match[1] !== '--') {
    const emptyLine = text.indexOf('\r\n\r\n', delimiter.lastIndex - 2)
    if (emptyLine === -1) return undefined
    delimiter.lastIndex = emptyLine + 2
    match = delimiter.exec(text)
    if (match !== null) contents.push(text.slice(emptyLine + 4, Math.max(emptyLine + 4, match.index)))
  }
  return match === null ? undefined : contents
}

function makeDelimiterPattern(boundary: string): RegExp {
  return new RegExp(`\\r\\n--${boundary.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}(--|[ \\t]{0,1024}\\r\\n)`, 'g')
}

function makePart(chance: Chance, boundary: string): GivenPart {
  const filename = chance(2) === 0 ? '' : `; filename="${pick(chance, NAMES)}"`
  const mediaType = chance(2) === 0 ? '' : '\r\nContent-Type: audio/wav'
  const name = pick(chance, ['Content-Disposition', 'content-disposition'])
  const header = `${name}: form-data; name="${pick(chance, NAMES)}"${filename}${mediaType}`
  const content = makeText(chance, boundary, chance(12))
  const isDelimited = makeDelimiterPattern(boundary).test(`\r\n${content}\r\n--${boundary}`)
  return { header, content: isDelimited ? 'plain' : content }
}

function makePreamble(chance: Chance, boundary: string): string {
  const preamble = chance(3) === 0 ? `${makeText(chance, boundary, 4)}\r\n` : ''
  return makeDelimiterPattern(boundary).test(`\r\n${preamble}--${boundary}`) ? '' : preamble
}

/** Makes text of pieces that may be mistaken for a delimiter, or for the beginning of one. */
function makeText(chance: Chance, boundary: string, pieces: number): string {
  const delimiter = `\r\n--${boundary}`
  const makers = [
    () => pick(chance, ['\r', '\n', '\r\n', '--', '-', ' ', '\t', '\0', 'text', '\r\n\r\n', `\n--${boundary}`]),
    () => delimiter.slice(0, chance(delimiter.length + 1)),
    () => delimiter + pick(chance, ['', ' ', '\r', ' \r', '-', '-\r', 'x', ' \t x', ' --']),
    () => delimiter.slice(chance(delimiter.length)),
    () => String.fromCharCode(...Array.from({ length: chance(20) }, () => chance(256))),
    () => '\r'.repeat(chance(20)),
  ]
  return Array.from({ length: pieces }, () => pick(chance, makers)()).join('')
}

/** Changes a body in one to three places: a byte, a piece left out, a piece twice, the end cut off. */
function mutate(chance: Chance, body: Buffer): Buffer {
  let text = body.toString('latin1')
  for (let times = 1 + chance(3); times > 0; times--) {
    const start = chance(text.length + 1)
    const end = start + chance(20)
    const mutations = [
      () => text.slice(0, start) + String.fromCharCode(chance(256)) + text.slice(start + 1),
      () => text.slice(0, start) + pick(chance, ['\r', '\n', '\r\n', '-', '"', ';', ':', '\0']) + text.slice(start),
      () => text.slice(0, start) + text.slice(end),
      () => text.slice(0, end) + text.slice(start),
      () => text.slice(0, start),
    ]
    text = pick(chance, mutations)()
  }
  return Buffer.from(text, 'latin1')
}

function cutAtRandom(chance: Chance, body: Buffer): Buffer[] {
  const chunks: Buffer[] = []
  const most = pick(chance, [3, 10, 100])
  for (let at = 0, end = 0; at < body.length; at = end) {
    end = at + chance(most + 1) // an empty chunk now and then
    chunks.push(Buffer.from(body.subarray(at, end)))
  }
  return chunks
}

function pick<Value>(chance: Chance, values: readonly Value[]): Value {
  const value = values[chance(values.length)]
  if (value === undefined) throw new Error('there is nothing to pick from')
  return value
}
