import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { PARSER_SCENARIOS } from './parser-scenarios.ts'
import { findScenarios, type Sample, type Scenario } from './scenario.ts'
import { makeServerScenarios } from './server-scenarios.ts'
import { pinClient, Workspace } from './server.ts'

const workspace = new Workspace()
const scenarios = [...makeServerScenarios(workspace), ...PARSER_SCENARIOS]

void main()

interface Options {
  readonly chosen: readonly Scenario[]
  readonly rounds: number
  readonly seconds: number
}

async function main(): Promise<void> {
  const options = readOptions()
  if (options === 'help') console.log(formatHelp())
  else if (options !== undefined) await runAll(options)
}

/** Says what is wrong with the options, and returns undefined. */
function readOptions(): Options | 'help' | undefined {
  try {
    return parseOptions()
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error} --help lists what there is.`)
    process.exitCode = 2
    return undefined
  }
}

function parseOptions(): Options | 'help' {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '2' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return 'help'
  const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)]
  if (!(rounds >= 1 && seconds > 0)) throw new RangeError('--rounds and --seconds are numbers above 0.')
  return { chosen: values.scenario === undefined ? scenarios : findScenarios(scenarios, values.scenario), rounds, seconds }
}

async function runAll({ chosen, rounds, seconds }: Options): Promise<void> {
  console.log(`Node ${process.version}, ${cpus().length} processors (${cpus()[0]?.model}), ${new Date().toISOString().slice(0, 10)}`)
  pinClient()
  try {
    for (const scenario of chosen) {
      await run(scenario, rounds, seconds)
      await workspace.stopAll()
    }
  } finally {
    await workspace.remove()
  }
}

/** Subjects take turns, round after round, so that what else the machine does meets all of them. */
async function run(scenario: Scenario, rounds: number, seconds: number): Promise<void> {
  console.log(`\n${scenario.name}: ${scenario.description}`)
  const samples = new Map<string, Sample[]>(scenario.subjects.map((subject) => [subject, []]))
  for (let round = 0; round < rounds; round++) {
    for (const [subject, own] of samples) own.push(await scenario.measure(subject, { seconds }))
  }
  console.table(Object.fromEntries([...samples].map(([subject, own]) => [subject, toRow(own, [...samples.values()][0] ?? [])])))
}

/** The medians, and how many times the first figure of this subject ours is: the median of the ratios within a round. */
function toRow(own: readonly Sample[], ours: readonly Sample[]): Record<string, number> {
  const names = Object.keys(own[0] ?? {})
  const [compared = ''] = names
  const ratios = own.map((sample, round) => (ours[round]?.[compared] ?? NaN) / (sample[compared] ?? NaN))
  return {
    ...Object.fromEntries(names.map((name) => [name, round(median(own.map((sample) => sample[name] ?? NaN)))])),
    'ours, times this': round(median(ratios)),
  }
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return ((sorted[(sorted.length - 1) >> 1] ?? NaN) + (sorted[sorted.length >> 1] ?? NaN)) / 2
}

function round(number: number): number {
  return Number(number.toPrecision(3))
}

function formatHelp(): string {
  const lines = scenarios.map(({ name, description }) => `  ${name.padEnd(20)} ${description}`)
  return `npm run bench -- [--scenario NAME,…] [--rounds 5] [--seconds 2]

Measures this server against sinks that promise nothing, against itself encrypting, with two workers and after years of
use (which makes a million files first), and its multipart parser against Buffer.indexOf and copy. Prints medians of the
rounds, and how many times as much ours comes to. Where taskset is (Debian: util-linux) the server has one processor to
itself and the client another. Files go to the directory for temporary files (TMPDIR).

${lines.join('\n')}

A name stands for all that begin with it too: files, parser.`
}
