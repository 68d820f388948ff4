import type { FileHandle } from 'node:fs/promises'

/** Fills `target` from a position in bytes; gives false where the file ends too early. read(2) may give less and still succeed. */
export async function readWhole(handle: FileHandle, target: Buffer, position: number): Promise<boolean> {
  for (let at = 0; at < target.length; ) {
    const { bytesRead } = await handle.read(target, at, target.length - at, position + at)
    if (bytesRead === 0) return false
    at += bytesRead
  }
  return true
}
