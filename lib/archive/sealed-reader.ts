import type { FileHandle } from 'node:fs/promises'
import { AgeError } from '../crypt/age-error.ts'
import type { ChunkRun, SealedContent } from '../crypt/sealed-content.ts'
import { AlteredError } from './archive-error.ts'
import { readArchived } from './archived-bytes.ts'

const MOST_BYTES = 256 * 1024 // of the plaintext, in one trip to the disk

/** Reads encrypted files at any place. It keeps the chunk that it opened last: who reads on needs it again. */
export class SealedReader {
  #held: { readonly content: SealedContent; readonly position: number; readonly plain: Buffer } | undefined

  /** Reads exactly `target.length` bytes of the plaintext from `position` on. Throws an AlteredError where they were altered. */
  async read(content: SealedContent, handle: FileHandle, target: Buffer, position: number): Promise<void> {
    let at = this.#copyHeld(content, target, position)
    while (at < target.length) {
      const run = content.find(position + at, Math.min(MOST_BYTES, target.length - at))
      const stored = Buffer.allocUnsafe(run.length)
      await readArchived(handle, stored, run.at)
      for (const chunk of openChunks(content, run, stored)) {
        at += copyPart(chunk, target, position, at)
        this.#held = { content, ...chunk }
      }
    }
  }

  #copyHeld(content: SealedContent, target: Buffer, position: number): number {
    return this.#held?.content === content ? copyPart(this.#held, target, position, 0) : 0
  }
}

/** Opens chunks as `SealedContent` does. Throws an AlteredError. */
export function* openChunks(content: SealedContent, run: ChunkRun, stored: Buffer): Generator<{ readonly position: number; readonly plain: Buffer }> {
  try {
    yield* content.open(run, stored)
  } catch (error) {
    if (!(error instanceof AgeError)) throw error
    throw new AlteredError(error)
  }
}

// What of a chunk belongs at `at` of the target, whose first byte has its place in the plaintext at `position`.
function copyPart(chunk: { readonly position: number; readonly plain: Buffer }, target: Buffer, position: number, at: number): number {
  const from = position + at - chunk.position
  return from >= 0 && from < chunk.plain.length ? chunk.plain.copy(target, at, from) : 0
}
