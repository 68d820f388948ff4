import { resolve } from 'node:path'
import { ACCESS } from './access.ts'
import { ENCRYPTION } from './encryption.ts'
import { LIMITS } from './limits.ts'
import { LISTENING } from './listening.ts'
import { OBSERVATION } from './observation.ts'
import { PROCESSES } from './processes.ts'
import { setting } from './setting.ts'

/** Every setting there is. The help, the README and the checks of the start all come from here. */
export const SETTINGS = {
  ...LISTENING,
  basedir: setting({
    variable: 'REPROSCHEMA_BACKEND_BASEDIR',
    flag: 'basedir',
    placeholder: 'DIRECTORY',
    description: 'directory that holds everything the server keeps',
    fallback: 'reproschema_backend in the working directory',
    allowed: 'the path of a directory',
    parse: (text) => (text.includes('\0') ? undefined : resolve(text)),
    otherwise: () => resolve('reproschema_backend'),
  }),
  ...ACCESS,
  ...ENCRYPTION,
  ...LIMITS,
  ...OBSERVATION,
  ...PROCESSES,
  isDevelopment: setting({
    variable: 'DEV8dac6d02a913',
    placeholder: '1',
    description: 'development mode: the console shows everything, local callbacks are allowed',
    fallback: 'not set',
    allowed: 'anything',
    parse: () => true,
    otherwise: () => false,
  }),
}
