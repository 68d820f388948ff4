import { randomBytes } from 'node:crypto'
import { formatPaddedHeader } from './header.ts'
import type { Recipient } from './keys.ts'
import { CHUNK_BYTES, NONCE_BYTES, Opening, Sealing, SEALED_BYTES, sealedLength } from './payload.ts'
import { FILE_KEY_BYTES, wrapFileKey } from './stanza.ts'

/** How long the header of a `LateEncryption` is, in bytes: it has room for 32 recipients. */
export const HEADER_BYTES = 4096

/**
 * Writes one age file (age-encryption.org/v1) whose recipients may be known only when its content has come. Its header
 * has always the same length: what else it gives stands behind that in the file, and nobody can open it without.
 */
export class LateEncryption {
  readonly #fileKey = randomBytes(FILE_KEY_BYTES)
  readonly #nonce = randomBytes(NONCE_BYTES)
  readonly #sealing = new Sealing(this.#fileKey, this.#nonce)
  #begin = [this.#nonce]
  #plainBytes = 0

  /** Makes a header of `HEADER_BYTES`. Throws an `AgeError` for a key that nobody can hold, and for more than 32 keys. */
  makeHeader(recipients: readonly Recipient[]): Buffer {
    return formatPaddedHeader(this.#fileKey, recipients.map((recipient) => wrapFileKey(this.#fileKey, recipient)), HEADER_BYTES)
  }

  /** Takes the next bytes of the plaintext, and keeps nothing of the memory they are in. */
  update(bytes: Buffer): Buffer[] {
    this.#plainBytes += bytes.length
    return this.#afterBegin(this.#sealing.update(bytes))
  }

  /** Ends the file. */
  final(): Buffer[] {
    return this.#afterBegin(this.#sealing.final())
  }

  /**
   * Gives the last bytes of the plaintext after `final`, or all where there are fewer, so that nobody has to keep them.
   * @param read reads the encrypted file at a position
   */
  async reopenEnd(bytes: number, read: (position: number, length: number) => Promise<Buffer>): Promise<Buffer> {
    const from = Math.max(0, this.#plainBytes - bytes)
    const firstChunk = Math.floor(from / CHUNK_BYTES)
    const skipped = firstChunk * SEALED_BYTES
    const opening = new Opening(this.#fileKey, this.#nonce, firstChunk)
    const sealed = await read(HEADER_BYTES + NONCE_BYTES + skipped, sealedLength(this.#plainBytes) - skipped)
    const plain = Buffer.concat([...opening.update(sealed), ...opening.final()])
    return plain.subarray(from - firstChunk * CHUNK_BYTES)
  }

  #afterBegin(sealed: Buffer[]): Buffer[] {
    const all = [...this.#begin, ...sealed]
    this.#begin = []
    return all
  }
}
