/**
 * Runs `work` for each item, at most `limit` at once, and fulfils when all have ended. After a failure no further item
 * is begun, and the failure is thrown when what was under way has ended.
 */
export async function forEachBounded<Item>(
  items: AsyncIterable<Item> | Iterable<Item>,
  limit: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>()
  const failures: unknown[] = []
  for await (const item of items) {
    if (failures.length > 0) break
    const task = work(item)
      .catch((error: unknown) => {
        failures.push(error)
      })
      .finally(() => {
        running.delete(task)
      })
    running.add(task)
    if (running.size >= limit) await Promise.race(running)
  }
  await Promise.all(running)
  if (failures.length > 0) throw failures[0]
}

/** Lets one after another do something that must not be done twice at once. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve()

  /** Does the work when all before it have ended. */
  take<Result>(work: () => Promise<Result>): Promise<Result> {
    const mine = this.#last.then(work)
    this.#last = mine.catch(() => undefined) // it is thrown to whose turn it was
    return mine
  }
}
