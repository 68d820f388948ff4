import { createHash } from 'node:crypto'

/** The SHA-256 of a text or of bytes as receipts have it; not by the server's own code, which is on trial. */
export function sha256Of(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}
