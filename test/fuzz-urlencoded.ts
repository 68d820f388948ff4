import assert from 'node:assert/strict'
import { isAscii, isUtf8 } from 'node:buffer'
import { UrlencodedForm } from '../lib/form/urlencoded-form.ts'
import { LIMITS, pick, randomChunks, readForm, seededRandom } from './fuzz-json.ts'
import type { Outcome } from './fuzz-json.ts'

/**
 * Holds UrlencodedForm against URLSearchParams, and against a reader that splits strings, over random bodies.
 * @returns the number of inputs; throws where one of them is read differently, naming the seed and the input
 */
export function fuzzUrlencoded(seconds: number, seed: number): number {
  const random = seededRandom(seed)
  const endMs = performance.now() + seconds * 1000
  let inputs = 0
  for (; performance.now() < endMs; inputs++) {
    const pieces = random() < 0.5 ? TEXTS : [...TEXTS, ...NOT_UTF8]
    const body = Buffer.concat(Array.from({ length: Math.floor(random() * 20) }, () => pick(pieces, random)))
    try {
      checkBody(body, readForm(new UrlencodedForm(LIMITS), randomChunks(body, random)))
    } catch (error) {
      throw new Error(`seed ${seed}, input ${inputs}, in base64 ${body.toString('base64')}`, { cause: error })
    }
  }
  return inputs
}

/** Checks what was read of a body against what URLSearchParams and a plain reader read of it. */
export function checkBody(body: Buffer, outcome: Outcome): void {
  assert.deepEqual(outcome, readPlainly(body))
  // URLSearchParams puts U+FFFD where we refuse, and Node's breaks text beyond ASCII: `%41%€` becomes `A%\xac`.
  if ('code' in outcome || !isAscii(body)) return
  const texts = outcome.fields.map(({ name, value }) => [name, LOSSY.decode(Buffer.from(value, 'latin1'))])
  assert.deepEqual(texts, [...new URLSearchParams(`?${body.toString()}`)]) // which takes off one question mark
}

const LOSSY = new TextDecoder('utf-8', { ignoreBOM: true })

/** Reads a body that is in memory whole, one byte a character. */
function readPlainly(body: Buffer): Outcome {
  const pairs = body.toString('latin1').split('&').filter((pair) => pair !== '')
  const fields = pairs.map((pair) => {
    const [name = '', ...values] = pair.split('=')
    return { name: Buffer.from(decodePlainly(name), 'latin1'), value: decodePlainly(values.join('=')) }
  })
  if (!fields.every(({ name }) => isUtf8(name))) return { code: 'malformed_text' }
  return { fields: fields.map(({ name, value }) => ({ name: name.toString(), mediaType: undefined, value })) }
}

function decodePlainly(text: string): string {
  const spaced = text.replaceAll('+', ' ')
  return spaced.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
}

const TEXTS = [
  ...['%', '%', '%', '%2', '%4', '%41', '%7e', '%7E', '%26', '%3D', '%25', '%2B', '%00', '%u0041', '%0', '%g0', '%0g'],
  ...['&', '&', '&', '=', '=', '=', '+', '+', 'a', 'F', '0', '9', 'g', '?', '#', ';', '/', ' ', '\r\n', '\0'],
  ...['é', '€', '😀', '\ufeff', '%C3%A9', '%e2%82%ac', '%F0%9F%98%80', '%EF%BB%BF'],
].map((text) => Buffer.from(text))
const NOT_UTF8 = ['%ff', '%C3', '%A9', '%ed%a0%80', '\xff', '\xc3'].map((text) => Buffer.from(text, 'latin1'))
