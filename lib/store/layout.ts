import { join } from 'node:path'
import { isProject } from '../project.ts'

/** Where what is known of the recipients of one list lies. */
export interface KeyPlace {
  /** Lists whose keys were shown to be there. */
  readonly proofs: string
  /** Codes that were given out and may come back. */
  readonly challenges: string
}

/**
 * Where everything lies below the base directory. Every path the server uses is made here. Those that each submission
 * asks for are not made by `join`, which costs more than all else it does with them.
 */
export class Layout {
  readonly basedir: string
  readonly responses: string
  readonly staging: string
  readonly receipts: string
  readonly tokens: string
  readonly clients: string
  readonly logs: string
  /** Holds a directory for each project that has recipients of its own. */
  readonly projects: string
  /** Of the server's recipients, which hold for every other project. */
  readonly serverKeys: KeyPlace & { readonly lists: string }
  readonly audit: string
  /** Holds what servers note of their settings. */
  readonly servers: string

  constructor(basedir: string) {
    this.basedir = basedir
    this.responses = join(basedir, 'uploads', 'responses')
    this.staging = join(basedir, 'uploads', 'staging')
    this.receipts = join(basedir, 'receipts')
    this.tokens = join(basedir, 'tokens')
    this.clients = join(basedir, 'clients')
    this.logs = join(basedir, 'logs')
    this.projects = join(basedir, 'projects')
    this.serverKeys = { ...keyPlace(join(basedir, 'keys')), lists: join(basedir, 'keys', 'lists') }
    this.audit = join(basedir, 'audit')
    this.servers = join(basedir, 'servers')
  }

  /** The record of an auth token, by the SHA-256 of the token: while it is there the token is good, until it expires. */
  recordOfToken(tokenSha256: string): string {
    return `${this.tokens}/${tokenSha256}.json`
  }

  /** The directory of a project's files. */
  responsesOf(project: string): string {
    return `${this.responses}/${segmentOf(project)}`
  }

  /** Where a project's own recipients are, and what belongs to them. */
  keysOf(project: string): KeyPlace & { readonly recipients: string } {
    const directory = `${this.projects}/${segmentOf(project)}`
    const { proofs, challenges } = keyPlace(directory)
    return { proofs, challenges, recipients: `${directory}/recipients` }
  }

  /** The directory of a project's receipts. */
  receiptsOf(project: string): string {
    return `${this.receipts}/${segmentOf(project)}`
  }
}

function keyPlace(directory: string): KeyPlace {
  return { proofs: `${directory}/proofs`, challenges: `${directory}/challenges` }
}

function segmentOf(project: string): string {
  if (!isProject(project)) throw new Error('this is not the name of a project')
  return project
}
