import { HttpError } from '../errors.ts'
import type { FormEvent, FormParser } from '../form-event.ts'
import type { Cursor } from './cursor.ts'
import { DelimiterSearch } from './delimiter-search.ts'
import { HeaderBlock } from './header-block.ts'
import { parsePartHead } from './part-header.ts'

/** How much of what is not content a form may have. */
export interface MultipartLimits {
  /** How many parts. */
  readonly parts: number
  /** How many bytes the header block of each part, with the empty line that ends it. */
  readonly partHeaderBytes: number
  /** How many bytes before the first delimiter. */
  readonly preambleBytes: number
}

type State = 'preamble' | 'delimiter' | 'header' | 'content' | 'epilogue'

const END: FormEvent = { type: 'end' }

/**
 * A push parser of multipart/form-data (RFC 7578).
 * Once it has thrown, or its events were not all taken before the next call, it throws at every further call.
 */
export class MultipartParser implements FormParser {
  readonly #limits: MultipartLimits
  readonly #search: DelimiterSearch
  readonly #headerBlock: HeaderBlock
  #state: State = 'preamble'
  #preambleBytes = 0
  #parts = 0
  #isBroken = false

  /** @param boundary as `parseBoundary` returns it */
  constructor(boundary: string, limits: MultipartLimits) {
    this.#limits = limits
    this.#search = new DelimiterSearch(boundary)
    this.#headerBlock = new HeaderBlock(limits.partHeaderBytes)
  }

  /**
   * Reads the next bytes of the body.
   * @throws HttpError `malformed_form`, `too_many_parts`, `part_header_too_large`, `preamble_too_large`
   */
  *push(chunk: Buffer): Generator<FormEvent, void, undefined> {
    if (this.#isBroken) throw malformed('the form was given up before')
    this.#isBroken = true // until this chunk has been read to its end
    const cursor = { chunk, at: 0 }
    for (let event = this.#read(cursor); event !== undefined; event = this.#read(cursor)) yield event
    this.#isBroken = false
  }

  /**
   * Says that the body has ended.
   * @throws HttpError `malformed_form` where the close delimiter has not been read
   */
  *finish(): Generator<FormEvent, void, undefined> {
    if (this.#isBroken) throw malformed('the form was given up before')
    this.#isBroken = this.#state !== 'epilogue'
    if (this.#isBroken) throw malformed('the body ends before the close delimiter')
  }

  /** Reads on to the next event, or to the end of the chunk. */
  #read(cursor: Cursor): FormEvent | undefined {
    let event: FormEvent | undefined
    let state: State
    do {
      state = this.#state
      event = this.#readState(cursor)
    } while (event === undefined && this.#state !== state)
    return event
  }

  #readState(cursor: Cursor): FormEvent | undefined {
    switch (this.#state) {
      case 'preamble':
        return this.#readPreamble(cursor)
      case 'delimiter':
        return this.#beginPart()
      case 'header':
        return this.#readHeader(cursor)
      case 'content':
        return this.#readContent(cursor)
      case 'epilogue':
        return undefined // RFC 2046 §5.1.1: to be ignored
    }
  }

  #readPreamble(cursor: Cursor): undefined {
    let found = this.#search.read(cursor)
    while (found instanceof Buffer) {
      this.#preambleBytes += found.length
      if (this.#preambleBytes > this.#limits.preambleBytes) throw new HttpError('preamble_too_large')
      found = this.#search.read(cursor)
    }
    if (found !== undefined) this.#state = found === 'delimiter' ? 'delimiter' : 'epilogue'
  }

  #beginPart(): undefined {
    if (this.#parts === this.#limits.parts) throw new HttpError('too_many_parts')
    this.#parts++
    this.#state = 'header'
  }

  #readHeader(cursor: Cursor): FormEvent | undefined {
    const block = this.#headerBlock.read(cursor)
    if (block === undefined) return undefined
    const head = parsePartHead(block)
    this.#search.startAfterLineEnd()
    this.#state = 'content'
    return { type: 'part', head }
  }

  #readContent(cursor: Cursor): FormEvent | undefined {
    const found = this.#search.read(cursor)
    if (found === undefined) return undefined
    if (found instanceof Buffer) return { type: 'data', bytes: found }
    this.#state = found === 'delimiter' ? 'delimiter' : 'epilogue'
    return END
  }
}

function malformed(detail: string): HttpError {
  return new HttpError('malformed_form', { detail })
}
