import type { FileHandle } from 'node:fs/promises'
import { readWhole } from '../whole-read.ts'
import { ArchiveError } from './archive-error.ts'

/** Fills `target` from a file. Throws an ArchiveError where the file ends too early. */
export async function readArchived(handle: FileHandle, target: Buffer, position: number): Promise<void> {
  if (!(await readWhole(handle, target, position))) throw new ArchiveError('A part of the archive became shorter while it was read.')
}
