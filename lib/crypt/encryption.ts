import { randomBytes } from 'node:crypto'
import { formatHeader } from './header.ts'
import type { Recipient } from './keys.ts'
import { NONCE_BYTES, Sealing } from './payload.ts'
import { FILE_KEY_BYTES, wrapFileKey } from './stanza.ts'

/** Writes one age file (age-encryption.org/v1): plaintext in, the file's bytes out, in constant memory. */
export class Encryption {
  readonly #sealing: Sealing
  #begin: Buffer[]

  /** @param recipients each of them can open the file; at least one. Throws an `AgeError` for a key that nobody can hold. */
  constructor(recipients: readonly Recipient[]) {
    const fileKey = randomBytes(FILE_KEY_BYTES)
    const nonce = randomBytes(NONCE_BYTES)
    this.#begin = [formatHeader(fileKey, recipients.map((recipient) => wrapFileKey(fileKey, recipient))), nonce]
    this.#sealing = new Sealing(fileKey, nonce)
  }

  /** Takes the next bytes of the plaintext, and keeps nothing of the memory they are in. */
  update(bytes: Buffer): Buffer[] {
    return this.#afterBegin(this.#sealing.update(bytes))
  }

  /** Ends the file. */
  final(): Buffer[] {
    return this.#afterBegin(this.#sealing.final())
  }

  #afterBegin(sealed: Buffer[]): Buffer[] {
    const all = [...this.#begin, ...sealed]
    this.#begin = []
    return all
  }
}
