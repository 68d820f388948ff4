/** What was measured once; the first figure is the one that subjects are compared by. */
export type Sample = Readonly<Record<string, number>>

/** What a sample may take. */
export interface Effort {
  /** How long a server is loaded. */
  readonly seconds: number
}

/** One thing that is measured: of several subjects in turns, so that what else the machine does meets all of them. */
export interface Scenario {
  readonly name: string
  readonly description: string
  /** What is compared; the first is ours. */
  readonly subjects: readonly string[]
  readonly measure: (subject: string, effort: Effort) => Promise<Sample>
}

/** Returns the scenarios of these names, or whose names begin with one of them and a dash; throws where there are none. */
export function findScenarios(scenarios: readonly Scenario[], names: string): Scenario[] {
  return names.split(',').flatMap((name) => {
    const found = scenarios.filter((scenario) => scenario.name === name || scenario.name.startsWith(`${name}-`))
    if (found.length === 0) throw new RangeError(`There is no scenario ${name}.`)
    return found
  })
}
