import { constants, type Dirent } from 'node:fs'
import { access, mkdir, readdir, rm, stat, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createWhole, putInPlace, syncDirectory } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { findStats } from '../identity.ts'
import { quote } from '../shell.ts'
import type { Layout } from '../store/layout.ts'
import { fileSystemOf } from './file-system.ts'
import { failed, ok, warning, type Finding } from './finding.ts'
import { findRights } from './rights.ts'

const GiB = 1024 ** 3
const FEW_INODES = 10_000
const OWNER_RIGHTS = 0o700

/**
 * Looks at the base directory: whose it is, who may read it, its file system, its room, and whether what a submission
 * does works in it.
 * @param id of this examination, in the names of what it makes and removes
 */
export async function examineBasedir(layout: Layout, reserveBytes: number | undefined, id: string): Promise<Finding[]> {
  const start = 'start the server once, or give the right --basedir'
  try {
    if (!(await stat(layout.basedir)).isDirectory()) throw new Error('it is no directory')
    const isServers = (await findStats(layout.responses)) !== undefined
    if (!isServers) return [failed('base directory', `${layout.basedir} is not the base directory of a server: it has no directory uploads/responses`, start)]
    await readdir(layout.responses)
  } catch (error) {
    const says = `${layout.basedir} cannot be used: ${systemCode(error) ?? String(error)}`
    const change = systemCode(error) === 'EACCES' ? 'run doctor as root, or as the user that runs the server' : start
    return [failed('base directory', says, change)]
  }
  return [...(await examineOwners(layout)), ...(await examineFileSystem(layout, reserveBytes)), await tryStoring(layout, id)]
}

async function examineOwners(layout: Layout): Promise<Finding[]> {
  const { basedir } = layout
  const { uid, gid, open, foreign, closed } = await findRights(basedir, await pathsOf(layout))
  return [
    foreign.length === 0
      ? ok('owner', `${basedir} and its directories belong to user ${uid}`)
      : failed('owner', `${first(foreign)} ${foreign.length === 1 ? 'belongs' : 'belong'} to another user than ${basedir}`, `chown -RH ${uid}:${gid} ${quote(basedir)}`),
    closed.length > 0
      ? failed('modes', `the server may not read and write ${first(closed)}`, `chmod u+rwx ${closed.map(quote).join(' ')}`)
      : open.length > 0
        ? warning('modes', `other users of this machine may read ${first(open)}`, `chmod -R go= ${quote(basedir)}`)
        : ok('modes', 'only the server may read what it keeps'),
  ]
}

// Not what participants sent, of which there may be any number. Recipients may be another user's: who may read them is looked at with them.
async function pathsOf(layout: Layout): Promise<string[]> {
  const { responses, staging, receipts, tokens, clients, logs, serverKeys, audit, servers } = layout
  const keys = dirname(serverKeys.lists)
  const directories = [dirname(responses), responses, staging, receipts, tokens, clients, logs, keys, audit, servers]
  const inner = await Promise.all([responses, receipts, keys].map((path) => entriesIn(path, (entry) => entry.isDirectory())))
  const files = await Promise.all([tokens, clients, logs, audit].map((path) => entriesIn(path)))
  return [...directories, ...inner.flat(), ...files.flat()]
}

function first(paths: readonly string[]): string {
  return paths.length === 1 ? String(paths[0]) : `${paths[0]} and ${paths.length - 1} more`
}

async function entriesIn(directory: string, isSought: (entry: Dirent) => boolean = () => true): Promise<string[]> {
  try {
    await access(directory, constants.X_OK) // else its names can be read, and nothing else of what is in it
    return (await readdir(directory, { withFileTypes: true })).filter(isSought).map(({ name }) => join(directory, name))
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return [] // not there, or not for us: the directory itself is looked at too
  }
}

async function examineFileSystem(layout: Layout, reserve: number | undefined): Promise<Finding[]> {
  const { type, bavail, blocks, bsize, files, ffree } = await statfs(layout.basedir)
  const { name, trouble } = fileSystemOf(type)
  const [freeBytes, reserveBytes] = [bavail * bsize, reserve ?? Math.min(GiB, 0.05 * blocks * bsize)]
  const room = `${toGiB(freeBytes)} are free, ${toGiB(reserveBytes)} are kept in reserve`
  const more = 'move the base directory to a larger disk, or set a smaller REPROSCHEMA_BACKEND_RESERVE_BYTES'
  const isFew = files > 0 && ffree < FEW_INODES
  return [
    trouble === undefined ? ok('file system', name) : warning('file system', `${name}: ${trouble}`, 'put the base directory on ext4 or xfs'),
    freeBytes < reserveBytes
      ? failed('free space', `${room}: uploads are refused`, more)
      : freeBytes < 2 * reserveBytes
        ? warning('free space', room, more)
        : ok('free space', room),
    isFew ? failed('inodes', `only ${ffree} are free`, 'move the base directory to a file system with more') : ok('inodes', files === 0 ? 'as many as there is room for' : `${ffree} are free`),
  ]
}

function toGiB(bytes: number): string {
  return `${(bytes / GiB).toFixed(1)} GiB`
}

// As a submission is stored: written and synced in staging, linked to its final name, which no other may take.
async function tryStoring(layout: Layout, id: string): Promise<Finding> {
  const [from, to] = [join(layout.staging, id), join(layout.responses, id)]
  if ((await findStats(layout.staging)) === undefined) return warning('storing', 'not tried: there is no uploads/staging, as in a copy, and before a server was first started here')
  try {
    await mkdir(from, OWNER_RIGHTS)
    await mkdir(to, OWNER_RIGHTS)
    for (const name of ['one', 'other']) await createWhole(join(from, name), `${name}\n`)
    await putInPlace(join(from, 'one'), join(to, 'stored'))
    await syncDirectory(to)
    const isExclusive = await putInPlace(join(from, 'other'), join(to, 'stored')).then(
      () => false,
      (error: unknown) => systemCode(error) === 'EEXIST',
    )
    if (!isExclusive) return failed('storing', 'a link replaced a file that was there', 'put the base directory on ext4 or xfs')
    return ok('storing', 'write, fsync and link work from uploads/staging to uploads/responses')
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    return failed('storing', STORING[code]?.says ?? String(error), STORING[code]?.change)
  } finally {
    for (const path of [from, to]) await Promise.allSettled([rm(path, { recursive: true, force: true })])
  }
}

const NO_LINKS = { says: 'this file system has no hard links', change: 'put the base directory on ext4 or xfs' }
const STORING: Readonly<Record<string, { says: string; change: string } | undefined>> = {
  EXDEV: { says: 'uploads/staging and uploads/responses are on different file systems', change: 'mount one file system for all of the base directory' },
  EPERM: NO_LINKS,
  ENOTSUP: NO_LINKS,
  EOPNOTSUPP: NO_LINKS,
  ENOSYS: NO_LINKS,
  EROFS: { says: 'the file system is mounted read-only', change: 'mount -o remount,rw; systemd: ReadWritePaths=' },
  EACCES: { says: 'this user may not write there', change: 'run doctor as root, or as the user that runs the server' },
  ENOSPC: { says: 'the disk is full', change: 'make room' },
  EDQUOT: { says: 'the quota is used up', change: 'raise it' },
}
