import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ProjectKeys, type RecipientList } from '../access/project-keys.ts'
import { readServerList } from '../access/server-lists.ts'
import type { FileOwner } from '../durable.ts'
import { systemCode } from '../errors.ts'
import { quote } from '../shell.ts'
import type { Layout } from '../store/layout.ts'
import { failed, ok, warning, type Finding } from './finding.ts'

const SUBJECT = 'recipients'
const READ = { byOwner: 0o400, byGroup: 0o040, byOthers: 0o004 }
const ENTER = { byOwner: 0o100, byGroup: 0o010, byOthers: 0o001 }

/**
 * Looks at whom uploads are encrypted to: whether somebody has shown that they can open them, and what the server may read.
 * @param given the recipients of the settings; where they name none, those that the server began with are looked at
 */
export async function examineRecipients(layout: Layout, given: RecipientList | undefined): Promise<Finding[]> {
  try {
    return await examine(layout, given)
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return [failed(SUBJECT, `they cannot be looked at: ${systemCode(error)}`, 'run doctor as root, or as the user that runs the server')]
  }
}

async function examine(layout: Layout, given: RecipientList | undefined): Promise<Finding[]> {
  const owner = await ownerOf(layout.basedir)
  const begun = await readServerList(layout.serverKeys.lists)
  const keys = new ProjectKeys({ places: layout, serverList: given ?? begun })
  const findings: Finding[] = []
  if (given?.digest !== begun?.digest) {
    findings.push(warning(SUBJECT, 'the server began with others than these settings name', 'give doctor the settings of the server, or start the server again'))
  }
  const trouble = await keys.findServerTrouble()
  const givenUp = await keys.findGivenUp()
  if (givenUp !== undefined) findings.push(warning(SUBJECT, givenUp, `set REPROSCHEMA_BACKEND_RECIPIENTS again, or move ${layout.serverKeys.proofs} away`))
  else if (keys.serverList === undefined) findings.push(ok(SUBJECT, 'none: uploads are not encrypted'))
  else findings.push(trouble === undefined ? ok(SUBJECT, 'the server\'s are proven') : failed(SUBJECT, `no token is issued: ${trouble}`, 'keys challenge'))
  for (const project of await keys.listOwn()) {
    const reason = await keys.findTrouble(project)
    const { recipients } = layout.keysOf(project)
    const closed = await findClosed(layout, project)
    // What root reads, its user may not: until that is mended a key is proven in vain.
    if (closed !== undefined) findings.push(failed(`${SUBJECT} of ${project}`, `the server may not read ${closed}`, `chown -R ${owner?.uid} ${quote(closed === layout.projects ? closed : dirname(recipients))}`))
    else if (reason !== undefined) findings.push(failed(`${SUBJECT} of ${project}`, `no token is issued: ${reason}`, `write ${recipients} anew, or run keys challenge ${project}`))
    else findings.push(ok(`${SUBJECT} of ${project}`, 'they are proven'))
  }
  return findings
}

/** Finds what of a project's own recipients the server may not read. Root may read everything; what matters is its user. */
export async function findClosed(layout: Layout, project: string): Promise<string | undefined> {
  const owner = await ownerOf(layout.basedir)
  const { recipients, proofs } = layout.keysOf(project)
  for (const path of [dirname(recipients), recipients, proofs, layout.projects]) {
    try {
      const found = await stat(path)
      const needed = found.isDirectory() ? ENTER : READ
      const right = found.uid === owner?.uid ? needed.byOwner : found.gid === owner?.gid ? needed.byGroup : needed.byOthers
      if ((found.mode & right) === 0) return path
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error
    }
  }
  return undefined
}

async function ownerOf(path: string): Promise<FileOwner | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return undefined
  }
}
