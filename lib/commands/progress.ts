import { formatBytes } from './units.ts'

const SHOW_MS = 200

/** How far a command has come. */
export interface Done {
  readonly files: number
  readonly bytes: number
  readonly ofFiles: number
  readonly ofBytes: number
}

/** A line on a terminal that says how far a command has come: files, bytes, rate, time left. */
export class Progress {
  readonly #show: ((line: string) => void) | undefined
  readonly #done: () => Done
  readonly #beganAtMs = performance.now()
  readonly #timer: NodeJS.Timeout | undefined

  /** @param show undefined where nobody watches */
  constructor(show: ((line: string) => void) | undefined, done: () => Done) {
    this.#show = show
    this.#done = done
    if (show === undefined) return
    show(this.#format())
    this.#timer = setInterval(() => show(this.#format()), SHOW_MS).unref()
  }

  /** Takes the line away. */
  end(): void {
    clearInterval(this.#timer)
    this.#show?.('')
  }

  #format(): string {
    return formatDone(this.#done(), (performance.now() - this.#beganAtMs) / 1000)
  }
}

/** Formats how far a command has come in a number of seconds. */
export function formatDone({ files, bytes, ofFiles, ofBytes }: Done, seconds: number): string {
  if (ofFiles === 0) return 'looking at what has arrived'
  const rate = bytes / Math.max(0.001, seconds)
  const left = rate > 0 ? `, ${formatSeconds(Math.max(0, ofBytes - bytes) / rate)} left` : ''
  return `${files} of ${ofFiles} files, ${formatBytes(bytes)} of ${formatBytes(ofBytes)}, ${formatBytes(rate)}/s${left}`
}

function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds)
  if (whole < 60) return `${whole} s`
  const minutes = Math.ceil(whole / 60)
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
