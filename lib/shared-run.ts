/**
 * Runs `work` for all who ask for it. Who asks while it runs waits for the next run, which all who wait share: what they
 * did before they asked is then covered by it.
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
    if (this.#running === undefined) return this.#start()
    const next = () => {
      this.#waiting = undefined
      return this.#start()
    }
    this.#waiting = this.#running.then(next, next)
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
