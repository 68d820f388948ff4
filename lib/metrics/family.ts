/** The labels of one sample. */
export type Labels = Readonly<Record<string, string>>

/** One number of a metric. */
export interface Sample {
  /** What follows the name of the metric: `_bucket`, `_sum` and `_count` of a histogram. */
  readonly suffix: '' | '_bucket' | '_sum' | '_count'
  readonly labels: Labels
  readonly value: number
}

/** How the numbers of several processes become one. */
export type Merge = 'sum' | 'max' | 'min'

/** What a metric is, as Prometheus is told of it. */
export interface Description {
  /** With its unit in it, and `_total` at the end of what only grows. */
  readonly name: string
  readonly help: string
}

/** One metric at one moment: plain data, which another process can be sent. */
export interface Family extends Description {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly merge: Merge
  readonly samples: readonly Sample[]
}

/** Makes one of what several processes measured. */
export function mergeFamilies(snapshots: readonly (readonly Family[])[]): Family[] {
  const merged = new Map<string, { family: Family; samples: Map<string, Sample> }>()
  for (const family of snapshots.flat()) {
    const { samples } = merged.get(family.name) ?? setNew(merged, family)
    for (const sample of family.samples) {
      const key = JSON.stringify([sample.suffix, Object.entries(sample.labels)])
      const known = samples.get(key)
      samples.set(key, known === undefined ? sample : { ...known, value: MERGES[family.merge](known.value, sample.value) })
    }
  }
  return [...merged.values()].map(({ family, samples }) => ({ ...family, samples: [...samples.values()] }))
}

const MERGES: Readonly<Record<Merge, (a: number, b: number) => number>> = { sum: (a, b) => a + b, max: Math.max, min: Math.min }

function setNew(merged: Map<string, { family: Family; samples: Map<string, Sample> }>, family: Family) {
  const entry = { family, samples: new Map<string, Sample>() }
  merged.set(family.name, entry)
  return entry
}
