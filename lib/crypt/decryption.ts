import { AgeError, NoIdentityError } from './age-error.ts'
import { parseHeader, type Header } from './header.ts'
import type { Identity } from './keys.ts'
import { NONCE_BYTES, Opening } from './payload.ts'
import { unwrapFileKey } from './stanza.ts'

/**
 * Reads an age file (age-encryption.org/v1) in constant memory. What it yields is authentic; that the file is whole is
 * known only when it ends. Throws an `AgeError` where no identity opens it, or it was cut or altered.
 */
export async function* decrypt(source: AsyncIterable<Buffer>, identities: readonly Identity[]): AsyncGenerator<Buffer> {
  let begin = Buffer.alloc(0)
  let opening: Opening | undefined
  for await (const bytes of source) {
    if (opening !== undefined) {
      yield* opening.update(bytes)
      continue
    }
    begin = Buffer.concat([begin, bytes])
    const header = parseHeader(begin)
    if (header === undefined || begin.length < header.length + NONCE_BYTES) continue
    opening = new Opening(findFileKey(header, identities), begin.subarray(header.length, header.length + NONCE_BYTES))
    yield* opening.update(begin.subarray(header.length + NONCE_BYTES))
    begin = Buffer.alloc(0)
  }
  if (opening === undefined) throw new AgeError('it is cut within its header')
  yield* opening.final()
}

/** Finds the key of a file. Throws a `NoIdentityError` where no identity opens it, an `AgeError` where its header was altered. */
export function findFileKey(header: Header, identities: readonly Identity[]): Buffer {
  // "The scrypt recipient type": who reads with a key must not be given what a mere passphrase opens too
  const isMixed = header.stanzas.length > 1 && header.stanzas.some(({ args }) => args[0] === 'scrypt')
  if (isMixed) throw new AgeError('its header mixes a passphrase with other recipients')
  for (const identity of identities) {
    for (const stanza of header.stanzas) {
      const fileKey = unwrapFileKey(stanza, identity)
      if (fileKey === undefined) continue
      if (!header.isAuthentic(fileKey)) throw new AgeError('its header was altered')
      return fileKey
    }
  }
  throw new NoIdentityError('none of the given identities opens it')
}
