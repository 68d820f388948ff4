/**
 * Runs `work` for all who ask for it, a moment after the first has asked, so that all who ask at one time share a run. Who
 * asks while it runs waits for the next one: what was done before asking is covered by the run.
 */
export class SharedRun {
  readonly #work: () => Promise<void>
  #running: Promise<void> | undefined
  #waiting: Promise<void> | undefined

  constructor(work: () => Promise<void>) {
    this.#work = work
  }

  /** Is settled as the run that began after this call. */
  run(): Promise<void> {
    if (this.#waiting !== undefined) return this.#waiting
    const next = () => {
      this.#waiting = undefined
      return this.#start()
    }
    this.#waiting = (this.#running ?? Promise.resolve()).then(next, next)
    return this.#waiting
  }

  /** Says whether nothing runs and nobody waits. */
  get isIdle(): boolean {
    return this.#running === undefined && this.#waiting === undefined
  }

  #start(): Promise<void> {
    this.#running = this.#work().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }
}

/** Shared runs of one work for many things, such as a sync for many directories; nothing stays of one that is idle. */
export class SharedRuns {
  readonly #work: (key: string) => Promise<void>
  readonly #runs = new Map<string, SharedRun>()

  constructor(work: (key: string) => Promise<void>) {
    this.#work = work
  }

  /** Is settled as the run for `key` that began after this call. */
  async run(key: string): Promise<void> {
    const run = this.#runs.get(key) ?? new SharedRun(() => this.#work(key))
    this.#runs.set(key, run)
    try {
      await run.run()
    } finally {
      if (run.isIdle && this.#runs.get(key) === run) this.#runs.delete(key)
    }
  }
}
