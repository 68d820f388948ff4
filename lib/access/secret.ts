import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'

/** Makes 32 hex digits that nobody can guess: a version 4 UUID (RFC 9562 §5.4) without its hyphens. */
export function newSecret(): string {
  return randomUUID().replaceAll('-', '')
}

/** The SHA-256 of a text, as 64 hex digits. */
export function sha256Of(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Says whether two secrets are equal, in a time that tells nothing of where they differ. */
export function isSameSecret(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(sha256Of(a)), Buffer.from(sha256Of(b)))
}
