import { randomUUID, timingSafeEqual } from 'node:crypto'
import { sha256Of } from '../sha256.ts'

/** Makes 32 hex digits that nobody can guess: a version 4 UUID (RFC 9562 §5.4) without its hyphens. */
export function newSecret(): string {
  return randomUUID().replaceAll('-', '')
}

/** Says whether two secrets are equal, in a time that tells nothing of where they differ. */
export function isSameSecret(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(sha256Of(a)), Buffer.from(sha256Of(b)))
}
