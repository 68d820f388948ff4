import { randomBytes, type KeyObject } from 'node:crypto'
import { AgeError } from './age-error.ts'
import { formatBech32, parseBech32 } from './bech32.ts'
import { newKeyPair, readKeyPair, readPublicKey, shareSecret } from './x25519.ts'

const KEY_BYTES = 32
const RECIPIENT_PREFIX = 'age'
const IDENTITY_PREFIX = 'age-secret-key-'

/** Whom a file is encrypted to: an X25519 public key. */
export interface Recipient {
  /** As it is written: `age1…`. */
  readonly text: string
  readonly publicKey: Buffer
  /** The same, as it is worked with. */
  readonly key: KeyObject
}

/** What opens the files of its recipient. It belongs on the researcher's machine, never on the server. */
export interface Identity {
  readonly recipient: Recipient
  readonly secret: Buffer
  /** The same, as it is worked with. */
  readonly key: KeyObject
}

/** Makes a new key pair. */
export function newIdentity(): Identity {
  return identityOf(randomBytes(KEY_BYTES))
}

/** Writes an identity: `AGE-SECRET-KEY-1…`. */
export function formatIdentity({ secret }: Identity): string {
  return formatBech32(IDENTITY_PREFIX, secret).toUpperCase()
}

/** Reads an X25519 recipient, `age1…`. Throws an `AgeError`. */
export function parseRecipient(text: string): Recipient {
  const { prefix, bytes } = parseBech32(text)
  if (prefix !== RECIPIENT_PREFIX || bytes.length !== KEY_BYTES || text !== text.toLowerCase()) {
    throw new AgeError('it is no X25519 recipient, which begins with age1')
  }
  const key = readPublicKey(bytes)
  if (shareSecret(newKeyPair().secretKey, key) === undefined) throw new AgeError('it is a key that nobody can hold')
  return { text, publicKey: bytes, key }
}

/** Reads a list of recipients: parted by lines, commas or blanks; `#` begins a comment line. Throws an `AgeError` that names the wrong one. */
export function parseRecipients(text: string): Recipient[] {
  const words = contentLines(text).flatMap((line) => line.split(/[\s,]+/)).filter((word) => word !== '')
  return words.map((word) => {
    if (word.toLowerCase().includes(IDENTITY_PREFIX)) throw new AgeError('one of the words is the secret key, which must not be on this machine: give its recipient, age1…')
    try {
      return parseRecipient(word)
    } catch (error) {
      if (!(error instanceof AgeError)) throw error
      throw new AgeError(`the recipient ${JSON.stringify(word.slice(0, 80))} cannot be used: ${error.message}`)
    }
  })
}

/** Reads the identities of a file as `age-keygen` writes it: one a line, `#` begins a comment. Throws an `AgeError`, which shows no key. */
export function parseIdentities(text: string): Identity[] {
  return contentLines(text).map((line, index) => {
    const { prefix, bytes } = parseBech32(line)
    if (prefix !== IDENTITY_PREFIX || bytes.length !== KEY_BYTES || line !== line.toUpperCase()) {
      throw new AgeError(`key ${index + 1} of the file is no X25519 identity, which begins with AGE-SECRET-KEY-1`)
    }
    return identityOf(bytes)
  })
}

function contentLines(text: string): string[] {
  return text.split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'))
}

function identityOf(secret: Buffer): Identity {
  const { secretKey, publicKey } = readKeyPair(secret)
  const recipient = { text: formatBech32(RECIPIENT_PREFIX, publicKey), publicKey, key: readPublicKey(publicKey) }
  return { secret, key: secretKey, recipient }
}
