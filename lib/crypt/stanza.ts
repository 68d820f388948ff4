import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto'
import { AgeError } from './age-error.ts'
import { formatBase64, parseBase64 } from './base64.ts'
import type { Identity, Recipient } from './keys.ts'
import { newKeyPair, readPublicKey, shareSecret } from './x25519.ts'

const TYPE = 'X25519'
const INFO = 'age-encryption.org/v1/X25519'
const SHARE_BYTES = 32
const TAG_BYTES = 16
const NONCE = Buffer.alloc(12) // each wrap key is used once
const CIPHER = 'chacha20-poly1305'

/** How long a file key is, in bytes. */
export const FILE_KEY_BYTES = 16

/** One stanza of a header: the file key, wrapped for one recipient (c2sp.org/age, "Recipient stanza"). */
export interface Stanza {
  readonly args: readonly string[]
  readonly body: Buffer
}

/** Wraps a file key for a recipient (c2sp.org/age, "X25519 recipient stanza"). Throws an `AgeError` for a key that nobody can hold. */
export function wrapFileKey(fileKey: Buffer, { publicKey, key, text }: Recipient): Stanza {
  const { secretKey, publicKey: share } = newKeyPair()
  const shared = shareSecret(secretKey, key)
  if (shared === undefined) throw new AgeError(`the recipient ${text} is no usable key`)
  const cipher = createCipheriv(CIPHER, wrapKey(shared, share, publicKey), NONCE, { authTagLength: TAG_BYTES })
  const body = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()])
  return { args: [TYPE, formatBase64(share)], body }
}

/** Gives the file key where the stanza is for this identity, else undefined. Throws an `AgeError` where it is malformed. */
export function unwrapFileKey({ args, body }: Stanza, { key, recipient }: Identity): Buffer | undefined {
  if (args[0] !== TYPE) return undefined
  const share = args[1] === undefined ? undefined : parseBase64(args[1])
  if (args.length !== 2 || share?.length !== SHARE_BYTES || body.length !== FILE_KEY_BYTES + TAG_BYTES) {
    throw new AgeError('its header has a malformed X25519 stanza')
  }
  const shared = shareSecret(key, readPublicKey(share))
  if (shared === undefined) throw new AgeError('its header has an X25519 stanza that anybody could open')
  const decipher = createDecipheriv(CIPHER, wrapKey(shared, share, recipient.publicKey), NONCE, { authTagLength: TAG_BYTES })
  decipher.setAuthTag(body.subarray(FILE_KEY_BYTES))
  const fileKey = decipher.update(body.subarray(0, FILE_KEY_BYTES))
  try {
    decipher.final()
    return fileKey
  } catch {
    return undefined // it is for somebody else
  }
}

function wrapKey(shared: Buffer, share: Buffer, publicKey: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', shared, Buffer.concat([share, publicKey]), INFO, 32))
}
