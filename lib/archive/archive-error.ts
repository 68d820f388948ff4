/**
 * What is wrong with an archive or an entry of it. `reason` is one plain sentence for a researcher; it holds no name
 * and no word of what a participant sent.
 */
export class ArchiveError extends Error {
  readonly reason: string

  constructor(reason: string, options: { cause?: unknown } = {}) {
    super(reason, options)
    this.name = 'ArchiveError'
    this.reason = reason
  }
}

/** Bytes that were encrypted and altered since: nothing can be said of what they held. */
export class AlteredError extends ArchiveError {
  constructor(cause: unknown) {
    super('A part of it was altered since it was encrypted.', { cause })
  }
}
