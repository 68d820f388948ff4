import { HttpError } from '../errors.ts'
import type { Query } from '../http/target.ts'
import { isProject } from '../project.ts'

const DEFAULT_MINUTES = 90
const MAX_MINUTES = 525_600 // a year

/** Reads `project`, or gives undefined where it is missing; throws `invalid_project`. */
export function readProject(query: Query): string | undefined {
  const project = query.one('project')
  if (project !== undefined && !isProject(project)) throw new HttpError('invalid_project')
  return project
}

/** Reads `expiry_minutes`, 90 where it is missing; throws `invalid_expiry_minutes`. */
export function readExpiryMinutes(query: Query): number {
  const text = query.one('expiry_minutes')
  if (text === undefined) return DEFAULT_MINUTES
  const minutes = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (minutes < 1 || minutes > MAX_MINUTES) throw new HttpError('invalid_expiry_minutes')
  return minutes
}

/** Reads `participant_id`, or gives undefined where it is missing or empty; throws `invalid_participant_id`. */
export function readParticipant(query: Query): string | undefined {
  const participant = query.one('participant_id') || undefined
  if (participant !== undefined && !/^[^\p{Cc}\p{Cs}]{1,200}$/u.test(participant)) {
    throw new HttpError('invalid_participant_id')
  }
  return participant
}
