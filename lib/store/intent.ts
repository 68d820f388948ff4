import { parseObject } from '../json.ts'
import type { Receipt } from './receipt.ts'

/** How the names of intents end. */
export const INTENT = '.intent.json'

/** What several links are to make together: written down before the first, so that a crash leaves all or none. */
export interface Intent {
  readonly receipt: Receipt
  /** The names of the staged files, in the order of the receipt's files; they lie beside the intent. */
  readonly staged: readonly string[]
}

/** Writes an intent. */
export function formatIntent(intent: Intent): string {
  return JSON.stringify(intent)
}

/** Reads an intent, or gives undefined where it was cut off before it was durable: nothing had been linked by then. */
export function parseIntent(text: string): Intent | undefined {
  const intent = parseObject(text)
  const isIntent = intent !== undefined && 'receipt' in intent && 'staged' in intent
  return isIntent ? (intent as unknown as Intent) : undefined // written by `formatIntent`: it ends in its only last brace
}
