import type { Description, Family, Labels, Sample } from './family.ts'

/** How often something took how long, apart for each value of one label. */
export class Histogram {
  readonly #description: Description
  readonly #bounds: readonly number[]
  readonly #label: string | undefined
  readonly #counts = new Map<string, { readonly buckets: number[]; sum: number; count: number }>()

  /**
   * @param bounds the upper bounds of its buckets, rising, without the last one, which has none
   * @param label the name of its label, where it has one; whoever measures sees to it that its values are few
   */
  constructor(description: Description, bounds: readonly number[], label?: string) {
    this.#description = description
    this.#bounds = bounds
    this.#label = label
  }

  /** Takes in one measurement. */
  observe(value: number, label = ''): void {
    const counts = this.#counts.get(label) ?? { buckets: this.#bounds.map(() => 0), sum: 0, count: 0 }
    this.#counts.set(label, counts)
    const index = this.#bounds.findIndex((bound) => value <= bound)
    if (index >= 0) counts.buckets[index] = (counts.buckets[index] ?? 0) + 1
    counts.sum += value
    counts.count++
  }

  /** Gives the counts so far; each bucket holds those below it too. */
  read(): Family {
    const samples: Sample[] = []
    for (const [value, { buckets, sum, count }] of this.#counts) {
      const labels: Labels = this.#label === undefined ? {} : { [this.#label]: value }
      let below = 0
      for (const [index, bound] of this.#bounds.entries()) {
        below += buckets[index] ?? 0
        samples.push({ suffix: '_bucket', labels: { ...labels, le: String(bound) }, value: below })
      }
      samples.push({ suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: count })
      samples.push({ suffix: '_sum', labels, value: sum }, { suffix: '_count', labels, value: count })
    }
    return { ...this.#description, type: 'histogram', merge: 'sum', samples }
  }
}
