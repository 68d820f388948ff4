import { isObject, parseObject } from '../json.ts'
import { sha256Of } from '../sha256.ts'

const SHA256 = /^[0-9a-f]{64}$/
const TOMBSTONE_KEYS = 'withdrawn,previous'

/** How the name of a receipts file ends that holds one withdrawal and nothing else. */
export const WITHDRAWAL = '-withdrawal.ndjson'

/** A receipt that was withdrawn: where its line stood, and what stood there, by hash. */
export interface WithdrawnReceipt {
  /** The name of its receipts file. */
  readonly file: string
  /** Where the line begins, and how long it is without its newline, in bytes. */
  readonly offset: number
  readonly bytes: number
  /** SHA-256 of the line. */
  readonly sha256: string
  /** SHA-256 of the receipt's id: a repeat that comes late still names it. */
  readonly id_sha256: string
  /** SHA-256 of the line before it, as the line carried it. */
  readonly previous: string | null
}

/** A stored file that was withdrawn, by hash. */
export interface WithdrawnFile {
  /** SHA-256 of its stored name: a copy of the base directory may still have it. */
  readonly name_sha256: string
  /** See `digestOf`. */
  readonly sha256: string
}

/** The record of what was erased for a participant who withdrew. It is durable before anything is erased, and names nobody. */
export interface Withdrawal {
  /** 32 hex digits. */
  readonly withdrawal: string
  /** RFC 3339 in UTC. */
  readonly withdrawn_at: string
  readonly project: string
  readonly receipts: readonly WithdrawnReceipt[]
  readonly files: readonly WithdrawnFile[]
}

/**
 * Gives the digest of a file that was erased. The SHA-256 of a short answer alone could be guessed: it is taken together
 * with what nobody can guess, and whoever has the receipt can tell that the file is meant.
 * @param salt the id of the receipt, or the stored name of a file that has none
 * @param sha256 of the file
 */
export function digestOf(salt: string, sha256: string): string {
  return sha256Of(`${salt}\n${sha256}`)
}

/** Writes a withdrawal as the only line of its file. */
export function formatWithdrawal(withdrawal: Withdrawal): string {
  return `${JSON.stringify({ ...withdrawal, previous: null })}\n`
}

/** Reads a withdrawal, or gives undefined where the text is none. */
export function parseWithdrawal(text: string): Withdrawal | undefined {
  const value = parseObject(text)
  if (value === undefined || value['previous'] !== null) return undefined
  const { withdrawal, withdrawn_at: withdrawnAt, project, receipts, files } = value
  if (typeof withdrawal !== 'string' || typeof withdrawnAt !== 'string' || typeof project !== 'string') return undefined
  if (!Array.isArray(receipts) || !receipts.every(isReceipt) || !Array.isArray(files) || !files.every(isFile)) return undefined
  return { withdrawal, withdrawn_at: withdrawnAt, project, receipts, files }
}

/**
 * Writes what takes the place of a receipt: as long as it was, so that nothing after it moves and a server that appends
 * to the file is not disturbed. The next line carries the SHA-256 of what stood there.
 */
export function formatTombstone({ sha256, previous, bytes }: Pick<WithdrawnReceipt, 'sha256' | 'previous' | 'bytes'>): Buffer {
  const text = JSON.stringify({ withdrawn: sha256, previous })
  if (text.length > bytes) throw new Error('a receipt is too short for what is to take its place')
  return Buffer.from(text.padEnd(bytes))
}

/** Gives the SHA-256 of the line that stood where a tombstone stands; undefined where the value of the line is none. */
export function parseTombstone(value: unknown): string | undefined {
  if (!isObject(value) || Object.keys(value).join() !== TOMBSTONE_KEYS) return undefined
  return isSha256(value['withdrawn']) ? value['withdrawn'] : undefined
}

function isReceipt(value: unknown): value is WithdrawnReceipt {
  if (!isObject(value)) return false
  const { file, offset, bytes, sha256, id_sha256: idSha256, previous } = value
  if (typeof file !== 'string' || !/^[^/\0]+\.ndjson$/.test(file)) return false // it becomes a path
  if (!Number.isSafeInteger(offset) || Number(offset) < 0 || !Number.isSafeInteger(bytes) || Number(bytes) <= 0) return false
  return isSha256(sha256) && isSha256(idSha256) && (previous === null || isSha256(previous))
}

function isFile(value: unknown): value is WithdrawnFile {
  if (!isObject(value)) return false
  const { name_sha256: nameSha256, sha256 } = value
  return isSha256(nameSha256) && isSha256(sha256)
}

function isSha256(value: unknown): value is string {
  return typeof value === 'string' && SHA256.test(value)
}
