import type { Description, Family } from './family.ts'

/** Something that is counted, apart for each value of its labels. */
export class Counter<Name extends string = never> {
  readonly #description: Description
  readonly #labels: readonly Name[]
  readonly #counts = new Map<string, { readonly labels: Readonly<Record<Name, string>>; value: number }>()

  /** @param labels the names of its labels; whoever counts sees to it that their values are few */
  constructor(description: Description, labels: readonly Name[] = []) {
    this.#description = description
    this.#labels = labels
    if (labels.length === 0) this.add({} as Readonly<Record<Name, string>>, 0) // there is no label to be given
  }

  /** Counts. */
  add(labels: Readonly<Record<Name, string>>, amount = 1): void {
    const key = this.#labels.map((name) => labels[name]).join('\n')
    const count = this.#counts.get(key)
    if (count === undefined) this.#counts.set(key, { labels, value: amount })
    else count.value += amount
  }

  /** Gives the counts so far. */
  read(): Family {
    const samples = [...this.#counts.values()].map(({ labels, value }) => ({ suffix: '' as const, labels: { ...labels }, value }))
    return { ...this.#description, type: 'counter', merge: 'sum', samples }
  }
}
