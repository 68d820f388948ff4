import { HttpError } from '../errors.ts'
import type { FormEvent, FormParser } from '../form-event.ts'
import { FieldName } from './field-name.ts'
import type { FormLimits } from './field-name.ts'
import { JsonError, JsonText, MAX_DEPTH } from './json-text.ts'

type Frame = 'start' | 'beforeFirstKey' | 'beforeKey' | 'afterKey' | 'beforeValue' | 'afterValue' | 'end'

/** What may stand outside keys and values (RFC 8259 §4), and what comes next; whitespace may stand anywhere there. */
const STEPS: Readonly<Record<Frame, Readonly<Record<string, Frame | 'key'>>>> = {
  start: { '{': 'beforeFirstKey' },
  beforeFirstKey: { '"': 'key', '}': 'end' },
  beforeKey: { '"': 'key' },
  afterKey: { ':': 'beforeValue' },
  beforeValue: {}, // whatever JsonText takes
  afterValue: { ',': 'beforeKey', '}': 'end' },
  end: {},
}

/**
 * Reads a body of the media type application/json: one JSON object, each member of which becomes a text field that
 * holds the member's value exactly as it stands in the body. A key that comes twice yields two fields.
 */
export class JsonForm implements FormParser {
  readonly #name: FieldName
  #state: Frame | 'key' | 'value' = 'start'
  #text = new JsonText() // of the key or the value that is being read
  #offset = 0 // of the chunk in the body

  constructor(limits: FormLimits) {
    this.#name = new FieldName(limits)
  }

  /** Reads the next bytes of the body; throws `malformed_json`, `part_header_too_large` or `too_many_parts`. */
  *push(chunk: Buffer): Generator<FormEvent, void, undefined> {
    try {
      for (let at = 0; at < chunk.length; ) at = yield* this.#read(chunk, at)
      this.#offset += chunk.length
    } catch (error) {
      throw toMalformed(error)
    }
  }

  /** Says that the body has ended; throws `malformed_json` where the object has not. */
  *finish(): Generator<FormEvent, void, undefined> {
    if (this.#state !== 'end') throw toMalformed(new JsonError('unexpected end', this.#offset))
  }

  /** Reads on at `from`, and returns where the next step begins. */
  *#read(chunk: Buffer, from: number): Generator<FormEvent, number, undefined> {
    if (this.#state === 'key') return this.#readKey(chunk, from)
    if (this.#state === 'value') return yield* this.#readValue(chunk, from)
    const at = skipWhitespace(chunk, from)
    const byte = chunk[at]
    if (byte === undefined) return at
    if (this.#state === 'beforeValue') return yield* this.#beginValue(at)
    const next = STEPS[this.#state][String.fromCharCode(byte)]
    if (next === undefined) throw new JsonError('unexpected byte', this.#offset + at)
    this.#state = next
    if (next !== 'key') return at + 1
    this.#text = new JsonText({ offset: this.#offset + at })
    return at
  }

  #readKey(chunk: Buffer, from: number): number {
    // No further than the limit, so that the same error is found first however the body is cut.
    const bytes = chunk.subarray(from, from + this.#name.roomBytes)
    const length = this.#text.read(bytes)
    this.#name.add(bytes.subarray(0, length))
    if (this.#text.isEnded) this.#state = 'afterKey'
    else if (this.#name.roomBytes === 0) throw new HttpError('part_header_too_large')
    return from + length
  }

  *#beginValue(at: number): Generator<FormEvent, number, undefined> {
    const name: string = JSON.parse(this.#name.take().toString()) // a JSON string, as JsonText has seen
    yield { type: 'part', head: { name, filename: undefined, mediaType: 'application/json' } }
    this.#text = new JsonText({ maxDepth: MAX_DEPTH - 1, offset: this.#offset + at }) // the body is a level itself
    this.#state = 'value'
    return at
  }

  *#readValue(chunk: Buffer, from: number): Generator<FormEvent, number, undefined> {
    const rest = chunk.subarray(from)
    const length = this.#text.read(rest)
    if (length > 0) yield { type: 'data', bytes: rest.subarray(0, length) }
    if (this.#text.isEnded) {
      this.#state = 'afterValue'
      yield { type: 'end' }
    }
    return from + length
  }
}

const WHITESPACE: readonly number[] = [...Buffer.from('\t\n\r ')] // RFC 8259 §2

function skipWhitespace(chunk: Buffer, from: number): number {
  let at = from
  while (WHITESPACE.includes(chunk[at] ?? 0)) at++
  return at
}

function toMalformed(error: unknown): unknown {
  return error instanceof JsonError ? new HttpError('malformed_json', { cause: error }) : error
}
