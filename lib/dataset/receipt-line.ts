import { readChain, type ChainLine, type Extent } from '../chain/chain-lines.ts'
import { isObject } from '../json.ts'
import { isProject } from '../project.ts'
import type { Receipt, ReceiptFile, ReceiptPlain } from '../store/receipt.ts'
import { parseTombstone } from '../store/withdrawal.ts'

const SHA256 = /^[0-9a-f]{64}$/

/** One line of a receipts file, as it was found; one that is torn was never answered, so that nothing was promised. */
export interface ReceiptLine extends ChainLine {
  /** Undefined where the line is not a receipt. */
  readonly receipt: Receipt | undefined
  /** Where a receipt was withdrawn: the SHA-256 of the line that stood here. */
  readonly withdrawn: string | undefined
}

/**
 * Reads a receipts file line by line, as `readChain` does.
 * @param extent `stoodAt` tells of what was withdrawn, where the line that should say so may have been cut
 */
export async function* readReceiptLines(path: string, extent: Extent = {}): AsyncGenerator<ReceiptLine> {
  const stoodAt = (offset: number, found: unknown) => parseTombstone(found) ?? extent.stoodAt?.(offset, found)
  for await (const line of readChain(path, { ...extent, stoodAt })) {
    yield { ...line, receipt: parseReceipt(line.value), withdrawn: parseTombstone(line.value) }
  }
}

/** Gives the names and the values of the text fields that a receipt has in it. */
export function fieldTextsOf({ value }: ReceiptLine): string[] {
  const fields = isObject(value) ? value['fields'] : undefined
  if (!Array.isArray(fields)) return []
  return fields.flatMap((field: unknown) => (isObject(field) ? Object.values(field) : [])).filter((text) => typeof text === 'string')
}

function parseReceipt(value: unknown): Receipt | undefined {
  if (!isObject(value)) return undefined
  const { id, received_at, project, token_sha256, participant, repeats } = value
  if (typeof id !== 'string' || typeof received_at !== 'string' || Number.isNaN(Date.parse(received_at))) return undefined
  if (typeof project !== 'string' || !isProject(project) || typeof token_sha256 !== 'string') return undefined
  if (participant !== undefined && typeof participant !== 'string') return undefined
  if (repeats !== undefined && typeof repeats !== 'string') return undefined
  if (!Array.isArray(value['files']) || !value['files'].every(isReceiptFile)) return undefined
  const files: readonly ReceiptFile[] = value['files']
  return {
    id,
    received_at,
    project,
    token_sha256,
    ...(participant === undefined ? {} : { participant }),
    fields: [], // whatever a form held beside its files stays in the receipts
    files,
    ...(repeats === undefined ? {} : { repeats }),
  }
}

function isReceiptFile(value: unknown): value is ReceiptFile {
  if (!isObject(value)) return false
  const { field, name, stored_as: storedAs, bytes, sha256, plain } = value
  if (plain !== undefined && !isPlain(plain)) return false
  if (typeof field !== 'string' || typeof name !== 'string' || typeof storedAs !== 'string') return false
  if (!Number.isSafeInteger(bytes) || typeof sha256 !== 'string' || !SHA256.test(sha256)) return false
  return storedAs !== '' && !/^\.\.?$|[/\0]/.test(storedAs) // it becomes a path
}

function isPlain(value: unknown): value is ReceiptPlain {
  if (!isObject(value)) return false
  const { bytes, zip } = value
  if (!isCount(bytes)) return false
  if (zip === undefined) return true
  if (!isObject(zip)) return false
  const { bytes: zipBytes, entries } = zip
  return isCount(zipBytes) && Array.isArray(entries) && entries.every((entry) => typeof entry === 'string' && SHA256.test(entry))
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
