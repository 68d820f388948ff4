import { join } from 'node:path'
import { isProject } from '../project.ts'

/** Where everything lies below the base directory. Every path the server uses is made here. */
export class Layout {
  readonly basedir: string
  readonly responses: string
  readonly staging: string
  readonly receipts: string
  readonly tokens: string
  readonly clients: string
  readonly logs: string

  constructor(basedir: string) {
    this.basedir = basedir
    this.responses = join(basedir, 'uploads', 'responses')
    this.staging = join(basedir, 'uploads', 'staging')
    this.receipts = join(basedir, 'receipts')
    this.tokens = join(basedir, 'tokens')
    this.clients = join(basedir, 'clients')
    this.logs = join(basedir, 'logs')
  }

  /** The directory of a project's files. */
  responsesOf(project: string): string {
    return join(this.responses, segmentOf(project))
  }

  /** The directory of a project's receipts. */
  receiptsOf(project: string): string {
    return join(this.receipts, segmentOf(project))
  }
}

function segmentOf(project: string): string {
  if (!isProject(project)) throw new Error('this is not the name of a project')
  return project
}
