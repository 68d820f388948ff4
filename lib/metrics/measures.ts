import { Counter } from './counter.ts'
import type { Family } from './family.ts'
import { Histogram } from './histogram.ts'
import { LoopDelay } from './loop-delay.ts'
import { Reading } from './reading.ts'

const MOST_PROJECTS = 1000
const OTHERS = '(other)' // no project can have this name
const REQUEST_SECONDS = [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800]
const SYNC_SECONDS = [0.0005, 0.002, 0.005, 0.02, 0.1, 0.5, 2, 10]

/** What is measured elsewhere, and looked up when somebody asks. */
export interface MeasureSources {
  readonly version: string
  readonly nodeVersion: string
  readonly residentBytes: () => number
  readonly cpuSeconds: () => number
  readonly tokensAlive: () => number
  /** Undefined while the file system does not answer. */
  readonly room: () => { readonly freeBytes: number; readonly reserveBytes: number } | undefined
  readonly isReady: () => boolean | undefined
}

/** Everything that this process counts and measures. To count costs a look into a map, and nothing is ever read from a disk. */
export class Measures {
  readonly #requests = new Counter(named('requests_total', 'Answered requests.'), ['route', 'status'])
  readonly #seconds = new Histogram(named('request_duration_seconds', 'Time from the head of a request to its answer.'), REQUEST_SECONDS, 'route')
  readonly #refusals = new Counter(named('refusals_total', 'Requests that were refused or failed, by the code in the answer.'), ['code'])
  readonly #submissions = new Counter(named('submissions_total', 'Submissions that were accepted and stored.'), ['project'])
  readonly #repeats = new Counter(named('repeated_submissions_total', 'Submissions that had been stored before and came again.'), ['project'])
  readonly #files = new Counter(named('files_total', 'Files that were stored.'), ['project'])
  readonly #bytes = new Counter(named('stored_bytes_total', 'Bytes of the files that were stored.'), ['project'])
  readonly #syncs = new Histogram(named('sync_duration_seconds', 'Time that the file system took to sync a file or a directory.'), SYNC_SECONDS)
  readonly #alerts = new Counter(named('alerts_total', 'Alerts that were sent, by kind and outcome.'), ['kind', 'outcome'])
  readonly #lastMs = new Map<string, number>()
  readonly #loopDelay = new LoopDelay()
  readonly #readings: readonly Reading[]
  #underWay = 0

  constructor(sources: MeasureSources) {
    const lasts = () => [...this.#lastMs].map(([project, ms]) => [{ project }, ms / 1000] as const)
    const build = () => [[{ version: sources.version, node_version: sources.nodeVersion }, 1] as const]
    const ready = () => {
      const isReady = sources.isReady() // once: a look may begin with it
      return isReady === undefined ? undefined : Number(isReady)
    }
    this.#readings = [
      new Reading({ ...named('last_submission_timestamp_seconds', 'When the last submission was stored.'), merge: 'max' }, lasts),
      new Reading({ ...named('uploads_in_progress', 'Submissions that are being received and stored.'), merge: 'sum' }, () => this.#underWay),
      new Reading({ ...named('tokens_alive', 'Auth tokens that have not expired.'), merge: 'max' }, sources.tokensAlive),
      new Reading({ ...named('free_bytes', 'Free space where the base directory is.'), merge: 'min' }, () => sources.room()?.freeBytes),
      new Reading({ ...named('reserve_bytes', 'Free space that no upload may take.'), merge: 'max' }, () => sources.room()?.reserveBytes),
      new Reading({ ...named('ready', 'What /readyz last found: 1 or 0.'), merge: 'min' }, ready),
      new Reading({ ...named('event_loop_delay_seconds', 'How late the event loop was in the last minute or two.'), merge: 'max' }, () => this.#loopDelay.read()),
      new Reading({ ...named('build_info', 'The version of the program and of Node.'), merge: 'max' }, build),
      new Reading({ name: 'process_start_time_seconds', help: 'When the process began.', merge: 'min' }, () => performance.timeOrigin / 1000),
      new Reading({ name: 'process_resident_memory_bytes', help: 'Memory of the process.', merge: 'sum' }, sources.residentBytes),
      new Reading({ name: 'process_cpu_seconds_total', help: 'Time that processors worked for the process.', type: 'counter', merge: 'sum' }, sources.cpuSeconds),
    ]
  }

  /** Counts an answered request. */
  answered({ route, status, seconds }: { route: string; status: number; seconds: number }): void {
    this.#requests.add({ route, status: String(status) })
    this.#seconds.observe(seconds, route)
  }

  /** Counts a request that was refused, or that failed. */
  refused(code: string): void {
    this.#refusals.add({ code })
  }

  /** Counts an upload that begins; what it returns is to be called when it has ended. */
  begin(): () => void {
    this.#underWay++
    return () => void this.#underWay--
  }

  /** Counts a submission that was stored. */
  stored({ project, files, bytes }: { project: string; files: number; bytes: number }): void {
    const label = { project: this.#labelOf(project) }
    this.#submissions.add(label)
    this.#files.add(label, files)
    this.#bytes.add(label, bytes)
    this.sawSubmission(project, Date.now())
  }

  /** Counts a submission that had been stored before. */
  repeated(project: string): void {
    this.#repeats.add({ project: this.#labelOf(project) })
    this.sawSubmission(project, Date.now())
  }

  /** Takes in when a project had a submission, where it is the last one known. */
  sawSubmission(project: string, atMs: number): void {
    const label = this.#labelOf(project)
    this.#lastMs.set(label, Math.max(atMs, this.#lastMs.get(label) ?? 0))
  }

  /** When the last submission was stored, in any project; undefined where there is none. */
  get lastSubmissionMs(): number | undefined {
    return this.#lastMs.size === 0 ? undefined : Math.max(...this.#lastMs.values())
  }

  /** Takes in how long a sync took. */
  synced(seconds: number): void {
    this.#syncs.observe(seconds)
  }

  /** Counts an alert. */
  alerted(kind: string, outcome: 'sent' | 'failed'): void {
    this.#alerts.add({ kind, outcome })
  }

  /** Gives all of it as plain data. */
  read(): Family[] {
    const counted = [this.#requests, this.#seconds, this.#refusals, this.#submissions, this.#repeats, this.#files, this.#bytes, this.#syncs, this.#alerts]
    return [...counted, ...this.#readings].map((metric) => metric.read())
  }

  /** Ends the measurement. */
  close(): void {
    this.#loopDelay.close()
  }

  // A link that was registered for no project may name any: one who makes them up must not fill the memory.
  #labelOf(project: string): string {
    return this.#lastMs.has(project) || this.#lastMs.size < MOST_PROJECTS ? project : OTHERS
  }
}

function named(name: string, help: string): { name: string; help: string } {
  return { name: `reproschema_backend_${name}`, help }
}
