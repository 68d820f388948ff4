import { createHash } from 'node:crypto'

/** The SHA-256 of a text, as UTF-8, or of bytes (FIPS 180-4), as 64 hex digits. */
export function sha256Of(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}
