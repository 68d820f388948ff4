import { rememberSubmissions } from '../dataset/last-submission.ts'
import { listProjects } from '../dataset/projects.ts'
import type { Measures } from '../metrics/measures.ts'
import type { Layout } from '../store/layout.ts'
import type { Alerts } from './alerts.ts'
import { Condition } from './condition.ts'
import { SpaceForecast } from './space-forecast.ts'
import { studyTimeBetween, type StudyHours } from './study-hours.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const AHEAD_MS = 7 * DAY_MS
const MOST_NAMED = 10 // uploads in one alert
const MOST_TOLD = 10_000

/** What is watched. */
export interface WatchParts {
  readonly alerts: Alerts
  readonly layout: Layout
  readonly measures: Measures
  readonly room: () => { readonly freeBytes: number; readonly reserveBytes: number } | undefined
  /** How long nothing may come, in hours of the study; undefined where that is not watched. */
  readonly silenceHours: number | undefined
  readonly studyHours: StudyHours
}

/** Looks now and then for what the lab should know, and raises alerts. */
export class Watch {
  readonly #parts: WatchParts
  readonly #beganAtMs = Date.now()
  readonly #forecast = new SpaceForecast()
  readonly #lowSpace = new Condition(HOUR_MS)
  readonly #shrinking = new Condition(DAY_MS)
  readonly #silence = new Condition(DAY_MS)
  readonly #told = new Set<string>() // uploads; the oldest first

  constructor(parts: WatchParts) {
    this.#parts = parts
  }

  /** Tells of a submission that failed through our fault. */
  noteFailure(code: string, requestId: string): void {
    const message = `A submission failed through the server's fault (${code}). error.log has the reason at request ${requestId}.`
    this.#parts.alerts.raise({ kind: 'submission_failed', message, facts: { code, request_id: requestId } })
  }

  /** Looks at the free space. */
  lookAtSpace(nowMs: number): void {
    const room = this.#parts.room()
    if (room === undefined) return
    const facts = { free_bytes: room.freeBytes, reserve_bytes: room.reserveBytes }
    const isLow = room.freeBytes < room.reserveBytes
    if (this.#lowSpace.isDue(isLow, nowMs)) {
      const message = `Submissions are refused: ${room.freeBytes} bytes are free, fewer than the reserve of ${room.reserveBytes}.`
      this.#parts.alerts.raise({ kind: 'low_space', message, facts })
    }
    this.#forecast.add(room.freeBytes, nowMs)
    const reachesMs = this.#forecast.reaches(room.reserveBytes)
    if (this.#shrinking.isDue(!isLow && reachesMs !== undefined && reachesMs < AHEAD_MS, nowMs)) {
      const days = ((reachesMs ?? 0) / DAY_MS).toFixed(1)
      const message = `At the present rate the free space, ${room.freeBytes} bytes, reaches the reserve in ${days} days.`
      this.#parts.alerts.raise({ kind: 'space_forecast', message, facts: { ...facts, days: Number(days) } })
    }
  }

  /** Looks whether anything has come. */
  async lookAtSilence(nowMs: number): Promise<void> {
    const { silenceHours, layout, measures } = this.#parts
    if (silenceHours === undefined) return
    if (this.#silentHours(nowMs) >= silenceHours) await rememberSubmissions(layout, measures) // another process may have had some
    const hours = Math.floor(this.#silentHours(nowMs))
    if (!this.#silence.isDue(hours >= silenceHours, nowMs)) return
    const lastMs = measures.lastSubmissionMs
    const since = lastMs === undefined ? {} : { last_submission: new Date(lastMs).toISOString() }
    const message = `No submission has come for ${hours} hours of the study.`
    this.#parts.alerts.raise({ kind: 'silence', message, facts: { hours, ...since } })
  }

  /** Looks for uploads that are incomplete; each is told once, and found again until then. */
  async lookAtUploads(nowMs: number): Promise<void> {
    const { layout, alerts } = this.#parts
    const { findIncompleteUploads } = await import('../dataset/recent-uploads.ts') // code for zips, which only alerts need
    const found: { readonly project: string; readonly uuid: string }[] = []
    for (const project of await listProjects(layout)) {
      for (const uuid of await findIncompleteUploads(layout, project, nowMs)) {
        if (!this.#told.has(uuid)) found.push({ project, uuid })
      }
    }
    if (found.length === 0) return
    const onSent = () => {
      for (const { uuid } of found) this.#told.add(uuid)
      for (const uuid of [...this.#told].slice(0, -MOST_TOLD)) this.#told.delete(uuid)
    }
    const projects = [...new Set(found.map(({ project }) => project))].slice(0, MOST_NAMED)
    const uploads = found.slice(0, MOST_NAMED).map(({ uuid }) => uuid)
    const message = `Uploads that have been incomplete for an hour: ${found.length}, of ${projects.join(', ')}. The command status says what is missing.`
    alerts.raise({ kind: 'incomplete_upload', message, facts: { incomplete: found.length, projects, uploads } }, onSent)
  }

  #silentHours(nowMs: number): number {
    const lastMs = this.#parts.measures.lastSubmissionMs ?? this.#beganAtMs
    return studyTimeBetween(lastMs, nowMs, this.#parts.studyHours) / HOUR_MS
  }
}
