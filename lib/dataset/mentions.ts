import { forEachBounded } from './bounded.ts'
import type { Collection } from './collection.ts'
import { holdsText } from './sender.ts'

const AT_ONCE = 16
const LEAST_LETTERS = 3
const LEAST_DIGITS = 6 // a shorter number stands in too much that names nobody
const LETTER = /\p{L}/u

/** Says whether a text has a name in it, as a word of its own; never of a name that is too short to tell anything. */
export function mentions(text: string, name: string): boolean {
  if (!isTelling(name)) return false
  const [plain, sought] = [toPlain(text), toPlain(name)]
  for (let at = plain.indexOf(sought); at >= 0; at = plain.indexOf(sought, at + 1)) {
    const [before = '', after = ''] = [plain.slice(0, at).at(-1), plain.at(at + sought.length)]
    if (!isPartOfWord(before) && !isPartOfWord(after)) return true
  }
  return false
}

/** Says whether two names are written differently and are likely meant to be one: in case, in blanks, or in how letters are put together. */
export function isAlike(name: string, other: string): boolean {
  return name !== other && withoutBlanks(toPlain(name)) === withoutBlanks(toPlain(other))
}

/** Says whether two names that are alike look the same: they differ in how letters are put together, or in what nobody sees. */
export function looksSame(name: string, other: string): boolean {
  return toVisible(name) === toVisible(other)
}

/**
 * Finds the files that have a name in what they are called or, where they are JSON submissions, as a text in them: whatever
 * it says there, it is no proof of whose they are.
 * @returns stored names
 */
export async function findMentions({ messages, foreign, vault }: Collection, name: string): Promise<ReadonlySet<string>> {
  const found = new Set<string>()
  for (const { file } of foreign) if (mentions(file.name, name)) found.add(file.storedAs)
  if (!isTelling(name)) return found
  await forEachBounded(messages, AT_ONCE, async ({ file }) => {
    if (await holdsText(vault, file, name)) found.add(file.storedAs)
  })
  return found
}

function isTelling(name: string): boolean {
  return name.length >= (LETTER.test(name) ? LEAST_LETTERS : LEAST_DIGITS)
}

function toPlain(text: string): string {
  return text.normalize('NFKC').toLowerCase()
}

function withoutBlanks(text: string): string {
  return text.replace(/[\p{White_Space}\p{Default_Ignorable_Code_Point}]/gu, '')
}

function toVisible(text: string): string {
  return text.normalize('NFKC').replace(/\p{Default_Ignorable_Code_Point}/gu, '')
}

function isPartOfWord(character: string): boolean {
  return /[\p{L}\p{N}]/u.test(character)
}
