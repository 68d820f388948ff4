import type { ByteSource } from './source.ts'

/** What the header of a WAV file says. */
export interface WavHeader {
  /** Whole frames only; from the length of the file where the header does not know or says too much. */
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
 * Reads the header of a WAV file (RIFF/WAVE) with PCM or float samples. Of a `Beginning` 64 KiB are plenty; what
 * `source` throws comes through.
 * @returns undefined where it is no such file, or `first` ends before the samples begin
 */
export async function readWavHeader(source: Readable | Beginning): Promise<WavHeader | undefined> {
  const file = 'first' in source ? fromBeginning(source) : source
  const riff = await readSome(file, 0, 12)
  if (riff?.toString('latin1', 0, 4) !== 'RIFF' || riff.toString('latin1', 8, 12) !== 'WAVE') return undefined
  const isWhole = riff.readUInt32LE(4) === file.bytes - 8
  let format: Format | undefined
  let position = 12
  for (let chunk = 0; chunk < MAX_CHUNKS; chunk++) {
    const head = await readSome(file, position, 8)
    if (head === undefined) return undefined
    const id = head.toString('latin1', 0, 4)
    const bytes = head.readUInt32LE(4)
    if (id === 'data') return format && toHeader(format, measureData(bytes, file.bytes - position - 8, isWhole))
    if (id === 'fmt ') format = parseFormat(await readSome(file, position + 8, Math.min(bytes, FORMAT_BYTES)))
    position += 8 + bytes + (bytes % 2) // chunks begin at even places
  }
  return undefined
}

const MAX_CHUNKS = 100 // before the samples; real files have one to five
const UNKNOWN_BYTES = 0xffffffff
const FORMAT_BYTES = 40 // of WAVEFORMATEXTENSIBLE

type Readable = Pick<ByteSource, 'bytes' | 'read'>

function fromBeginning({ first, bytes }: Beginning): Readable {
  return { bytes, read: async (position, length) => first.subarray(position, position + length) }
}

async function readSome(file: Readable, position: number, length: number): Promise<Buffer | undefined> {
  if (position + length > file.bytes) return undefined
  const bytes = await file.read(position, length)
  return bytes.length === length ? bytes : undefined
}

interface Format {
  readonly sampleRate: number
  readonly channels: number
  readonly bitsPerSample: number
}

const PCM = 0x0001
const FLOAT = 0x0003
const EXTENSIBLE = 0xfffe
// What follows the two bytes of the format in the identifier of a sub-format.
const SUBFORMAT_TAIL = Buffer.from('000000001000800000aa00389b71', 'hex')

function parseFormat(chunk: Buffer | undefined): Format | undefined {
  if (chunk === undefined || chunk.length < 16) return undefined
  const [channels, sampleRate, bitsPerSample] = [chunk.readUInt16LE(2), chunk.readUInt32LE(4), chunk.readUInt16LE(14)]
  if (channels === 0 || sampleRate === 0 || bitsPerSample === 0) return undefined
  return [PCM, FLOAT].includes(encodingOf(chunk)) ? { sampleRate, channels, bitsPerSample } : undefined
}

function encodingOf(chunk: Buffer): number {
  const encoding = chunk.readUInt16LE(0)
  if (encoding !== EXTENSIBLE) return encoding
  return chunk.length === FORMAT_BYTES && chunk.subarray(26).equals(SUBFORMAT_TAIL) ? chunk.readUInt16LE(24) : 0
}

// Recorders that cannot go back leave 0 or all ones, in the length of the whole file too; one that was stopped leaves more
// than there is.
function measureData(claimedBytes: number, thereBytes: number, isWhole: boolean): number {
  if (claimedBytes === 0) return isWhole ? 0 : thereBytes
  return claimedBytes === UNKNOWN_BYTES ? thereBytes : Math.min(claimedBytes, thereBytes)
}

// The frame's length in the header is not used: recorders that write it themselves get it wrong.
function toHeader(format: Format, dataBytes: number): WavHeader {
  const frameBytes = format.channels * Math.ceil(format.bitsPerSample / 8)
  return { durationSeconds: Math.floor(dataBytes / frameBytes) / format.sampleRate, ...format }
}
