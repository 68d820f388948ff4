import { execFile } from 'node:child_process'
import { access, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { systemCode } from '../errors.ts'
import type { Layout } from '../store/layout.ts'
import { describeSelf, isRunning, parseOwner } from '../store/owner.ts'
import { failed, ok, warning, type Finding } from './finding.ts'

const LEAST_NODE = [20, 11] as const
const [FIRST_YEAR, LAST_YEAR] = [2025, 2100]
const UNIT = 'reproschema-backend.service'
const OTHER_FILES = 200 // logs, receipts, directories being synced

/** What the machine is held against. */
export interface MachineParts {
  readonly layout: Layout
  /** Whether the base directory is a copy of one that a server keeps: the processes that it names are not its own. */
  readonly isCopy: boolean
  /** Of one process. */
  readonly maxConnections: number
  readonly nodeVersion: string
}

/** Looks at the version of Node, the clock, the server's process and its limit of open files, and the systemd unit. */
export async function examineMachine({ layout, isCopy, maxConnections, nodeVersion }: MachineParts): Promise<Finding[]> {
  const pids = isCopy ? [] : await runningServers(layout)
  const isBooted = await isSystemdBooted()
  return [
    examineNode(nodeVersion),
    examineClock(new Date()),
    pids.length === 0
      ? warning('server', 'none runs on this base directory on this machine', isBooted ? `systemctl start ${UNIT}` : 'start the server')
      : ok('server', `runs, pid ${pids.join(', ')}`),
    ...(await Promise.all(pids.map((pid) => examineOpenFiles(pid, maxConnections)))),
    isBooted ? await examineUnit() : ok('unit', 'not checked: systemd does not run here'),
  ]
}

function examineNode(version: string): Finding {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number)
  const isEnough = major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1])
  return isEnough ? ok('Node', version) : failed('Node', `${version} is too old`, `install Node ${LEAST_NODE.join('.')} or newer`)
}

function examineClock(now: Date): Finding {
  const year = now.getUTCFullYear()
  if (year >= FIRST_YEAR && year <= LAST_YEAR) return ok('clock', now.toISOString().slice(0, 19))
  return failed('clock', `it says ${year}: tokens expire at a wrong time`, 'timedatectl set-ntp true')
}

async function runningServers(layout: Layout): Promise<number[]> {
  const self = describeSelf()
  const pids: number[] = []
  for (const entry of await entriesOf(layout.staging)) {
    const owner = parseOwner(await readOrEmpty(join(layout.staging, entry, 'owner.json')))
    if (owner !== undefined && isRunning(owner, self) === true) pids.push(owner.pid)
  }
  return pids
}

// Each connection may have one file open beside it.
async function examineOpenFiles(pid: number, maxConnections: number): Promise<Finding> {
  const limit = /^Max open files +(\d+)/m.exec(await readOrEmpty(`/proc/${pid}/limits`))?.[1]
  const needed = 2 * maxConnections + OTHER_FILES
  if (limit === undefined) return warning('open files', `the limit of pid ${pid} cannot be read`)
  if (Number(limit) >= needed) return ok('open files', `${limit} for ${maxConnections} connections`)
  const change = `systemd: LimitNOFILE=${needed}; or REPROSCHEMA_BACKEND_MAX_CONNECTIONS=${Math.max(1, Math.floor((Number(limit) - OTHER_FILES) / 2))}`
  return failed('open files', `pid ${pid} may open ${limit}, and ${maxConnections} connections need ${needed}`, change)
}

// sd_booted(3)
async function isSystemdBooted(): Promise<boolean> {
  return access('/run/systemd/system').then(
    () => true,
    () => false,
  )
}

async function examineUnit(): Promise<Finding> {
  const { LoadState, ActiveState, UnitFileState } = await showUnit()
  if (LoadState !== 'loaded') return warning('unit', `systemd has no ${UNIT}`, 'install the unit from deploy/')
  if (ActiveState !== 'active') return failed('unit', `${UNIT} is ${ActiveState}`, `systemctl start ${UNIT}; journalctl -u ${UNIT} says why`)
  const isStarted = UnitFileState === 'enabled' || UnitFileState === 'indirect'
  return isStarted ? ok('unit', `${UNIT} is active`) : warning('unit', `${UNIT} is ${UnitFileState}: the next boot may not start it`, `systemctl enable ${UNIT}`)
}

async function showUnit(): Promise<Readonly<Record<string, string | undefined>>> {
  try {
    const { stdout } = await promisify(execFile)('systemctl', ['show', UNIT, '--property=LoadState,ActiveState,UnitFileState'])
    return Object.fromEntries(stdout.split('\n').map((line) => [line.split('=')[0] ?? '', line.slice(line.indexOf('=') + 1)]))
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return {} // it is not there to be asked
  }
}

async function entriesOf(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return []
  }
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return ''
  }
}
