import { readFileSync } from 'node:fs'
import { systemCode } from '../errors.ts'
import { setting } from './setting.ts'

/** Who may use the server. */
export const ACCESS = {
  token: setting<string | undefined>({
    variable: 'REPROSCHEMA_BACKEND_TOKEN',
    placeholder: 'TOKEN',
    description: 'the admin token; never printed',
    fallback: 'made anew at each start, and printed',
    allowed: '8 to 200 visible ASCII characters',
    isSecret: true,
    parse: parseToken,
    otherwise: () => undefined,
  }),
  tokenFile: setting<string | undefined>({
    variable: 'REPROSCHEMA_BACKEND_TOKEN_FILE',
    flag: 'token-file',
    placeholder: 'FILE',
    description: 'file that holds the admin token',
    fallback: 'none',
    allowed: 'a file that can be read and holds 8 to 200 visible ASCII characters',
    parse: readToken,
    otherwise: () => undefined,
  }),
  corsOrigins: setting<readonly string[] | '*'>({
    variable: 'REPROSCHEMA_BACKEND_CORS_ORIGINS',
    flag: 'cors-origins',
    placeholder: 'ORIGINS',
    description: 'origins whose pages may use the server, separated by commas',
    fallback: '*',
    allowed: '* or origins such as https://study.example.org, separated by commas',
    parse: parseOrigins,
    otherwise: () => '*',
  }),
}

function parseToken(text: string): string | undefined {
  return /^[\x21-\x7e]{8,200}$/.test(text) ? text : undefined
}

function readToken(path: string): string | undefined {
  try {
    return parseToken(readFileSync(path, 'utf8').trim())
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return undefined
  }
}

function parseOrigins(text: string): readonly string[] | '*' | undefined {
  if (text.trim() === '*') return '*'
  const origins = text.split(/[\s,]+/).filter((origin) => origin !== '')
  return origins.length > 0 && origins.every(isOrigin) ? Object.freeze(origins) : undefined
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && /^https?:/.test(text) && new URL(text).origin === text
}
