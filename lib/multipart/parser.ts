import { HttpError } from '../errors.ts'
import type { FormEvent, FormParser, PartHead } from '../form-event.ts'
import { ChunkEvents } from './chunk-events.ts'
import { ChunkText } from './chunk-text.ts'
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

type State = 'preamble' | 'delimiter' | 'header' | 'small content' | 'content' | 'epilogue'

const END: FormEvent = { type: 'end' }
const NOWHERE: Cursor = { chunk: Buffer.alloc(0), at: 0 }

/**
 * A push parser of multipart/form-data (RFC 7578).
 * Once it has thrown, or its events were not all taken before the next call, it throws at every further call.
 */
export class MultipartParser implements FormParser {
  readonly #limits: MultipartLimits
  readonly #search: DelimiterSearch
  readonly #headerBlock: HeaderBlock
  readonly #text: ChunkText
  #state: State = 'preamble'
  #preambleBytes = 0
  #parts = 0
  #smallEnd = 0 // where in the chunk small content ends
  #cursor: Cursor | undefined // while there are events to be taken; for good once it has thrown

  /** @param boundary as `parseBoundary` returns it */
  constructor(boundary: string, limits: MultipartLimits) {
    this.#limits = limits
    this.#search = new DelimiterSearch(boundary)
    this.#headerBlock = new HeaderBlock(limits.partHeaderBytes)
    this.#text = new ChunkText(boundary, limits.partHeaderBytes)
  }

  /**
   * Reads the next bytes of the body.
   * @throws HttpError `malformed_form`, `too_many_parts`, `part_header_too_large`, `preamble_too_large`
   */
  push(chunk: Buffer): Iterable<FormEvent> {
    return new ChunkEvents(this, chunk)
  }

  /**
   * Says that the body has ended.
   * @throws HttpError `malformed_form` where the close delimiter has not been read
   */
  *finish(): Generator<FormEvent, void, undefined> {
    this.#begin(NOWHERE)
    if (this.#state !== 'epilogue') throw malformed('the body ends before the close delimiter')
    this.#cursor = undefined
  }

  /** Reads on to the next event of a chunk, or to its end. */
  read(cursor: Cursor): FormEvent | undefined {
    if (this.#cursor !== cursor) this.#begin(cursor)
    let event: FormEvent | undefined
    let state: State
    do {
      state = this.#state
      event = this.#readState(cursor, state)
    } while (event === undefined && state !== this.#state)
    if (event === undefined) this.#cursor = undefined
    return event
  }

  #begin(cursor: Cursor): void {
    if (this.#cursor !== undefined) throw malformed('the form was given up before')
    this.#cursor = cursor
    this.#text.forget()
  }

  #readState(cursor: Cursor, state: State): FormEvent | undefined {
    switch (state) {
      case 'content':
        return this.#readContent(cursor)
      case 'small content':
        return this.#readSmallContent(cursor)
      case 'delimiter':
        return this.#beginPart(cursor)
      case 'header':
        return this.#readHeader(cursor)
      case 'preamble':
        return this.#readPreamble(cursor)
      case 'epilogue':
        return undefined // RFC 2046 §5.1.1: to be ignored
    }
  }

  #readPreamble(cursor: Cursor): undefined {
    let found = this.#search.read(cursor)
    while (typeof found === 'object') {
      this.#preambleBytes += found.length
      if (this.#preambleBytes > this.#limits.preambleBytes) throw new HttpError('preamble_too_large')
      found = this.#search.read(cursor)
    }
    if (found !== undefined) this.#state = found === 'delimiter' ? 'delimiter' : 'epilogue'
  }

  #beginPart(cursor: Cursor): FormEvent | undefined {
    if (this.#parts === this.#limits.parts) throw new HttpError('too_many_parts')
    this.#parts++
    this.#state = 'header'
    const head = this.#text.readHead(cursor)
    return head === undefined ? undefined : this.#beginContent(head, this.#text.findDelimiter(cursor))
  }

  #readHeader(cursor: Cursor): FormEvent | undefined {
    const block = this.#headerBlock.read(cursor)
    return block === undefined ? undefined : this.#beginContent(parsePartHead(block), -1)
  }

  /** `end` is where in the chunk the content ends, or -1 where that is to be searched for. */
  #beginContent(head: PartHead, end: number): FormEvent {
    this.#smallEnd = end
    this.#state = end === -1 ? 'content' : 'small content'
    if (end === -1) this.#search.startAfterLineEnd()
    return { type: 'part', head }
  }

  #readSmallContent(cursor: Cursor): FormEvent {
    const { chunk, at } = cursor
    const end = this.#smallEnd
    if (at < end) {
      cursor.at = end
      return { type: 'data', bytes: chunk.subarray(at, end) }
    }
    cursor.at = end + this.#text.delimiterBytes
    this.#state = 'delimiter'
    return END
  }

  #readContent(cursor: Cursor): FormEvent | undefined {
    const found = this.#search.read(cursor)
    if (found === undefined) return undefined
    if (typeof found === 'object') return { type: 'data', bytes: found }
    this.#state = found === 'delimiter' ? 'delimiter' : 'epilogue'
    return END
  }
}

function malformed(detail: string): HttpError {
  return new HttpError('malformed_form', { detail })
}
