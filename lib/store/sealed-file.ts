import { createHash, type Hash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { Encryption } from '../crypt/encryption.ts'
import { HEADER_BYTES, LateEncryption } from '../crypt/late-encryption.ts'
import type { RecipientList } from '../crypt/recipient-list.ts'
import { syncFile, writeWhole } from '../durable.ts'
import { free } from '../free.ts'
import { readWhole } from '../whole-read.ts'
import type { Arriving, Closing, Content, Zip } from './arriving.ts'
import type { Gathered } from './gathered.ts'
import { GrowingFile } from './growing-file.ts'
import type { Slab } from './slab.ts'

const SMALL_BYTES = 128 * 1024 // up to here a file waits as it came, and is encrypted when its readers are known
const CROWDED_SMALL_BYTES = 32 * 1024 // the same where it is crowded
const LOOK_BYTES = 64 * 1024
const REREAD_BYTES = 256 * 1024
const NO_HEADER = Buffer.alloc(HEADER_BYTES)

/** A file of which something is encrypted. */
interface Body {
  readonly encryption: LateEncryption
  /** How long it is so far, with the room for its header. */
  bytes: number
  /** The header for the expected readers, and the hash of it and all that stands behind it. */
  prepared: { readonly header: Buffer; readonly hash: Hash } | undefined
}

/**
 * A file that is still arriving and is stored encrypted: none of its plaintext reaches the disk. It is encrypted on the
 * way, with a key of its own that is in memory only. The header, which gives that key to the file's readers, is written
 * at the very end, since they may be known no sooner: what an upload that was cut off has left nobody can open.
 */
export class SealedFile implements Arriving {
  readonly #file: GrowingFile
  readonly #expected: RecipientList
  readonly #plainHash = createHash('sha256')
  readonly #gathered: Gathered
  readonly #small: Slab[] = []
  #countedBytes = 0 // what this file has added to those that are gathered, while it is small
  readonly #held: Slab[] = []
  #bytes = 0
  #body: Body | undefined
  #work: Promise<unknown> | undefined

  /**
   * @param expected who will probably read it; where it is others, the file is read again at its end
   * @param gathered is shared by all files of this process
   * @param create makes the file, to be written and read, when enough bytes have gathered
   */
  constructor(path: string, expected: RecipientList, gathered: Gathered, create: (path: string) => Promise<FileHandle>) {
    this.#file = new GrowingFile(path, gathered, create)
    this.#gathered = gathered
    this.#expected = expected
  }

  get path(): string {
    return this.#file.path
  }

  get bytes(): number {
    return this.#bytes
  }

  write(bytes: Buffer): Promise<void> | undefined {
    this.#plainHash.update(bytes)
    this.#bytes += bytes.length
    if (this.#body !== undefined) return this.#add(this.#body, this.#body.encryption.update(bytes))
    if (this.#bytes <= (this.#gathered.isCrowded ? CROWDED_SMALL_BYTES : SMALL_BYTES)) return void this.#gatherSmall(bytes)
    const body = this.#begin()
    body.prepared = prepare(body.encryption, this.#expected)
    return this.#add(body, [...this.#encryptSmall(body), ...body.encryption.update(bytes)])
  }

  hold(): boolean {
    if (this.#body !== undefined) return false
    this.#uncountSmall()
    return true
  }

  end(): Promise<void> {
    return this.#do(async () => {
      const body = this.#body ?? this.#begin()
      this.#add(body, [...this.#encryptSmall(body), ...body.encryption.final()])
      await this.#file.end()
    })
  }

  // Synced by the descriptor that it was written by: one that is opened later may not be told of a write that failed.
  rest(): Promise<void> {
    return this.#do(async () => {
      if (this.#body !== undefined) this.#body.prepared = undefined // not 4 KiB for each of a thousand files
      await syncFile(await this.#file.reopen())
      await this.#file.close()
    })
  }

  finish(closing: Closing | undefined): Promise<Content> {
    if (closing === undefined) throw new Error('nobody could read what is encrypted to nobody')
    const body = this.#body
    return this.#do(() => (body === undefined ? this.#finishSmall(closing) : this.#finishBody(body, closing)))
  }

  release(): void {
    this.#gathered.shared.giveAll(this.#held)
  }

  async discard(): Promise<void> {
    await Promise.allSettled([this.#work]) // a failure was told to whoever waited for it
    this.#giveSmall()
    this.release()
    await this.#file.discard()
  }

  #begin(): Body {
    const body = { encryption: new LateEncryption(), bytes: HEADER_BYTES, prepared: undefined }
    this.#body = body
    this.#file.write(NO_HEADER)
    return body
  }

  #encryptSmall({ encryption }: Body): Buffer[] {
    const sealed = this.#small.flatMap(({ content }) => encryption.update(content))
    this.#giveSmall()
    return sealed
  }

  #gatherSmall(bytes: Buffer): void {
    this.#gathered.shared.gather(this.#small, bytes)
    this.#gathered.bytes += bytes.length
    this.#countedBytes += bytes.length
  }

  #uncountSmall(): void {
    this.#gathered.bytes -= this.#countedBytes
    this.#countedBytes = 0
  }

  #giveSmall(): void {
    this.#uncountSmall()
    this.#gathered.shared.giveAll(this.#small)
  }

  #add(body: Body, sealed: readonly Buffer[]): Promise<void> | undefined {
    let wait: Promise<void> | undefined
    for (const piece of sealed) {
      body.prepared?.hash.update(piece)
      body.bytes += piece.length
      wait = this.#file.write(piece) ?? wait
      free(piece)
    }
    return wait
  }

  async #finishSmall({ readers, look }: Closing): Promise<Content> {
    const plain = Buffer.concat(this.#small.map(({ content }) => content))
    this.#giveSmall()
    const encryption = new Encryption(readers.recipients)
    for (const piece of [...encryption.update(plain), ...encryption.final()]) {
      this.#gathered.shared.gather(this.#held, piece)
      free(piece)
    }
    const held = this.#held.map(({ content }) => content)
    const hash = createHash('sha256')
    for (const piece of held) hash.update(piece)
    const bytes = held.reduce((sum, piece) => sum + piece.length, 0)
    const zip = await look(plain.subarray(-LOOK_BYTES))
    free(plain)
    return { bytes, sha256: hash.digest('hex'), held, plain: this.#describePlain(zip) }
  }

  async #finishBody(body: Body, { readers, look }: Closing): Promise<Content> {
    const handle = await this.#file.reopen()
    const end = await body.encryption.reopenEnd(LOOK_BYTES, (position, length) => readAt(handle, position, length))
    const plain = this.#describePlain(await look(end))
    const prepared = readers.digest === this.#expected.digest ? body.prepared : undefined
    const header = prepared?.header ?? body.encryption.makeHeader(readers.recipients)
    await writeWhole(handle, [header], 0)
    const sha256 = prepared?.hash.digest('hex') ?? (await hashAgain(handle, header, body.bytes))
    await syncFile(handle)
    await this.#file.close()
    return { bytes: body.bytes, sha256, plain }
  }

  #describePlain(zip: Zip | undefined): NonNullable<Content['plain']> {
    return { bytes: this.#bytes, sha256: this.#plainHash.digest('hex'), ...(zip === undefined ? {} : { zip }) }
  }

  #do<Result>(work: () => Promise<Result>): Promise<Result> {
    const working = work()
    this.#work = working
    return working
  }
}

// The SHA-256 of a file begins with its header: where that turns out to be another one, the file is read again.
function prepare(encryption: LateEncryption, readers: RecipientList): NonNullable<Body['prepared']> {
  const header = encryption.makeHeader(readers.recipients)
  return { header, hash: createHash('sha256').update(header) }
}

async function hashAgain(handle: FileHandle, header: Buffer, bytes: number): Promise<string> {
  const hash = createHash('sha256').update(header)
  for (let at = header.length; at < bytes; at += REREAD_BYTES) {
    hash.update(await readAt(handle, at, Math.min(REREAD_BYTES, bytes - at)))
  }
  return hash.digest('hex')
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length)
  if (!(await readWhole(handle, buffer, position))) throw new Error('a staged file became shorter while it was read')
  return buffer
}
