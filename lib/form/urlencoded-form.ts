import { HttpError } from '../errors.ts'
import type { FormEvent, FormParser } from '../form-event.ts'
import { FieldName } from './field-name.ts'
import type { FormLimits } from './field-name.ts'

const [AMPERSAND, EQUALS, PERCENT, PLUS, SPACE] = [0x26, 0x3d, 0x25, 0x2b, 0x20]
const NOTHING = Buffer.alloc(0)
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }) // a byte order mark is a part of the name
const HEX_DIGITS = new Int8Array(256).fill(-1)
for (const digit of '0123456789ABCDEFabcdef') HEX_DIGITS[digit.charCodeAt(0)] = Number.parseInt(digit, 16)

/**
 * Reads a body of the media type application/x-www-form-urlencoded (WHATWG URL §5.1); each pair becomes a text field.
 * A value's bytes are decoded, but need not be UTF-8.
 */
export class UrlencodedForm implements FormParser {
  readonly #name: FieldName
  #isInValue = false
  #held = NOTHING // a percent sequence of the value that the end of a chunk cut

  constructor(limits: FormLimits) {
    this.#name = new FieldName(limits)
  }

  /** Reads the next bytes of the body; throws `malformed_text`, `part_header_too_large` or `too_many_parts`. */
  *push(chunk: Buffer): Generator<FormEvent, void, undefined> {
    for (let at = 0; at < chunk.length; ) {
      at = this.#isInValue ? yield* this.#readValue(chunk, at) : yield* this.#readName(chunk, at)
    }
  }

  /** Says that the body has ended; throws `malformed_text` or `too_many_parts`. */
  *finish(): Generator<FormEvent, void, undefined> {
    if (!this.#isInValue) {
      if (this.#name.length === 0) return
      yield* this.#beginValue()
    }
    yield* this.#endValue(NOTHING)
  }

  *#readName(chunk: Buffer, from: number): Generator<FormEvent, number, undefined> {
    let start = from
    if (this.#name.length === 0) while (chunk[start] === AMPERSAND) start++ // empty pairs
    // An indexOf for each delimiter would search the rest of the chunk for one of them again and again.
    let at = start
    while (at < chunk.length && chunk[at] !== AMPERSAND && chunk[at] !== EQUALS) at++
    this.#name.add(chunk.subarray(start, at))
    if (at === chunk.length) return at
    yield* this.#beginValue()
    return chunk[at] === EQUALS ? at + 1 : at
  }

  *#beginValue(): Generator<FormEvent, void, undefined> {
    const name = toText(decode(this.#name.take()))
    yield { type: 'part', head: { name, filename: undefined, mediaType: undefined } }
    this.#isInValue = true
  }

  *#readValue(chunk: Buffer, from: number): Generator<FormEvent, number, undefined> {
    const end = chunk.indexOf(AMPERSAND, from)
    if (end !== -1) {
      yield* this.#endValue(chunk.subarray(from, end))
      return end + 1
    }
    const bytes = this.#withHeld(chunk.subarray(from))
    const length = bytes.length - openPercentBytes(bytes)
    this.#held = Buffer.from(bytes.subarray(length)) // a copy, for the chunk belongs to the caller
    yield* data(bytes.subarray(0, length))
    return chunk.length
  }

  *#endValue(rest: Buffer): Generator<FormEvent, void, undefined> {
    yield* data(this.#withHeld(rest))
    yield { type: 'end' }
    this.#held = NOTHING
    this.#isInValue = false
  }

  #withHeld(bytes: Buffer): Buffer {
    return this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
  }
}

function* data(encoded: Buffer): Generator<FormEvent, void, undefined> {
  if (encoded.length > 0) yield { type: 'data', bytes: decode(encoded) }
}

/** How many bytes at the end may be the beginning of a percent sequence. */
function openPercentBytes(bytes: Buffer): number {
  if (bytes.at(-1) === PERCENT) return 1
  return bytes.at(-2) === PERCENT ? 2 : 0
}

/** Decodes percent sequences and plus signs; a percent sign that begins no sequence stays. */
function decode(encoded: Buffer): Buffer {
  const decoded = Buffer.allocUnsafe(encoded.length)
  let length = 0
  for (let at = 0; at < encoded.length; at++) {
    const byte = encoded[at] ?? 0
    const code = byte === PERCENT ? (hexDigit(encoded[at + 1]) << 4) | hexDigit(encoded[at + 2]) : -1
    if (code >= 0) at += 2
    decoded[length++] = code >= 0 ? code : byte === PLUS ? SPACE : byte
  }
  return decoded.subarray(0, length)
}

/** The value of a hexadecimal digit, or -1. */
function hexDigit(byte: number | undefined): number {
  return HEX_DIGITS[byte ?? 0] ?? -1
}

function toText(bytes: Buffer): string {
  try {
    return UTF8.decode(bytes)
  } catch (error) {
    throw new HttpError('malformed_text', { cause: error })
  }
}
