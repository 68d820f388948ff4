import { ConfigError } from '../config.ts'
import type { Arguments } from './arguments.ts'

/**
 * Reads `--participant` of a command that looks for what one has sent, without the blanks around it; undefined where it is
 * not given. Throws a `ConfigError` where it names nobody, as a variable of a shell that is not set does.
 */
export function readParticipant(text: Arguments['text']): string | undefined {
  const participant = text('participant')?.trim()
  if (participant === '') throw new ConfigError(['--participant is empty: name a participant, or leave it out.'])
  return participant
}
