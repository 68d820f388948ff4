import type { Layout } from '../store/layout.ts'
import { readArrivals, type Arrivals } from './arrivals.ts'
import { forEachBounded } from './bounded.ts'
import { digestCopies } from './copies.ts'
import { inspectUpload, type Inspected } from './inspection.ts'
import type { Keyring } from './keyring.ts'
import { groupSealed, senderOf } from './sealed-session.ts'
import type { SealedUpload } from './sealed-upload.ts'
import type { SessionState } from './session-state.ts'
import { groupSessions, type Session } from './session.ts'
import { sortArrivals, type Arrival, type Upload } from './upload.ts'
import { Vault } from './vault.ts'

const AT_ONCE = 16

/** All that has arrived in a project, put in order. */
export interface Collection {
  readonly project: string
  readonly vault: Vault
  readonly arrivals: Arrivals
  readonly sessions: readonly Session[]
  /** What is encrypted, and was not looked into for want of a key. */
  readonly sealed: readonly SessionState[]
  readonly sealedUploads: readonly SealedUpload[]
  readonly messages: readonly Arrival[]
  readonly foreign: readonly Arrival[]
  readonly repeats: number
}

interface CollectOptions {
  readonly arrivals?: Arrivals
  readonly keyring?: Keyring | undefined
  readonly isThorough?: boolean
  readonly count?: ((done: number, of: number) => void) | undefined
}

/**
 * Puts what has arrived in a project in order. Of each upload only the ends, the directory and the answers are read: it
 * takes as long for large recordings as for small ones.
 * @param arrivals what has arrived, where that is not to be read now
 * @param keyring what opens encrypted files; without it they are known by their receipts alone
 * @param isThorough whether recordings are read too, where slices came more than once and there is a choice
 * @param count is told how many uploads there are and how many were looked at
 */
export async function collect(
  layout: Layout,
  project: string,
  { arrivals, keyring, isThorough, count }: CollectOptions = {},
): Promise<Collection> {
  const arrived = arrivals ?? (await readArrivals(layout, project))
  const vault = new Vault(layout.responsesOf(project), keyring)
  const { uploads, messages, foreign, repeats } = sortArrivals(await digestCopies(arrived.submissions, vault))
  const inspected = new Array<Inspected | SealedUpload>(uploads.length)
  let done = 0
  await forEachBounded(uploads.entries(), AT_ONCE, async ([index, upload]) => {
    inspected[index] = await inspectUpload(upload, vault, isThorough)
    count?.(++done, uploads.length)
  })
  const sealed = inspected.filter((each) => each.type === 'sealed')
  const looked = inspected.filter((each) => each.type !== 'sealed')
  return {
    project,
    vault,
    arrivals: arrived,
    sessions: groupSessions(looked, sendersOf(sealed)),
    sealed: groupSealed(sealed, sendersOf(looked)),
    sealedUploads: sealed,
    messages,
    foreign,
    repeats,
  }
}

function sendersOf(uploads: readonly { readonly upload: Upload }[]): Set<string> {
  return new Set(uploads.map(({ upload }) => senderOf(upload)))
}
