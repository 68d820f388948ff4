import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer, type Server, type ServerOptions } from 'node:https'
import { createSecureContext, type Server as TlsServer } from 'node:tls'
import { CertificateError } from './certificate-error.ts'

/** A certificate, with those that lead to its root, and its private key. This file is loaded only where there is one. */
export class Certificate {
  readonly expiresAt: Date
  readonly #shown: { readonly cert: Buffer; readonly key: Buffer; readonly minVersion: 'TLSv1.2' } // RFC 9325 §3.1.1

  /** Throws where the two, as their files hold them (PEM), cannot be used together. */
  constructor(cert: Buffer, key: Buffer) {
    createSecureContext({ cert, key })
    this.expiresAt = new Date(new X509Certificate(cert).validTo)
    this.#shown = { cert, key, minVersion: 'TLSv1.2' }
  }

  /** Makes a server that shows it. */
  createServer(options: ServerOptions): Server {
    return createServer({ ...options, ...this.#shown })
  }

  /** Has a server show it from the next connection on. */
  showAt(server: TlsServer): void {
    server.setSecureContext(this.#shown)
  }
}

/** Reads a certificate and its key; throws a `CertificateError` where they cannot be used together. */
export async function readCertificate(certFile: string, keyFile: string): Promise<Certificate> {
  try {
    return new Certificate(await readFile(certFile), await readFile(keyFile))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CertificateError(`Cannot use the certificate ${certFile} with the key ${keyFile}: ${reason}`, { cause: error })
  }
}
