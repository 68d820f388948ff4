import { dirname } from 'node:path'
import { ConfigError } from '../config.ts'
import { formatIdentity, newIdentity } from '../crypt/keys.ts'
import { createWhole, syncDirectory } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { readArguments, type Arguments } from './arguments.ts'
import { challenge, prove } from './key-proof.ts'
import { open } from './key-opening.ts'
import { RECIPIENT_FLAGS } from './local-keys.ts'
import type { Output } from './output.ts'

const SECRET_KEY = /AGE-SECRET-KEY-1/i

const USE = 'use keys new, keys challenge, keys open or keys prove'

// What stands after each word; a name in brackets may be left out.
const ACTIONS: Readonly<Record<string, { names: readonly string[]; run: (given: Arguments, output: Output) => Promise<number> } | undefined>> = {
  new: { names: ['new', 'file'], run: create },
  challenge: { names: ['challenge', '[project]'], run: challenge },
  open: { names: ['open', 'key file', '[file]'], run: open },
  prove: { names: ['prove', 'code', '[code after a project]'], run: prove },
}

/**
 * Makes a key, or shows that somebody holds the key that uploads are encrypted to: a code is encrypted on the machine of the
 * server, opened where the key is, and given back.
 */
export async function keys(args: readonly string[], output: Output): Promise<number> {
  const [word] = args
  if (word === undefined) throw new ConfigError([`keys needs a word after it: ${USE}.`])
  const action = Object.hasOwn(ACTIONS, word) ? ACTIONS[word] : undefined
  if (action === undefined) throw new ConfigError([`keys ${JSON.stringify(word)} is not understood: ${USE}.`])
  return action.run(readArguments(args, output.environment, { flags: RECIPIENT_FLAGS, names: action.names }), output)
}

/** Makes an identity in a new file as age-keygen writes it, and prints its recipient. */
async function create({ positionals }: Arguments, { print, tell }: Output): Promise<number> {
  const [, path = ''] = positionals
  if (SECRET_KEY.test(path)) throw new ConfigError(['keys new takes the name of a new file, and what stands there is a key: whoever saw it can use it.'])
  const identity = newIdentity()
  const { text } = identity.recipient
  try {
    await createWhole(path, `# created: ${new Date().toISOString().slice(0, 19)}Z\n# public key: ${text}\n${formatIdentity(identity)}\n`)
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
    throw new ConfigError([`${path} is there already, and a key is never replaced: name a new file.`])
  }
  await syncDirectory(dirname(path))
  print(text)
  tell(`${path} holds the secret key: keep copies of it in safe places, and none on the server. What is encrypted to it is lost with it.`)
  return 0
}
