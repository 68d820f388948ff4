import { open, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ArchiveError } from '../archive/archive-error.ts'
import { readArchived } from '../archive/archived-bytes.ts'
import { openChunks } from '../archive/sealed-reader.ts'
import { AgeError, NoIdentityError } from '../crypt/age-error.ts'
import type { Identity } from '../crypt/keys.ts'
import { measureContent, MOST_BEGIN_BYTES, SealedContent, USUAL_BEGIN_BYTES } from '../crypt/sealed-content.ts'
import { systemCode } from '../errors.ts'
import { sha256Of } from '../sha256.ts'

const MOST_KEPT = 16 * 1024 // files: each is opened for the order of all, and once more for its session; to find its key takes longer than to read it

/** A file that is as it should be, and is encrypted to nobody whose identity was given. */
export class LockedError extends ArchiveError {}

/** The identities that were given, and the keys of the files that they have opened last. Nothing that it opens is written anywhere. */
export class Keyring {
  readonly #identities: readonly Identity[]
  readonly #kept = new Map<string, Promise<SealedContent>>() // the first is the one not used for longest
  readonly #locked = new Set<string>()

  constructor(identities: readonly Identity[]) {
    this.#identities = identities
  }

  /** How many of the files that were to be opened are encrypted to none of the identities. */
  get lockedFiles(): number {
    return this.#locked.size
  }

  /** How many of these lie in one directory. */
  countLocked(directory: string): number {
    return [...this.#locked].filter((path) => dirname(path) === directory).length
  }

  /** What tells these identities from others, and gives none of them away; undefined where there is none. */
  get digest(): string | undefined {
    const recipients = new Set(this.#identities.map(({ recipient }) => recipient.text))
    return recipients.size === 0 ? undefined : sha256Of([...recipients].toSorted().join('\n'))
  }

  /** Opens an encrypted file, and sees that it is not cut. Throws a `LockedError`, an `ArchiveError` where it is damaged, and what the file system says. */
  unseal(path: string): Promise<SealedContent> {
    const known = this.#kept.get(path)
    this.#kept.delete(path)
    const opening = known ?? this.#open(path)
    this.#kept.set(path, opening)
    opening.catch((error: unknown) => {
      this.#kept.delete(path)
      if (error instanceof LockedError) this.#locked.add(path)
    })
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MOST_KEPT) break
      this.#kept.delete(oldest)
    }
    return opening
  }

  async #open(path: string): Promise<SealedContent> {
    return withFile(path, async (handle, size) => {
      const content = await readBegin(handle, size, (begin) => SealedContent.parse(begin, size, this.#identities))
      const { end } = content
      const stored = Buffer.allocUnsafe(end.length)
      await readArchived(handle, stored, end.at)
      for (const chunk of openChunks(content, end, stored)) void chunk
      return content
    })
  }
}

/** Gives how many bytes of plaintext a stored file has, which takes no key; undefined where it is no age file, or is gone. */
export async function measureSealed(path: string): Promise<number | undefined> {
  try {
    return await withFile(path, (handle, size) => readBegin(handle, size, (begin) => measureContent(begin, size)))
  } catch (error) {
    if (error instanceof ArchiveError || systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

async function withFile<Result>(path: string, work: (handle: FileHandle, size: number) => Promise<Result>): Promise<Result> {
  const handle = await open(path, 'r')
  try {
    const found = await handle.stat()
    if (!found.isFile()) throw new ArchiveError('A part of it is not a file.')
    return await work(handle, found.size)
  } finally {
    await handle.close()
  }
}

async function readBegin<Result>(handle: FileHandle, size: number, parse: (begin: Buffer) => Result | undefined): Promise<Result> {
  for (const bytes of [USUAL_BEGIN_BYTES, MOST_BEGIN_BYTES]) {
    const begin = Buffer.allocUnsafe(Math.min(bytes, size))
    await readArchived(handle, begin, 0)
    const result = tryParse(() => parse(begin))
    if (result !== undefined) return result
  }
  throw new ArchiveError('A part of it was cut since it was encrypted.')
}

function tryParse<Result>(parse: () => Result): Result {
  try {
    return parse()
  } catch (error) {
    if (error instanceof NoIdentityError) throw new LockedError('It is encrypted, and no identity that was given opens it.', { cause: error })
    if (error instanceof AgeError) throw new ArchiveError(`A part of it cannot be decrypted: ${error.message}.`, { cause: error })
    throw error
  }
}
