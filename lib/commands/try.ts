import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { ConfigError, readOne } from '../config.ts'
import { systemCode } from '../errors.ts'
import { isObject, parseObject, type JsonObject } from '../json.ts'
import { SETTINGS } from '../settings/settings.ts'
import { sha256Of } from '../sha256.ts'
import type { Output } from './output.ts'

const FILE_BYTES = 100_000
const UNPROVEN = '\nNobody has shown yet that they hold a key of the recipients: run keys challenge on the machine of the server.'

/**
 * Does what a study's web app does, over HTTP alone: asks for an auth token, submits a file with messages, then messages
 * alone; and holds what comes back against what was sent.
 * @returns the exit code: 0 only if everything held
 */
export async function attempt(args: readonly string[], { print }: Output): Promise<number> {
  const { url, token } = readArguments(args)
  try {
    const authToken = await askForToken(url, token, print)
    const messages = JSON.stringify({ sent_by: 'try', at: new Date().toISOString() })
    const file = randomBytes(FILE_BYTES)
    const both = await submit(url, { auth_token: authToken, responses: messages }, file, print)
    const alone = await submit(url, { auth_token: authToken, responses: messages }, undefined, print)
    const hasHeld = [hold(both, 'try.bin', file, print), hold(both, 'messages.json', messages, print), hold(alone, 'messages.json', messages, print)]
    print(hasHeld.every(Boolean) ? 'ok: everything that was sent has arrived' : 'FAILED: see above')
    return hasHeld.every(Boolean) ? 0 : 1
  } catch (error) {
    print(`FAILED: ${describe(error, url)}`)
    return 1
  }
}

function readArguments(args: readonly string[]): { url: string; token: string } {
  const mistakes: string[] = []
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { token: { type: 'string' }, 'token-file': { type: 'string' }, url: { type: 'string', default: 'http://localhost:8000' } },
    })
    const { token: given, 'token-file': file, url } = values
    if (given === undefined && file === undefined) mistakes.push('--token is missing: give the admin token, which the server prints when it starts, or --token-file FILE with the file that holds it.')
    if (given !== undefined && file !== undefined) mistakes.push('--token and --token-file are both given: use one of them.')
    if (!URL.canParse(url) || !/^https?:/.test(url)) {
      mistakes.push(`--url=${JSON.stringify(url)} is not allowed: use an address such as http://localhost:8000.`)
    }
    const token = given ?? readOne(SETTINGS.tokenFile, file, {})
    if (mistakes.length === 0) return { url: url.replace(/\/+$/, ''), token: token ?? '' }
  } catch (error) {
    if (error instanceof ConfigError) throw new ConfigError([...mistakes, ...error.mistakes])
    if (!systemCode(error)?.startsWith('ERR_PARSE_ARGS') || !(error instanceof Error)) throw error
    mistakes.push(`${error.message.split('. ')[0]}. --help lists what there is.`)
  }
  throw new ConfigError(mistakes)
}

class Refused extends Error {}

async function askForToken(url: string, token: string, print: (line: string) => void): Promise<string> {
  const query = new URLSearchParams({ token, project: 'try', expiry_minutes: '5' })
  const answer = await exchange('GET /token', `${url}/token?${query}`, {}, ({ expires }) => print(`GET /token: expires ${String(expires)}`))
  const authToken = answer['auth_token']
  if (typeof authToken !== 'string') throw new Refused('GET /token: the answer has no auth_token')
  return authToken
}

async function submit(
  url: string,
  fields: Record<string, string>,
  file: Buffer | undefined,
  print: (line: string) => void,
): Promise<JsonObject> {
  const form = new FormData()
  if (file !== undefined) form.append('file', new Blob([file]), 'try.bin') // the file first, as reproschema-ui sends it
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  return exchange('POST /submit', `${url}/submit`, { method: 'POST', body: form }, (answer) => print(`POST /submit: ${JSON.stringify(answer)}`))
}

async function exchange(
  what: string,
  url: string,
  options: RequestInit,
  show: (answer: JsonObject) => void,
): Promise<JsonObject> {
  const response = await fetch(url, options)
  const text = await response.text()
  const answer = parseObject(text)
  if (answer === undefined) throw new Refused(`${what}: ${response.status} and no JSON object`)
  if (!response.ok) throw new Refused(`${what}: ${response.status} ${text}${answer['code'] === 'key_not_proven' ? UNPROVEN : ''}`)
  show(answer)
  return answer
}

function hold(answer: JsonObject, name: string, sent: string | Buffer, print: (line: string) => void): boolean {
  const sha256 = sha256Of(sent)
  const files: unknown[] = Array.isArray(answer['files']) ? answer['files'] : []
  const found = files.filter(isObject).find((file) => file['name'] === name)?.['sha256']
  const hasHeld = answer['status'] === 'accepted' && found === sha256
  print(`${name}: ${hasHeld ? 'SHA-256 matches' : `SHA-256 should be ${sha256}, the answer says ${String(found ?? 'nothing of it')}`}`)
  return hasHeld
}

function describe(error: unknown, url: string): string {
  if (error instanceof Refused) return error.message
  if (!(error instanceof TypeError)) throw error
  return `no answer from ${url}: ${error.cause instanceof Error ? explain(error.cause) : error.message}`
}

// What OpenSSL says has numbers, a path of its source and a newline.
function explain(cause: Error): string {
  const code = systemCode(cause)
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER') return 'it speaks no TLS. Use http:// for a server without TLS.'
  const reason = cause.message.trim() || String(code)
  return code === 'ECONNREFUSED' ? `${reason}. Nothing listens there: start the server, or give its address with --url.` : reason
}
