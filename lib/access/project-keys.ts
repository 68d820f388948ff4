import type { RecipientList } from '../crypt/recipient-list.ts'
import { entriesOf } from '../directories.ts'
import { HttpError } from '../errors.ts'
import { isProject } from '../project.ts'
import { readOwnList, type OwnList } from './own-list.ts'
import { readProofs, type Proof } from './proofs.ts'
import { RecipientsError } from './recipients-error.ts'

export type { RecipientList } from '../crypt/recipient-list.ts'

const TRUST_MS = 1000
const MOST_TRUSTED = 1000

/** Where recipients and their proofs are. */
export interface KeyPlaces {
  readonly projects: string
  readonly serverKeys: { readonly proofs: string }
  readonly keysOf: (project: string) => { readonly recipients: string; readonly proofs: string }
}

/** Recipients that are configured, whether they are proven or not. */
export interface ConfiguredList {
  readonly list: RecipientList
  /** Whether they are a project's own. */
  readonly isOwn: boolean
}

/** What the keys of the projects work with. */
export interface ProjectKeysParts {
  readonly places: KeyPlaces
  /** Undefined: nothing is encrypted. */
  readonly serverList: RecipientList | undefined
  /** Is told, once for each reason, that files of a project are not encrypted to the recipients that are configured. */
  readonly onFallback?: (project: string, reason: string) => void
}

/**
 * Whom the files of each project are encrypted to: the project's own recipients, else the server's. Only recipients who
 * have shown that they hold their key are relied on: what is encrypted to a key that nobody has is lost for ever.
 */
export class ProjectKeys {
  /** The server's recipients; undefined where nothing is encrypted. */
  readonly serverList: RecipientList | undefined
  readonly #places: KeyPlaces
  readonly #onFallback: (project: string, reason: string) => void
  readonly #trusted = new Map<string, { readonly readAtMs: number; readonly reading: Promise<unknown> }>() // the oldest first
  readonly #told = new Map<string, string>()

  constructor({ places, serverList, onFallback = () => undefined }: ProjectKeysParts) {
    this.serverList = serverList
    this.#places = places
    this.#onFallback = onFallback
  }

  /**
   * Gives whom new files of a project are encrypted to: the configured recipients where they are proven, else those that
   * were proven last, for the project before the server, else the configured ones. Undefined where nothing is encrypted.
   */
  async listFor(project: string): Promise<RecipientList | undefined> {
    const { serverList } = this
    const own = await this.#ownList(project)
    const reason = await this.#findTrouble(own, project)
    if (reason === undefined) this.#told.delete(project)
    if (serverList === undefined) {
      if (reason !== undefined) this.#tell(project, reason) // its list came while the server ran, which had begun without any
      return undefined
    }
    const configured = own.type === 'good' ? own.list : serverList
    if (reason === undefined) return configured
    const lastOwn = own.type === 'none' ? undefined : (await this.#proofsOf(project))[0]
    const chosen = lastOwn?.list ?? (await this.#provenServerList(serverList)) ?? configured
    if (chosen.digest !== configured.digest || own.type === 'bad') this.#tell(project, reason)
    return chosen
  }

  /** Throws `key_not_proven` unless exactly the recipients that are configured for a project are proven. */
  async requireProven(project: string): Promise<void> {
    const reason = await this.findTrouble(project)
    if (reason !== undefined) throw new HttpError('key_not_proven', { detail: reason })
  }

  /** Says in one sentence why a project's recipients cannot be relied on; undefined where they can, or nothing is encrypted. */
  async findTrouble(project: string): Promise<string | undefined> {
    return this.#findTrouble(await this.#ownList(project), project)
  }

  /** Gives the recipients that are configured for a project, or for the server; throws a `RecipientsError` where they cannot be used. */
  async configuredFor(project: string | undefined): Promise<ConfiguredList> {
    const own = project === undefined ? { type: 'none' as const } : await this.#ownList(project)
    if (own.type === 'bad') throw new RecipientsError(`${own.reason}.`)
    if (this.serverList === undefined) throw new RecipientsError('The server has no recipients: set REPROSCHEMA_BACKEND_RECIPIENTS, or give --recipients or --recipients-file.')
    return own.type === 'none' ? { list: this.serverList, isOwn: false } : { list: own.list, isOwn: true }
  }

  /** Gives the projects that have recipients of their own, good or bad. */
  async listOwn(): Promise<string[]> {
    const projects: string[] = []
    for (const entry of await entriesOf(this.#places.projects)) {
      if (isProject(entry) && (await this.#ownList(entry)).type !== 'none') projects.push(entry)
    }
    return projects.toSorted()
  }

  /** Throws a `RecipientsError` where a project has recipients of its own and the server has none. */
  async requireServerList(): Promise<void> {
    if (this.serverList !== undefined) return
    const [project] = await this.listOwn()
    if (project === undefined) return
    const { recipients } = this.#places.keysOf(project)
    throw new RecipientsError(`${recipients} names recipients, and the server has none: set REPROSCHEMA_BACKEND_RECIPIENTS too, or move that file away.`)
  }

  /** Says in one sentence why the server's recipients cannot be relied on; undefined where they can, or there are none. */
  async findServerTrouble(): Promise<string | undefined> {
    const { serverList } = this
    if (serverList === undefined || (await this.#serverProofs()).some(({ list }) => list.digest === serverList.digest)) return undefined
    return 'nobody has shown yet that they hold a key of the server\'s recipients: see keys challenge'
  }

  /** Says in one sentence that nothing is encrypted any more; undefined where it is, or never was to be. */
  async findGivenUp(): Promise<string | undefined> {
    if (this.serverList !== undefined || (await this.#serverProofs()).length === 0) return undefined
    return 'uploads are not encrypted any more: the server has no recipients, and some were proven before'
  }

  async #findTrouble(own: OwnList, project: string): Promise<string | undefined> {
    const { serverList } = this
    if (own.type === 'bad') return own.reason
    if (serverList === undefined) {
      return own.type === 'none' ? undefined : `the project ${project} has recipients of its own, and the server has none: set REPROSCHEMA_BACKEND_RECIPIENTS too`
    }
    if (own.type === 'none') return this.findServerTrouble()
    const isProven = ({ list }: Proof) => list.digest === own.list.digest
    if ((await this.#proofsOf(project)).some(isProven) || (await this.#serverProofs()).some(isProven)) return undefined // both were opened with a key
    return `nobody has shown yet that they hold a key of the recipients of ${project}: see keys challenge ${project}`
  }

  async #provenServerList({ digest }: RecipientList): Promise<RecipientList | undefined> {
    const proofs = await this.#serverProofs()
    return (proofs.find(({ list }) => list.digest === digest) ?? proofs[0])?.list
  }

  #ownList(project: string): Promise<OwnList> {
    return this.#trust(this.#places.keysOf(project).recipients, readOwnList)
  }

  #proofsOf(project: string): Promise<readonly Proof[]> {
    return this.#trust(this.#places.keysOf(project).proofs, readProofs)
  }

  #serverProofs(): Promise<readonly Proof[]> {
    return this.#trust(this.#places.serverKeys.proofs, readProofs)
  }

  // What was read less than a second ago is not read again; of a failure nothing is kept.
  #trust<Value>(path: string, read: (path: string) => Promise<Value>): Promise<Value> {
    const nowMs = performance.now()
    const trusted = this.#trusted.get(path)
    if (trusted !== undefined && nowMs - trusted.readAtMs < TRUST_MS) return trusted.reading as Promise<Value> // a path is read in one way
    const reading = read(path)
    this.#trusted.delete(path)
    this.#trusted.set(path, { readAtMs: nowMs, reading })
    reading.catch(() => this.#trusted.delete(path))
    const [oldest] = this.#trusted.keys()
    if (this.#trusted.size > MOST_TRUSTED && oldest !== undefined) this.#trusted.delete(oldest)
    return reading
  }

  #tell(project: string, reason: string): void {
    if (this.#told.get(project) === reason) return
    this.#told.set(project, reason)
    this.#onFallback(project, reason)
  }
}
