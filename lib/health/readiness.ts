/** What was found: whether everything is well, and what each look came to, by its name. */
export interface Readiness {
  readonly isReady: boolean
  readonly looks: Readonly<Record<string, string>>
}

/** How a probe is run. */
export interface ReadinessParts {
  /** Looks at one thing after another and says which; gives what each look came to: `ok`, or what is wrong. */
  readonly probe: (onLook: (look: string) => void) => Promise<Readonly<Record<string, string>>>
  /** How long a probe may take until whoever asked is told that it hangs. */
  readonly limitMs: number
  /** How long a result is given again. */
  readonly keepMs: number
  /** Is told when it changes whether everything is well. */
  readonly onChange: (readiness: Readiness) => void
}

/**
 * Tells whether the server is ready, in bounded time. One probe runs at a time, whoever asks: on a mount that hangs it
 * never ends, and each further one would take another thread of the few that all file work shares.
 */
export class ReadinessCheck {
  readonly #parts: ReadinessParts
  #running: { readonly ended: Promise<void>; readonly beganAtMs: number } | undefined
  #look = ''
  #last: Readiness | undefined
  #lastAtMs = 0
  #wasReady = true

  constructor(parts: ReadinessParts) {
    this.#parts = parts
  }

  /** Whether all was well when somebody last asked; undefined where nobody has. */
  get wasReady(): boolean | undefined {
    return this.#last === undefined && this.#wasReady ? undefined : this.#wasReady
  }

  /** Gives what the last probe found, where it is fresh, or what a new one finds; or that it hangs, and where. */
  async ask(): Promise<Readiness> {
    const { keepMs, limitMs } = this.#parts
    if (this.#running === undefined && this.#last !== undefined && performance.now() - this.#lastAtMs < keepMs) return this.#last
    this.#running ??= this.#begin()
    const { ended, beganAtMs } = this.#running
    await endOrTime(ended, beganAtMs + limitMs - performance.now())
    const isHanging = this.#running?.ended === ended
    return isHanging || this.#last === undefined ? this.#findHanging() : this.#last
  }

  #begin(): { ended: Promise<void>; beganAtMs: number } {
    this.#look = ''
    return { ended: this.#probe(), beganAtMs: performance.now() }
  }

  async #probe(): Promise<void> {
    let looks: Readonly<Record<string, string>>
    try {
      looks = await this.#parts.probe((look) => (this.#look = look))
    } catch (error) {
      looks = { [this.#look]: error instanceof Error ? error.message : String(error) }
    }
    this.#running = undefined
    this.#last = this.#note({ isReady: Object.values(looks).every((each) => each === 'ok'), looks })
    this.#lastAtMs = performance.now()
  }

  #findHanging(): Readiness {
    return this.#note({ isReady: false, looks: { [this.#look]: `not done after ${this.#parts.limitMs / 1000} seconds` } })
  }

  #note(readiness: Readiness): Readiness {
    if (readiness.isReady !== this.#wasReady) this.#parts.onChange(readiness)
    this.#wasReady = readiness.isReady
    return readiness
  }
}

function endOrTime(ended: Promise<void>, ms: number): Promise<void> {
  if (ms <= 0) return Promise.resolve()
  return new Promise((resolve) => {
    const late = setTimeout(resolve, ms)
    void ended.then(() => {
      clearTimeout(late)
      resolve()
    })
  })
}
