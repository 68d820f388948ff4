import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'

/** A certificate, with those that lead to its root, and its private key, as their files hold them (PEM). */
export interface Certificate {
  readonly cert: Buffer
  readonly key: Buffer
  readonly expiresAt: Date
}

/** A certificate and key that cannot be used; the message names the files and says why. */
export class CertificateError extends Error {}

/** Reads a certificate and its key; throws a `CertificateError` where they cannot be used together. */
export async function readCertificate(certFile: string, keyFile: string): Promise<Certificate> {
  try {
    const [cert, key] = [await readFile(certFile), await readFile(keyFile)]
    createSecureContext({ cert, key })
    return { cert, key, expiresAt: new Date(new X509Certificate(cert).validTo) }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CertificateError(`Cannot use the certificate ${certFile} with the key ${keyFile}: ${reason}`, { cause: error })
  }
}
