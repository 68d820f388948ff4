import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { ConfigError } from '../config.ts'
import { AgeError } from '../crypt/age-error.ts'
import { parseIdentities, type Identity } from '../crypt/keys.ts'
import { Keyring } from '../dataset/keyring.ts'
import { systemCode } from '../errors.ts'
import { quote } from '../shell.ts'
import type { Output } from './output.ts'
import { plain } from './terminal.ts'

/** What stands for standard input in the place of a file. */
export const STANDARD_INPUT = '-'
const MOST_BYTES = 1024 * 1024 // an identity has 75
const OF_OTHERS = 0o077
const KEY = /^AGE-SECRET-KEY-/i
const ARMOR = '-----BEGIN AGE ENCRYPTED FILE-----'

/** The flag that names identity files, for `readArguments`. */
export const IDENTITY_FLAG = { identity: { type: 'string', multiple: true } } as const

/**
 * Reads the identities that open encrypted files; undefined where none is named. Nothing that it says holds a key. Throws a
 * `ConfigError` where one is no identity file.
 * @param paths files as age-keygen writes them; `-` is standard input
 */
export async function readKeyring(paths: readonly string[], { input, tell }: Pick<Output, 'input' | 'tell'>): Promise<Keyring | undefined> {
  if (paths.length === 0) return undefined
  if (paths.filter((path) => path === STANDARD_INPUT).length > 1) throw new ConfigError(['--identity - stands for standard input, which can be read once.'])
  const identities: Identity[] = []
  for (const path of paths) identities.push(...(await readIdentities(path, { input, tell })))
  return new Keyring(identities)
}

/**
 * Reads the identities of one file, at least one. Nothing that it says holds a key. Throws a `ConfigError`.
 * @param path of a file as age-keygen writes it; `-` is standard input
 */
export async function readIdentities(path: string, { input, tell }: Pick<Output, 'input' | 'tell'>): Promise<Identity[]> {
  if (path === STANDARD_INPUT) return parse('Standard input', await readText(input()))
  return parse(plain(path), await readIdentityFile(path, tell))
}

async function readText(source: AsyncIterable<Buffer>): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of source) {
    pieces.push(piece)
    bytes += piece.length
    if (bytes > MOST_BYTES) throw new ConfigError(['Standard input is no identity file, which holds a line that begins with AGE-SECRET-KEY-1.'])
  }
  return Buffer.concat(pieces).toString()
}

async function readIdentityFile(path: string, tell: (line: string) => void): Promise<string> {
  if (KEY.test(path.trim())) throw new ConfigError(['Give the name of a file that holds the key, not the key itself, which other users of this machine could then see.'])
  const name = plain(path)
  try {
    const handle = await open(path, constants.O_RDONLY)
    try {
      const found = await handle.stat()
      if (found.isDirectory() || found.size > MOST_BYTES) throw new ConfigError([`${name} is no identity file, which holds a line that begins with AGE-SECRET-KEY-1.`])
      if (found.isFile() && (found.mode & OF_OTHERS) !== 0) tell(`WARNING: other users of this machine may read ${name}, which opens the recordings. Run: chmod 600 ${quote(name)}`)
      return await handle.readFile('utf8')
    } finally {
      await handle.close()
    }
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT') throw new ConfigError([`There is no identity file ${name}.`])
    if (code === undefined || error instanceof ConfigError) throw error
    throw new ConfigError([`The identity file ${name} cannot be read: ${code}.`])
  }
}

function parse(name: string, text: string): Identity[] {
  if (text.startsWith('age-encryption.org/') || text.trimStart().startsWith(ARMOR)) {
    throw new ConfigError([`${name} is encrypted itself. Decrypt it and hand it on: age --decrypt FILE | …, with - for its name.`])
  }
  try {
    const identities = parseIdentities(text)
    if (identities.length > 0) return identities
  } catch (error) {
    if (!(error instanceof AgeError)) throw error
    throw new ConfigError([describe(name, text, error)])
  }
  throw new ConfigError([`${name} holds no key. An identity file has a line that begins with AGE-SECRET-KEY-1.`])
}

function describe(name: string, text: string, error: AgeError): string {
  const isPublic = /^\s*age1[a-z0-9]/m.test(text) && !/^\s*AGE-SECRET-KEY-1/m.test(text)
  if (isPublic) return `${name} holds a recipient (age1…), which can only encrypt. What opens files is the identity that belongs to it: AGE-SECRET-KEY-1…`
  return `${name} is no identity file as age-keygen writes it: ${error.message}.`
}
