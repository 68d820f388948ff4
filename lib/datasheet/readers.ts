import { ProjectKeys, type ConfiguredList, type RecipientList } from '../access/project-keys.ts'
import { RecipientsError } from '../access/recipients-error.ts'
import { readProofs } from '../access/proofs.ts'
import { findClosed } from '../doctor/recipients.ts'
import type { Layout } from '../store/layout.ts'

/** Whom what arrives for a project is encrypted to. */
export interface Readers {
  /** As they are written, `age1…`; none where nothing is encrypted, undefined where only the server can know. */
  readonly recipients: readonly string[] | undefined
  /** When somebody showed that they hold a key of exactly these; RFC 3339 in UTC. */
  readonly provenAt: string | undefined
  /** Whether these are not the ones that are configured, but the ones that were proven last. */
  readonly isFallback: boolean
  /** Why the recipients that are configured are not relied on, in a sentence without a full stop: no token is issued then. */
  readonly trouble: string | undefined
}

/**
 * Finds whom a server encrypts to what arrives for a project.
 * @param serverList the recipients of the server; undefined where it has none
 */
export async function findReaders(layout: Layout, project: string, serverList: RecipientList | undefined): Promise<Readers> {
  const keys = new ProjectKeys({ places: layout, serverList })
  const closed = serverList === undefined ? undefined : await findClosed(layout, project)
  if (closed !== undefined) return { recipients: undefined, provenAt: undefined, isFallback: true, trouble: `the server may not read ${closed}` }
  const list = await keys.listFor(project)
  const configured = await findConfigured(keys, project)
  const proofs = [...(await readProofs(layout.keysOf(project).proofs)), ...(await readProofs(layout.serverKeys.proofs))]
  const proof = proofs.filter((each) => each.list.digest === list?.digest).toSorted((a, b) => a.provenAtMs - b.provenAtMs)[0]
  return {
    recipients: list?.recipients.map(({ text }) => text) ?? [],
    provenAt: proof === undefined ? undefined : new Date(proof.provenAtMs).toISOString(),
    isFallback: list?.digest !== configured?.list.digest,
    trouble: await keys.findTrouble(project),
  }
}

async function findConfigured(keys: ProjectKeys, project: string): Promise<ConfiguredList | undefined> {
  try {
    return await keys.configuredFor(project)
  } catch (error) {
    if (error instanceof RecipientsError) return undefined
    throw error
  }
}
