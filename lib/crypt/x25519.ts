import { createPrivateKey, createPublicKey, diffieHellman, randomBytes, type KeyObject } from 'node:crypto'
import { systemCode } from '../errors.ts'

const KEY_BYTES = 32
const CURVE = { kty: 'OKP', crv: 'X25519' } // RFC 8037 §2: Node reads keys so in a tenth of the time that DER takes
const NO_KEY = Buffer.alloc(KEY_BYTES)
const BASE_POINT = readPublicKey(Buffer.alloc(KEY_BYTES).fill(9, 0, 1)) // RFC 7748 §4.1
// RFC 8410 §7: what stands before the 32 bytes of an X25519 key in PKCS #8.
const PRIVATE_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex')

/** A key pair: the secret key as it is worked with, and the public one, 32 bytes. */
export interface KeyPair {
  readonly secretKey: KeyObject
  readonly publicKey: Buffer
}

// Not by generateKeyPairSync, though it is faster. What it makes locks the key once more when it is collected as garbage;
// where that happens while the key is exported, Node 20 waits for itself for ever, and answers nobody any more.
/** Makes a new key pair. */
export function newKeyPair(): KeyPair {
  return readKeyPair(randomBytes(KEY_BYTES))
}

/** Reads a secret key of 32 bytes; the public one is computed from it (RFC 7748 §6.1). */
export function readKeyPair(secret: Buffer): KeyPair {
  const secretKey = readSecretKey(secret)
  const publicKey = shareSecret(secretKey, BASE_POINT)
  if (publicKey === undefined) throw new Error('a secret key has no public one')
  return { secretKey, publicKey }
}

/** Reads a public key of 32 bytes. */
export function readPublicKey(publicKey: Buffer): KeyObject {
  return createPublicKey({ key: { ...CURVE, x: publicKey.toString('base64url') }, format: 'jwk' })
}

/** The secret that two key pairs share, 32 bytes; undefined where it would be all zero (RFC 7748 §6.1). */
export function shareSecret(secretKey: KeyObject, publicKey: KeyObject): Buffer | undefined {
  try {
    const shared = diffieHellman({ privateKey: secretKey, publicKey })
    return shared.every((byte) => byte === 0) ? undefined : shared
  } catch (error) {
    if (systemCode(error) === 'ERR_OSSL_FAILED_DURING_DERIVATION') return undefined
    throw error
  }
}

// The form wants the public key beside the secret one, which is not known yet. Node does not look at it; one that does
// refuses it, and gets the slow form. Nothing here relies on what stands there.
function readSecretKey(secret: Buffer): KeyObject {
  try {
    return createPrivateKey({ key: { ...CURVE, x: NO_KEY.toString('base64url'), d: secret.toString('base64url') }, format: 'jwk' })
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return createPrivateKey({ key: Buffer.concat([PRIVATE_PREFIX, secret]), format: 'der', type: 'pkcs8' })
  }
}
