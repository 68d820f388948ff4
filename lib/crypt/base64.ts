/** Writes base64 without padding (RFC 4648 §4, §3.2). */
export function formatBase64(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}

/** Reads base64 without padding; undefined where it is not the one canonical way to write its bytes (RFC 4648 §3.5). */
export function parseBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64') // reads other things too: what it makes of them is written otherwise
  return formatBase64(bytes) === text ? bytes : undefined
}
