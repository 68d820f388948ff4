import assert from 'node:assert/strict'
import { createReadStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Grants } from '../lib/access/grants.ts'
import { decrypt } from '../lib/crypt/decryption.ts'
import type { Identity } from '../lib/crypt/keys.ts'
import { Directories } from '../lib/directories.ts'
import type { ReceiptFile } from '../lib/store/receipt.ts'
import { readReceipts, startServer, type Running, type StartOptions } from './harness.ts'
import { sha256Of } from './sha256.ts'

/** Starts a server that encrypts what it stores. */
export function startEncrypting(t: TestContext, identities: readonly Identity[], options: StartOptions = {}): Promise<Running> {
  return startServer(t, { ...options, env: { ...settingsFor(identities), ...options.env } })
}

/** The settings of a server that encrypts to these. */
export function settingsFor(identities: readonly Identity[]): Record<string, string> {
  return { REPROSCHEMA_BACKEND_RECIPIENTS: formatRecipients(identities) }
}

/** Gives a project recipients of its own. */
export async function giveRecipients(basedir: string, project: string, identities: readonly Identity[]): Promise<void> {
  await mkdir(join(basedir, 'projects', project), { recursive: true })
  await writeFile(join(basedir, 'projects', project, 'recipients'), formatRecipients(identities))
}

function formatRecipients(identities: readonly Identity[]): string {
  return identities.map(({ recipient }) => recipient.text).join(',')
}

/** Issues an auth token as a command on the machine does: nobody has shown that the keys of a test are there. */
export async function issueToken(basedir: string, project = 'study', participant?: string): Promise<string> {
  const wish = { project, participant, minutes: 90, nowMs: Date.now() }
  return (await new Grants(join(basedir, 'tokens'), new Directories()).issue(wish)).authToken
}

/** A stored file, opened. */
export interface Opened {
  readonly file: ReceiptFile
  readonly content: Buffer
}

/** Opens every file of a project that the receipts name, after a look at what they say of it. */
export async function openAll(basedir: string, identity: Identity, project = 'study'): Promise<Opened[]> {
  const receipts = await readReceipts(basedir, project)
  const files = receipts.flatMap((receipt) => receipt['files'] as ReceiptFile[])
  return Promise.all(files.map(async (file) => ({ file, content: await openStored(basedir, file, identity, project) })))
}

/** Opens a stored file with a key, after a look at what its receipt says of it. */
export async function openStored(basedir: string, file: ReceiptFile, identity: Identity, project = 'study'): Promise<Buffer> {
  const path = join(basedir, 'uploads', 'responses', project, file.stored_as)
  const stored: Buffer[] = []
  for await (const bytes of createReadStream(path)) stored.push(bytes as Buffer)
  const whole = Buffer.concat(stored)
  assert.deepEqual({ bytes: whole.length, sha256: sha256Of(whole) }, { bytes: file.bytes, sha256: file.sha256 }, file.stored_as)
  const opened: Buffer[] = []
  for await (const bytes of decrypt(piecesOf(whole), [identity])) opened.push(bytes)
  const content = Buffer.concat(opened)
  assert.equal(file.plain?.bytes, content.length, file.stored_as)
  assert.ok(file.stored_as.endsWith('.age'), file.stored_as)
  return content
}

async function* piecesOf(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes
}
