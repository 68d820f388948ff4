import { resolve } from 'node:path'
import { ACCESS } from './access.ts'
import { LIMITS } from './limits.ts'
import { setting, wholeNumber } from './setting.ts'

/** Every setting there is. The help, the README and the checks of the start all come from here. */
export const SETTINGS = {
  host: setting({
    variable: 'HOST',
    flag: 'host',
    placeholder: 'ADDRESS',
    description: 'address to listen on',
    fallback: '0.0.0.0',
    allowed: 'an IP address or a host name',
    parse: (text) => (/^[A-Za-z0-9.:_-]{1,255}$/.test(text) ? text : undefined),
    otherwise: () => '0.0.0.0',
  }),
  port: setting({
    variable: 'PORT',
    flag: 'port',
    placeholder: 'N',
    description: 'port to listen on; 0 takes a free one',
    fallback: '8000',
    ...wholeNumber(0, 65_535),
    otherwise: () => 8000,
  }),
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
  ...LIMITS,
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
