import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { systemCode } from '../errors.ts'

const READ_BYTES = 1024 * 1024

/** What a stored file is found to hold: nothing where it is not there. */
export type StoredContent = { readonly type: 'missing' } | { readonly type: 'irregular' } | { readonly type: 'file'; readonly bytes: number; readonly sha256: string }

/**
 * Reads a stored file to its end, without following links.
 * @param onBytes is told of each piece as it has been read
 */
export async function readStoredContent(path: string, onBytes: (bytes: number) => void = () => undefined): Promise<StoredContent> {
  const handle = await openPlain(path)
  if (typeof handle === 'string') return { type: handle }
  try {
    const found = await handle.stat()
    if (!found.isFile()) return { type: 'irregular' }
    const hash = createHash('sha256')
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, found.size + 1)) // a project has a hundred thousand small files
    let bytes = 0
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, null)
      if (bytesRead === 0) return { type: 'file', bytes, sha256: hash.digest('hex') }
      hash.update(buffer.subarray(0, bytesRead))
      bytes += bytesRead
      onBytes(bytesRead)
    }
  } finally {
    await handle.close()
  }
}

// O_NONBLOCK: a pipe in the place of a file must not make us wait for its writer.
async function openPlain(path: string): Promise<FileHandle | 'missing' | 'irregular'> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 'missing'
    if (systemCode(error) === 'ELOOP' || systemCode(error) === 'ENXIO') return 'irregular'
    throw error
  }
}
