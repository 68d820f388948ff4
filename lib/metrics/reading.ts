import type { Description, Family, Labels, Merge } from './family.ts'

/** A number that is looked up when somebody asks for it, where there is one. */
export class Reading {
  readonly #description: Description & { readonly type?: 'counter' | 'gauge'; readonly merge: Merge }
  readonly #look: () => number | undefined | Iterable<readonly [Labels, number]>

  /** @param look gives the number, or one for each value of its labels; costs next to nothing */
  constructor(
    description: Description & { readonly type?: 'counter' | 'gauge'; readonly merge: Merge },
    look: () => number | undefined | Iterable<readonly [Labels, number]>,
  ) {
    this.#description = description
    this.#look = look
  }

  /** Looks it up. */
  read(): Family {
    const found = this.#look() ?? []
    const values = typeof found === 'number' ? [[{}, found] as const] : [...found]
    const samples = values.map(([labels, value]) => ({ suffix: '' as const, labels, value }))
    return { type: 'gauge', ...this.#description, samples }
  }
}
