import type { FileHandle } from 'node:fs/promises'
import { ArchiveError } from './archive-error.ts'

/** Fills `target` from a file. Throws an ArchiveError where it ends too early: read(2) may give less and still succeed. */
export async function readWhole(handle: FileHandle, target: Buffer, position: number): Promise<void> {
  for (let at = 0; at < target.length; ) {
    const { bytesRead } = await handle.read(target, at, target.length - at, position + at)
    if (bytesRead === 0) throw new ArchiveError('A part of the archive became shorter while it was read.')
    at += bytesRead
  }
}
