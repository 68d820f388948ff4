import { amount, MiB, setting } from './setting.ts'

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
}
