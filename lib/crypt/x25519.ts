import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from 'node:crypto'

const KEY_BYTES = 32
// RFC 8410 §4 and §7: what stands before the 32 bytes of an X25519 key in SubjectPublicKeyInfo and in PKCS #8.
const PUBLIC_PREFIX = Buffer.from('302a300506032b656e032100', 'hex')
const PRIVATE_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex')

/** The public key of a secret one; both 32 bytes (RFC 7748 §6.1). */
export function publicKeyOf(secret: Buffer): Buffer {
  return createPublicKey(readSecret(secret)).export({ type: 'spki', format: 'der' }).subarray(-KEY_BYTES)
}

/** The secret that two key pairs share, 32 bytes; undefined where it would be all zero (RFC 7748 §6.1). */
export function shareSecret(secret: Buffer, publicKey: Buffer): Buffer | undefined {
  try {
    const shared = diffieHellman({ privateKey: readSecret(secret), publicKey: readPublic(publicKey) })
    return shared.every((byte) => byte === 0) ? undefined : shared
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_OSSL_FAILED_DURING_DERIVATION') return undefined
    throw error
  }
}

function readSecret(secret: Buffer): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PRIVATE_PREFIX, secret]), format: 'der', type: 'pkcs8' })
}

function readPublic(publicKey: Buffer): KeyObject {
  return createPublicKey({ key: Buffer.concat([PUBLIC_PREFIX, publicKey]), format: 'der', type: 'spki' })
}
