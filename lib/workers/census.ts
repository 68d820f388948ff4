import { mergeFamilies, type Family } from '../metrics/family.ts'
import { Reading } from '../metrics/reading.ts'
import type { Tally } from './tally.ts'

const LIMIT_MS = 1000 // a worker that has not answered by then is left out

/** Adds up what all workers and the primary process have counted and measured, in bounded time. */
export async function takeCensus(tallies: readonly Tally[], readOwn: () => readonly Family[]): Promise<readonly Family[]> {
  const answers = await Promise.all(tallies.map((tally) => tally.look(LIMIT_MS)))
  const readings = [
    gauge('workers', 'Processes that are to serve.', tallies.length),
    gauge('workers_answered', 'Processes that have told their numbers; of others what they had counted before is here, and no more.', answers.filter(Boolean).length),
  ]
  const told = tallies.map((tally, index) => tally.read(answers[index] === true))
  return mergeFamilies([...told, readOwn(), readings.map((reading) => reading.read())])
}

function gauge(name: string, help: string, value: number): Reading {
  return new Reading({ name: `reproschema_backend_${name}`, help, merge: 'sum' }, () => value)
}
