import type { RecipientList } from '../crypt/recipient-list.ts'

/** What is told of a file before it is encrypted, for somebody who has no key: nothing of what was said in it. */
export interface Zip {
  /** The length of the whole archive that the file is, or is the end of. */
  readonly bytes: number
  /** SHA-256 of each entry's name, in the order of its directory. */
  readonly entries: readonly string[]
}

/** What was encrypted. */
export interface Plain {
  readonly bytes: number
  /** Never written to the disk: who guesses what was said could hold it against the guess. */
  readonly sha256: string
  readonly zip?: Zip
}

/** What a staged file holds. */
export interface Content {
  /** As it is stored. */
  readonly bytes: number
  /** Of what is stored. */
  readonly sha256: string
  /** What is stored, one piece behind the other, where none of it is on disk yet. */
  readonly held?: readonly Uint8Array[]
  /** Where what is stored is encrypted. */
  readonly plain?: Plain
}

/** How a file ends that is stored encrypted. */
export interface Closing {
  readonly readers: RecipientList
  /** Looks at the last bytes before they are encrypted, 64 KiB or the whole file, and keeps nothing of the memory they are in. */
  readonly look: (end: Buffer) => Promise<Zip | undefined>
}

/** A file that is still arriving. Its memory is bounded, whatever its size. */
export interface Arriving {
  readonly path: string
  /** How many bytes have come. */
  readonly bytes: number
  /** Takes the next bytes, and keeps nothing of the memory they are in. Returns a promise where the sender should wait until the disk has caught up. */
  write(bytes: Buffer): Promise<void> | undefined
  /** After the last byte: keeps the file in memory where nothing of it is on disk; says whether it did. */
  hold(): boolean
  /** After the last byte of a file that is not held: writes what is left. May leave a descriptor open. */
  end(): Promise<void>
  /** After `end`: closes what may be open, for a form with many files. */
  rest(): Promise<void>
  /** Makes the content durable, unless it is held; its name is not durable yet. To be called once. */
  finish(closing: Closing | undefined): Promise<Content>
  /** Says that what was held is published, and nobody looks at it any more. */
  release(): void
  /** Removes the file and everything it holds; may be called at any time, and more than once. */
  discard(): Promise<void>
}
