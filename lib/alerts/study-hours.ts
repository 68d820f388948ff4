/** The hours of a day in which submissions are expected, in the time zone of the process; `from` may be after `to`. */
export interface StudyHours {
  readonly from: number
  readonly to: number
}

const MOST_DAYS = 1000

/** How much of the time between two moments was within the study's hours, in milliseconds. */
export function studyTimeBetween(fromMs: number, toMs: number, { from, to }: StudyHours): number {
  const first = new Date(fromMs)
  let sum = 0
  for (let day = -1; day < MOST_DAYS; day++) { // the hours that began on the day before may reach into the first one
    const opens = momentOf(first, day, from)
    if (opens >= toMs) return sum
    const closes = momentOf(first, to > from ? day : day + 1, to)
    sum += Math.max(0, Math.min(closes, toMs) - Math.max(opens, fromMs))
  }
  return sum
}

// By the calendar, not by adding hours: on two days of the year there are 23 or 25.
function momentOf(first: Date, day: number, hour: number): number {
  return new Date(first.getFullYear(), first.getMonth(), first.getDate() + day, hour).getTime()
}
