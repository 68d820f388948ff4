import type { Directories } from '../directories.ts'
import { isObject } from '../json.ts'
import { isProject } from '../project.ts'
import { sha256Of } from '../sha256.ts'
import { Records } from './records.ts'
import { newSecret } from './secret.ts'

const CLIENT_ID = /^[0-9a-f]{32}$/

/** A registered web app: where its participants are sent with their auth token. */
export interface Client {
  readonly callbackUrl: string
  /** The only project it may ask tokens for, or undefined where it was registered for none. */
  readonly project: string | undefined
}

/** The web apps that were registered, on disk under the SHA-256 of their `client_id`. */
export class Clients {
  readonly #records: Records

  constructor(directory: string, directories: Directories) {
    this.#records = new Records(directory, directories)
  }

  /** Registers a web app and gives its `client_id`, 32 hex digits; it is durable when the promise is fulfilled. */
  async register(client: Client): Promise<string> {
    const clientId = newSecret()
    await this.#records.add(sha256Of(clientId), {
      callback_url: client.callbackUrl,
      ...(client.project === undefined ? {} : { project: client.project }),
      registered_at: new Date().toISOString(),
    })
    return clientId
  }

  /** Finds a registered web app. */
  async find(clientId: string): Promise<Client | undefined> {
    return CLIENT_ID.test(clientId) ? parseClient(await this.#records.find(sha256Of(clientId))) : undefined
  }
}

function parseClient(record: unknown): Client | undefined {
  if (!isObject(record)) return undefined
  const { callback_url: callbackUrl, project } = record
  if (typeof callbackUrl !== 'string') return undefined
  if (project !== undefined && (typeof project !== 'string' || !isProject(project))) return undefined
  return { callbackUrl, project }
}
