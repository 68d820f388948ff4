import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Encryption } from '../lib/crypt/encryption.ts'
import { formatIdentity, newIdentity, type Identity } from '../lib/crypt/keys.ts'
import { listFiles } from './harness.ts'
import { sha256Of } from './sha256.ts'

const END_BYTES = 22
const NOTED_BYTES = 64 * 1024

/** A file of a receipt. */
export interface ReceiptFile {
  readonly name: string
  readonly stored_as: string
  readonly bytes: number
  readonly sha256: string
  readonly plain?: { readonly bytes: number; readonly zip?: { readonly bytes: number; readonly entries: readonly string[] } }
}

/** A line of a receipts file. */
export interface ReceiptLine {
  readonly received_at: string
  readonly fields: readonly unknown[]
  readonly files: readonly ReceiptFile[]
}

/** To whom a file is encrypted; undefined where it stays as it is. */
export type Choose = (file: ReceiptFile, index: number) => readonly Identity[] | undefined

/** Encrypts bytes as one age file. */
export function encrypt(content: Buffer, readers: readonly Identity[]): Buffer {
  const encryption = new Encryption(readers.map(({ recipient }) => recipient))
  return Buffer.concat([...encryption.update(content), ...encryption.final()])
}

/** Makes a copy of a base directory as a server has it that encrypts what it stores: other files, other receipts. */
export async function copyEncrypted(basedir: string, copy: string, choose: Choose): Promise<string> {
  await cp(basedir, copy, { recursive: true })
  const directory = join(copy, 'uploads', 'responses', 'study')
  let index = 0
  for (const name of await listFiles(join(copy, 'receipts', 'study'))) {
    const path = join(copy, 'receipts', 'study', name)
    let previous: string | null = null
    const lines: string[] = []
    for (const text of (await readFile(path, 'utf8')).split('\n').filter((each) => each !== '')) {
      const receipt = JSON.parse(text) as ReceiptLine
      const files: ReceiptFile[] = []
      for (const file of receipt.files) files.push(await encryptStored(directory, file, choose(file, index++)))
      const readers = files.some(({ plain }) => plain !== undefined) ? choose({ name: 'fields.json', stored_as: '', bytes: 0, sha256: '' }, -1) : undefined
      const fields = receipt.fields.length > 0 && readers !== undefined ? [await storeFields(directory, receipt, readers)] : []
      const line = JSON.stringify({ ...receipt, ...(fields.length === 0 ? {} : { fields: [] }), files: [...files, ...fields], previous })
      previous = sha256Of(line)
      lines.push(`${line}\n`)
    }
    await writeFile(path, lines.join(''))
  }
  return copy
}

async function encryptStored(directory: string, file: ReceiptFile, readers: readonly Identity[] | undefined): Promise<ReceiptFile> {
  if (readers === undefined) return file
  const content = await readFile(join(directory, file.stored_as))
  await rm(join(directory, file.stored_as))
  return { ...file, ...(await store(directory, file.stored_as, content, readers)) }
}

async function storeFields(directory: string, { received_at: receivedAt, fields }: ReceiptLine, readers: readonly Identity[]): Promise<ReceiptFile> {
  const content = Buffer.from(JSON.stringify(fields))
  const stored = await store(directory, `${receivedAt.replace(/[-:]/g, '')}-fields.json`, content, readers)
  return { ...{ field: '', media_type: 'application/json', holds: 'fields' }, name: 'fields.json', ...stored }
}

/** Stores content under a name, encrypted; gives what its receipt says. */
export async function store(directory: string, title: string, content: Buffer, readers: readonly Identity[]): Promise<Omit<ReceiptFile, 'name'>> {
  const sealed = encrypt(content, readers)
  await writeFile(join(directory, `${title}.age`), sealed)
  const zip = noteZip(content)
  return { stored_as: `${title}.age`, bytes: sealed.length, sha256: sha256Of(sealed), plain: { bytes: content.length, ...(zip === undefined ? {} : { zip }) } }
}

// As the server does it: where the end of a zip and all of its directory are in the last 64 KiB.
function noteZip(content: Buffer): { bytes: number; entries: string[] } | undefined {
  const endAt = content.length - END_BYTES
  if (endAt < 0 || content.readUInt32LE(endAt) !== 0x06054b50) return undefined
  const [bytes, offset] = [content.readUInt32LE(endAt + 12), content.readUInt32LE(endAt + 16)]
  if (bytes > endAt || bytes + END_BYTES > NOTED_BYTES) return undefined
  const entries: string[] = []
  for (let at = endAt - bytes; at < endAt; ) {
    const nameBytes = content.readUInt16LE(at + 28)
    entries.push(sha256Of(content.subarray(at + 46, at + 46 + nameBytes)))
    at += 46 + nameBytes + content.readUInt16LE(at + 30) + content.readUInt16LE(at + 32)
  }
  return { bytes: offset + bytes + END_BYTES, entries }
}

/** Makes a key pair, and writes its identity to a file that only its user may read. */
export async function makeIdentity(path: string): Promise<Identity> {
  const identity = newIdentity()
  await writeFile(path, `# public key: ${identity.recipient.text}\n${formatIdentity(identity)}\n`, { mode: 0o600 })
  return identity
}
