import { accessSync, constants } from 'node:fs'
import { systemCode } from '../errors.ts'
import { amount, MiB, setting, wholeNumber } from './setting.ts'

/** Where alerts go: to a program with its arguments, or to an address. */
export type AlertTarget =
  | { readonly type: 'command'; readonly command: readonly string[] }
  | { readonly type: 'post'; readonly url: string; readonly authorization: string | undefined }

/** How the lab is told of what happens. */
export const OBSERVATION = {
  isLogPrinted: setting<boolean>({
    variable: 'REPROSCHEMA_BACKEND_LOG',
    flag: 'log',
    placeholder: 'WHERE',
    description: 'where log lines go beside the log files: `stdout`, for the journal, or `files` alone',
    fallback: 'files',
    allowed: 'files or stdout',
    parse: (text) => (text === 'stdout' ? true : text === 'files' ? false : undefined),
    otherwise: () => false,
  }),
  logBytes: amount({
    variable: 'REPROSCHEMA_BACKEND_LOG_BYTES',
    flag: 'log-bytes',
    description: 'size at which a log file is turned before its week is over, in bytes',
    fallback: 50 * MiB,
    least: 1000,
    most: 1024 * 1024 * MiB,
  }),
  alert: setting<AlertTarget | undefined>({
    variable: 'REPROSCHEMA_BACKEND_ALERT',
    placeholder: 'TARGET',
    description: 'program that is told of trouble, with arguments separated by blanks, or an address that gets a POST',
    fallback: 'none',
    allowed: 'an http: or https: address, or a program that can be run, by its name or absolute path',
    isSecret: true,
    parse: parseAlert,
    otherwise: () => undefined,
  }),
  silenceHours: setting<number | undefined>({
    variable: 'REPROSCHEMA_BACKEND_SILENCE_HOURS',
    flag: 'silence-hours',
    placeholder: 'N',
    description: 'alert when no submission has come for so many hours of the study',
    fallback: 'no such alert',
    ...wholeNumber(1, 8760),
    otherwise: () => undefined,
  }),
  studyHours: setting<{ readonly from: number; readonly to: number }>({
    variable: 'REPROSCHEMA_BACKEND_STUDY_HOURS',
    flag: 'study-hours',
    placeholder: 'HH-HH',
    description: 'hours of the day that count as such, in the time zone of the server (`TZ`)',
    fallback: '00-24',
    allowed: 'two different hours from 00 to 24, such as 08-20',
    parse: parseHours,
    otherwise: () => ({ from: 0, to: 24 }),
  }),
}

function parseAlert(text: string): AlertTarget | undefined {
  if (/^https?:/i.test(text)) return parseAddress(text)
  const command = text.split(/\s+/).filter((word) => word !== '')
  const [program = ''] = command
  const isProgram = program.startsWith('/') ? isExecutable(program) : /^[\w.+-]+$/.test(program) // a name is looked for in PATH
  return isProgram && !text.includes('\0') ? { type: 'command', command } : undefined
}

// `fetch` refuses an address with a user or a password, and its error shows both: they are taken out (RFC 7617).
function parseAddress(text: string): AlertTarget | undefined {
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  const login = decode(`${url.username}:${url.password}`)
  url.username = ''
  url.password = ''
  if (login === undefined) return undefined
  return { type: 'post', url: url.href, authorization: login === ':' ? undefined : `Basic ${Buffer.from(login).toString('base64')}` }
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) return undefined
    throw error
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return false
  }
}

function parseHours(text: string): { from: number; to: number } | undefined {
  const [, from = '', to = ''] = /^(\d\d)-(\d\d)$/.exec(text) ?? []
  const hours = { from: Number(from), to: Number(to) }
  return from !== '' && from !== to && hours.from <= 23 && hours.to <= 24 ? hours : undefined
}
