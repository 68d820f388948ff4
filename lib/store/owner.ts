import { readFileSync, readlinkSync } from 'node:fs'
import { getPriority, hostname } from 'node:os'
import { systemCode } from '../errors.ts'
import { isObject, parseJson } from '../json.ts'

/** Which process something on disk belongs to, in words that another process can check. */
export interface Owner {
  readonly host: string
  /** machine-id(5), or empty where there is none, as in most containers. */
  readonly machine: string
  /**
   * The kernel's boot and PID namespace: only within both does a process id mean anything to another process. The boot is
   * empty where systemd hides it (`ProcSubset=pid`), as from the server on a VM and not from the commands there.
   */
  readonly boot: string
  readonly namespace: string
  readonly pid: number
  /** When the process began, in clock ticks since the boot: process ids are used again. Empty where there is no /proc. */
  readonly began: string
}

/** Describes this process. */
export function describeSelf(): Owner {
  const pid = Number(orEmpty(() => readlinkSync('/proc/self')))
  return {
    host: hostname(),
    machine: orEmpty(() => readFileSync('/etc/machine-id', 'utf8').trim()),
    boot: orEmpty(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    namespace: orEmpty(() => readlinkSync('/proc/self/ns/pid')),
    pid,
    began: beginningOf(pid) ?? '',
  }
}

/** Reads the description of an owner, or gives undefined where the text is none. */
export function parseOwner(text: string): Owner | undefined {
  return toOwner(parseJson(text))
}

/** Takes a value that was read for the description of an owner, or gives undefined where it is none. */
export function toOwner(value: unknown): Owner | undefined {
  if (!isObject(value)) return undefined
  const { host, machine, boot, namespace, pid, began } = value
  if (typeof host !== 'string' || typeof machine !== 'string' || typeof boot !== 'string' || typeof namespace !== 'string') return undefined
  if (typeof pid !== 'number' || typeof began !== 'string') return undefined
  return { host, machine, boot, namespace, pid, began }
}

/** Says whether the owner still runs; undefined where this process cannot know. */
export function isRunning(owner: Owner, self: Owner): boolean | undefined {
  if (owner.host !== self.host || owner.machine !== self.machine) return undefined
  const hasName = self.machine !== ''
  const isOneBoot = owner.boot === self.boot || (hasName && (owner.boot === '' || self.boot === '')) // hidden: number and beginning tell
  if (!isOneBoot) return hasName ? false : undefined // this machine was started again, as after a power cut
  if (owner.namespace !== self.namespace || self.began === '') return undefined
  const began = beginningOf(owner.pid)
  if (began === undefined) return isThere(owner.pid) ? undefined : false // hidden: `ProtectProc=invisible`
  return began === owner.began
}

// proc(5): fields 3 and 22 of /proc/PID/stat; the second, the command, may itself hold blanks and parentheses. A zombie
// is dead: it only waits for its parent to ask how it ended.
function beginningOf(pid: number): string | undefined {
  const stat = orEmpty(() => readFileSync(`/proc/${pid}/stat`, 'utf8'))
  if (stat === '') return undefined
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? '' : (fields[19] ?? '')
}

// getpriority(2) tells of processes that /proc hides: it asks for no permission.
function isThere(pid: number): boolean {
  return orEmpty(() => String(getPriority(pid))) !== ''
}

function orEmpty(read: () => string): string {
  try {
    return read()
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return '' // not Linux, or no such process
  }
}
