import type { ProjectKeys } from '../access/project-keys.ts'
import type { RecipientList } from '../crypt/recipient-list.ts'

/** Whom the files of one form are encrypted to: certain only when its token has come, which may be after the files. */
export class FormReaders {
  readonly #keys: ProjectKeys
  #expected: RecipientList | undefined

  constructor(keys: ProjectKeys) {
    this.#keys = keys
    this.#expected = keys.serverList
  }

  /** Who will probably read a file that begins now; undefined where nothing is encrypted. */
  get expected(): RecipientList | undefined {
    return this.#expected
  }

  /** Gives who reads what is sent to a project at this moment; undefined where nothing is encrypted. */
  async learn(project: string): Promise<RecipientList | undefined> {
    this.#expected = await this.#keys.listFor(project)
    return this.#expected
  }
}
