import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto'
import { free } from '../free.ts'
import { AgeError } from './age-error.ts'
import { Pieces } from './pieces.ts'

const CIPHER = 'chacha20-poly1305'
const TAG_BYTES = 16
const NOTHING = Buffer.alloc(0)

/** How long the nonce before a payload is, in bytes. */
export const NONCE_BYTES = 16

/** How many bytes of plaintext a chunk holds; the last one may hold fewer. */
export const CHUNK_BYTES = 64 * 1024

/** How long such a chunk is when it is encrypted, in bytes. */
export const SEALED_BYTES = CHUNK_BYTES + TAG_BYTES

/** How long a payload of so many bytes is when it is encrypted, without its nonce: one that is empty has a chunk too. */
export function sealedLength(plainBytes: number): number {
  return plainBytes + TAG_BYTES * Math.max(1, Math.ceil(plainBytes / CHUNK_BYTES))
}

/** Encrypts a payload: bytes in, bytes out, 64 KiB held at most (c2sp.org/age, "Payload"). */
export class Sealing {
  readonly #nonces: ChunkNonces
  #held = NOTHING // the bytes of the chunk that is not whole yet, or may be the last
  #heldBytes = 0

  constructor(fileKey: Buffer, nonce: Buffer) {
    this.#nonces = new ChunkNonces(fileKey, nonce)
  }

  /** Takes the next bytes of the plaintext, and keeps nothing of the memory they are in. */
  update(bytes: Buffer): Buffer[] {
    const sealed: Buffer[] = []
    let at = 0
    while (this.#heldBytes + bytes.length - at > CHUNK_BYTES) {
      const end = at + CHUNK_BYTES - this.#heldBytes // whole, and not the last
      sealed.push(...this.#seal(bytes.subarray(at, end), false))
      at = end
    }
    this.#hold(bytes.subarray(at))
    return sealed
  }

  /** Ends the plaintext. */
  final(): Buffer[] {
    const sealed = this.#seal(NOTHING, true)
    free(this.#held)
    this.#held = NOTHING // whoever encrypts a thousand files may keep what is known of each
    return sealed
  }

  #hold(bytes: Buffer): void {
    const needed = this.#heldBytes + bytes.length
    if (needed > this.#held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, Math.max(needed, 2 * this.#held.length)))
      this.#held.copy(larger, 0, 0, this.#heldBytes)
      this.#held = larger
    }
    this.#heldBytes += bytes.copy(this.#held, this.#heldBytes)
  }

  #seal(rest: Buffer, isLast: boolean): Buffer[] {
    const cipher = createCipheriv(CIPHER, this.#nonces.key, this.#nonces.next(isLast), { authTagLength: TAG_BYTES })
    const pieces = [this.#held.subarray(0, this.#heldBytes), rest].filter((piece) => piece.length > 0)
    const sealed = pieces.map((piece) => cipher.update(piece))
    this.#heldBytes = 0
    cipher.final()
    return [...sealed, cipher.getAuthTag()]
  }
}

/** Decrypts a payload. What it gives is authentic; that it is whole is known only after `final` (c2sp.org/age, "Payload"). */
export class Opening {
  readonly #nonces: ChunkNonces
  readonly #pieces = new Pieces()
  #isFirst: boolean

  /** @param firstChunk the number of the chunk where it begins to read, counted from 0 */
  constructor(fileKey: Buffer, nonce: Buffer, firstChunk = 0) {
    this.#nonces = new ChunkNonces(fileKey, nonce, firstChunk)
    this.#isFirst = firstChunk === 0
  }

  /** Takes the next bytes of the payload. Throws an `AgeError` where they were altered. */
  update(bytes: Buffer): Buffer[] {
    this.#pieces.push(bytes)
    const plain: Buffer[] = []
    while (this.#pieces.length > SEALED_BYTES) plain.push(...this.#open(SEALED_BYTES, false))
    return plain
  }

  /** Ends the payload. Throws an `AgeError` where it was cut or altered. */
  final(): Buffer[] {
    const { length } = this.#pieces
    if (length < TAG_BYTES || (length === TAG_BYTES && !this.#isFirst)) throw damaged()
    return this.#open(length, true)
  }

  #open(length: number, isLast: boolean): Buffer[] {
    this.#isFirst = false
    const decipher = createDecipheriv(CIPHER, this.#nonces.key, this.#nonces.next(isLast), { authTagLength: TAG_BYTES })
    const plain = this.#pieces.take(length - TAG_BYTES).map((piece) => decipher.update(piece))
    decipher.setAuthTag(Buffer.concat(this.#pieces.take(TAG_BYTES)))
    try {
      decipher.final()
    } catch (error) {
      throw damaged(error)
    }
    return plain
  }
}

/** A payload of a known length, of which each chunk can be opened by itself: its nonce is a counter (c2sp.org/age, "Payload"). */
export class Chunks {
  /** Bytes of the plaintext. */
  readonly bytes: number
  readonly count: number
  readonly #nonces: ChunkNonces
  readonly #length: number

  /** @param length bytes of the payload, without the nonce before it. Throws an `AgeError` where no payload has that length. */
  constructor(fileKey: Buffer, nonce: Buffer, length: number) {
    this.bytes = measurePlaintext(length)
    this.count = Math.max(1, Math.ceil(this.bytes / CHUNK_BYTES))
    this.#nonces = new ChunkNonces(fileKey, nonce)
    this.#length = length
  }

  /** Gives where chunks lie in the payload, in bytes; they follow one another. */
  place(first: number, count = 1): { readonly at: number; readonly length: number } {
    const at = first * SEALED_BYTES
    return { at, length: Math.min(count * SEALED_BYTES, this.#length - at) }
  }

  /** Decrypts a chunk. The last one proves that the payload is not cut. Throws an `AgeError` where it was altered. */
  open(index: number, sealed: Buffer): Buffer {
    const isLast = index === this.count - 1
    const decipher = createDecipheriv(CIPHER, this.#nonces.key, this.#nonces.at(index, isLast), { authTagLength: TAG_BYTES })
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
    const plain = decipher.update(sealed.subarray(0, -TAG_BYTES))
    try {
      decipher.final()
    } catch (error) {
      throw damaged(error)
    }
    return plain
  }
}

/**
 * Gives how many bytes a payload has before it is encrypted, which takes no key.
 * @param length of the payload without the nonce before it. Throws an `AgeError` where no payload has that length
 */
export function measurePlaintext(length: number): number {
  const count = Math.ceil(length / SEALED_BYTES)
  const last = length - (count - 1) * SEALED_BYTES
  if (count < 1 || last < TAG_BYTES || (last === TAG_BYTES && count > 1)) throw damaged()
  return length - count * TAG_BYTES
}

/** The key of a payload and the nonces of its chunks: a counter of 11 bytes and a byte that marks the last chunk. */
class ChunkNonces {
  readonly key: Buffer
  #counter: number

  constructor(fileKey: Buffer, nonce: Buffer, counter = 0) {
    this.#counter = counter
    this.key = Buffer.from(hkdfSync('sha256', fileKey, nonce, 'payload', 32))
  }

  next(isLast: boolean): Buffer {
    return this.at(this.#counter++, isLast)
  }

  at(index: number, isLast: boolean): Buffer {
    const nonce = Buffer.alloc(12)
    nonce.writeUIntBE(index, 5, 6) // 2^48 chunks are 16 EiB
    nonce[11] = isLast ? 1 : 0
    return nonce
  }
}

function damaged(cause?: unknown): AgeError {
  return new AgeError('its content was cut or altered', { cause })
}
