import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { TestContext } from 'node:test'
import { addProof } from '../lib/access/proofs.ts'
import { noteServerList } from '../lib/access/server-lists.ts'
import { newIdentity } from '../lib/crypt/keys.ts'
import { parseRecipientList, type RecipientList } from '../lib/crypt/recipient-list.ts'
import { Directories } from '../lib/directories.ts'
import { Layout } from '../lib/store/layout.ts'
import { temporaryDirectory } from './harness.ts'

/** Makes a base directory as a server leaves it that began with these recipients. */
export async function makeBasedir(t: TestContext, recipients: string): Promise<string> {
  const [layout, directories] = [new Layout(await temporaryDirectory(t)), new Directories()]
  await directories.ensure(layout.tokens)
  await noteServerList(layout.serverKeys.lists, parseRecipientList(recipients), Date.now(), directories)
  return layout.basedir
}

/** Makes new recipients whose keys nobody keeps. */
export function newList(count = 1): RecipientList {
  return parseRecipientList(Array.from({ length: count }, () => newIdentity().recipient.text).join('\n'))
}

/** Writes recipients one a line. */
export function textOf(list: RecipientList): string {
  return list.recipients.map(({ text }) => `${text}\n`).join('')
}

/** Changes one character, as somebody does who types a list. */
export function mistype(text: string): string {
  return `${text.slice(0, 20)}${text[20] === 'q' ? 'p' : 'q'}${text.slice(21)}`
}

/** Gives a project recipients of its own, as the lab does. */
export async function writeOwn(basedir: string, project: string, text: string): Promise<void> {
  const { recipients } = new Layout(basedir).keysOf(project)
  await mkdir(dirname(recipients), { recursive: true })
  await writeFile(recipients, text)
}

/** Proves lists in their order, a minute between them: a project's, or the server's where none is named. */
export async function proveLists(basedir: string, lists: readonly RecipientList[], project?: string): Promise<void> {
  const layout = new Layout(basedir)
  const { proofs } = project === undefined ? layout.serverKeys : layout.keysOf(project)
  for (const [index, list] of lists.entries()) await addProof(proofs, { list, provenAtMs: Date.UTC(2024, 10, 1, 0, index) }, new Directories())
}
