import { DEFAULT_MINUTES, isParticipant, parseMinutes } from '../access/wish.ts'
import { HttpError } from '../errors.ts'
import type { Query } from '../http/target.ts'
import { isProject } from '../project.ts'

/** Reads `project`, or gives undefined where it is missing; throws `invalid_project`. */
export function readProject(query: Query): string | undefined {
  const project = query.one('project')
  if (project !== undefined && !isProject(project)) throw new HttpError('invalid_project')
  return project
}

/** Reads `expiry_minutes`, 90 where it is missing; throws `invalid_expiry_minutes`. */
export function readExpiryMinutes(query: Query): number {
  const text = query.one('expiry_minutes')
  const minutes = text === undefined ? DEFAULT_MINUTES : parseMinutes(text)
  if (minutes === undefined) throw new HttpError('invalid_expiry_minutes')
  return minutes
}

/** Reads `participant_id`, or gives undefined where it is missing or empty; throws `invalid_participant_id`. */
export function readParticipant(query: Query): string | undefined {
  const participant = query.one('participant_id') || undefined
  if (participant !== undefined && !isParticipant(participant)) throw new HttpError('invalid_participant_id')
  return participant
}
