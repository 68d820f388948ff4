import { readFileSync } from 'node:fs'
import { AgeError } from '../crypt/age-error.ts'
import { MOST_RECIPIENTS, parseRecipientList, type RecipientList } from '../crypt/recipient-list.ts'
import { systemCode } from '../errors.ts'
import { setting } from './setting.ts'

const RECIPIENTS = `1 to ${MOST_RECIPIENTS} age recipients, each beginning with age1`

/** Whom what participants send is encrypted to. */
export const ENCRYPTION = {
  recipients: setting<RecipientList | undefined>({
    variable: 'REPROSCHEMA_BACKEND_RECIPIENTS',
    flag: 'recipients',
    placeholder: 'RECIPIENTS',
    description: 'age recipients that uploads are encrypted to, separated by commas',
    fallback: 'none: nothing is encrypted',
    allowed: RECIPIENTS,
    isSecret: true, // the secret key may be given here by mistake
    isNeverEmpty: true,
    parse: (text) => attempt(() => parseRecipientList(text)),
    explain: (text) => reasonOf(() => parseRecipientList(text)),
    otherwise: () => undefined,
  }),
  recipientsFile: setting<RecipientList | undefined>({
    variable: 'REPROSCHEMA_BACKEND_RECIPIENTS_FILE',
    flag: 'recipients-file',
    placeholder: 'FILE',
    description: 'file that holds them, one a line; `#` begins a comment',
    fallback: 'none',
    allowed: `a file that can be read and holds ${RECIPIENTS}`,
    isNeverEmpty: true,
    parse: (path) => attempt(() => readList(path)),
    explain: (path) => reasonOf(() => readList(path)),
    otherwise: () => undefined,
  }),
}

function readList(path: string): RecipientList {
  return parseRecipientList(readFileSync(path, 'utf8'))
}

function attempt(read: () => RecipientList): RecipientList | undefined {
  try {
    return read()
  } catch (error) {
    if (!isExpected(error)) throw error
    return undefined
  }
}

function reasonOf(read: () => RecipientList): string | undefined {
  try {
    read()
    return undefined
  } catch (error) {
    if (!isExpected(error)) throw error
    return error.message
  }
}

function isExpected(error: unknown): error is Error {
  return error instanceof AgeError || systemCode(error) !== undefined
}
