import { createReadStream } from 'node:fs'
import { ConfigError } from '../config.ts'
import { AgeError } from '../crypt/age-error.ts'
import { parseArmor } from '../crypt/armor.ts'
import { decrypt } from '../crypt/decryption.ts'
import type { Arguments } from './arguments.ts'
import { readIdentities, STANDARD_INPUT } from './identity-file.ts'
import type { Output } from './output.ts'

const ENOUGH_BYTES = 1024 // to see what kind of file it is
const MOST_ARMORED_BYTES = 16 * 1024 * 1024 // as text it is read whole
const UTF_16 = Buffer.from([0xff, 0xfe]) // the byte order mark with which PowerShell begins what it redirects into a file

/** Opens an age file, armored or not, from a file or from standard input, and writes what is in it to standard output. */
export async function open({ positionals }: Arguments, { write, tell, input }: Output): Promise<number> {
  const [, keyFile = '', path] = positionals
  if (keyFile === STANDARD_INPUT && path === undefined) throw new ConfigError(['The key is to come on standard input: name the file that it is to open.'])
  const identities = await readIdentities(keyFile, { input, tell })
  let isBegun = false
  try {
    for await (const bytes of decrypt(withoutArmor(path === undefined ? input() : createReadStream(path)), identities)) {
      await write(bytes)
      isBegun = true
    }
    return 0
  } catch (error) {
    if (!(error instanceof AgeError)) throw error
    tell(`${path ?? 'What came on standard input'} cannot be opened: ${error.message}.${isBegun ? ' What was written is not the whole of it.' : ''}`)
    return 1
  }
}

async function* withoutArmor(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let begin = Buffer.alloc(0)
  let kind: 'unknown' | 'armored' | 'binary' = 'unknown'
  for await (const bytes of source) {
    if (kind === 'binary') {
      yield bytes
      continue
    }
    begin = Buffer.concat([begin, bytes])
    if (kind === 'unknown' && begin.length >= ENOUGH_BYTES) kind = isArmored(begin) ? 'armored' : 'binary'
    if (kind === 'binary') yield begin
    else if (begin.length > MOST_ARMORED_BYTES) throw new AgeError('the armored text is too long')
  }
  if (kind === 'armored' || (kind === 'unknown' && isArmored(begin))) yield parseArmor(textOf(begin))
  else if (kind === 'unknown') yield begin
}

function isArmored(begin: Buffer): boolean {
  return textOf(begin).trimStart().startsWith('-----BEGIN')
}

function textOf(bytes: Buffer): string {
  return bytes.subarray(0, 2).equals(UTF_16) ? bytes.toString('utf16le', 2) : bytes.toString()
}
