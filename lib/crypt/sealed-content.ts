import { AgeError } from './age-error.ts'
import { findFileKey } from './decryption.ts'
import { parseHeader, type Header } from './header.ts'
import type { Identity } from './keys.ts'
import { CHUNK_BYTES, Chunks, measurePlaintext, NONCE_BYTES } from './payload.ts'

/** How many bytes of a file hold its header and the nonce after it, in nearly every case. */
export const USUAL_BEGIN_BYTES = 8 * 1024

/** The most that a header and the nonce after it may take. */
export const MOST_BEGIN_BYTES = 64 * 1024 + NONCE_BYTES

/** Chunks of a file in a row. */
export interface ChunkRun {
  readonly first: number
  readonly count: number
  /** Where they are stored. */
  readonly at: number
  readonly length: number
}

/**
 * The content of an age file that can be read at any place. It works on bytes that others read: a file is a run of chunks
 * of 64 KiB, and each is opened by itself. What it gives is authentic.
 */
export class SealedContent {
  readonly #chunks: Chunks
  readonly #payloadAt: number

  private constructor(chunks: Chunks, payloadAt: number) {
    this.#chunks = chunks
    this.#payloadAt = payloadAt
  }

  /**
   * Finds the key of a file in its first bytes.
   * @param storedBytes the length of the whole file
   * @returns undefined where more bytes are needed. Throws a `NoIdentityError` where no identity opens it, an `AgeError` where it is damaged
   */
  static parse(begin: Buffer, storedBytes: number, identities: readonly Identity[]): SealedContent | undefined {
    const header = findHeader(begin)
    if (header === undefined) return undefined
    const payloadAt = header.length + NONCE_BYTES
    const fileKey = findFileKey(header, identities)
    return new SealedContent(new Chunks(fileKey, begin.subarray(header.length, payloadAt), storedBytes - payloadAt), payloadAt)
  }

  /** Bytes of the plaintext. */
  get bytes(): number {
    return this.#chunks.bytes
  }

  /** The chunk at the end: as long as it was not opened, the file may have been cut. */
  get end(): ChunkRun {
    return this.#runOf(this.#chunks.count - 1, 1)
  }

  /** Gives the chunks that hold a place of the plaintext and what follows it. */
  find(position: number, length: number): ChunkRun {
    const first = Math.floor(position / CHUNK_BYTES)
    return this.#runOf(first, Math.floor((position + length - 1) / CHUNK_BYTES) - first + 1)
  }

  /** Opens the stored bytes of a run, chunk by chunk, each with its place in the plaintext. Throws an `AgeError` where one was altered. */
  *open(run: ChunkRun, stored: Buffer): Generator<{ readonly position: number; readonly plain: Buffer }> {
    for (let index = 0, at = 0; index < run.count; index++) {
      const { length } = this.#chunks.place(run.first + index)
      yield { position: (run.first + index) * CHUNK_BYTES, plain: this.#chunks.open(run.first + index, stored.subarray(at, at + length)) }
      at += length
    }
  }

  #runOf(first: number, count: number): ChunkRun {
    const { at, length } = this.#chunks.place(first, count)
    return { first, count, at: this.#payloadAt + at, length }
  }
}

/**
 * Gives how many bytes of plaintext an age file has, which takes no key; undefined where more bytes are needed.
 * @param begin the first bytes of the file. Throws an `AgeError` where it is no such file
 * @param storedBytes the length of the whole file
 */
export function measureContent(begin: Buffer, storedBytes: number): number | undefined {
  const header = findHeader(begin)
  return header === undefined ? undefined : measurePlaintext(storedBytes - header.length - NONCE_BYTES)
}

function findHeader(begin: Buffer): Header | undefined {
  const header = parseHeader(begin)
  if (header !== undefined && begin.length >= header.length + NONCE_BYTES) return header
  if (begin.length >= MOST_BEGIN_BYTES) throw new AgeError('its header is too long')
  return undefined
}
