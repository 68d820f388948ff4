import { DEFAULT_MINUTES, isParticipant, parseMinutes } from '../access/wish.ts'
import { ConfigError } from '../config.ts'
import { isProject } from '../project.ts'
import { readArguments, type Arguments } from './arguments.ts'
import { handOver, openGrants, withPermission } from './local-grants.ts'
import { openKeys, RECIPIENT_FLAGS, requireProven } from './local-keys.ts'
import type { Output } from './output.ts'

/**
 * Issues an auth token on the machine itself, without the admin token and without HTTP. It is durable before it is printed:
 * the token alone on the first line, when it expires on the second.
 */
export async function token(args: readonly string[], { note, environment, ...output }: Output): Promise<number> {
  const { layout, text } = readArguments(args, environment, {
    flags: { project: { type: 'string' }, minutes: { type: 'string' }, participant: { type: 'string' }, ...RECIPIENT_FLAGS },
    names: [],
  })
  const wish = readWish(text)
  return withPermission(layout, async () => {
    const grants = await openGrants(layout)
    await requireProven(await openKeys(layout, text, environment), wish.project)
    const { authToken, grant } = await grants.issue({ ...wish, nowMs: Date.now() })
    note({ token: grant.tokenSha256.slice(0, 8) })
    await handOver(grants, [grant], output, `${authToken}\nexpires ${new Date(grant.expiresAtMs).toISOString().replace('.000', '')}\n`)
    return 0
  })
}

function readWish(text: Arguments['text']): { project: string; minutes: number; participant: string | undefined } {
  const [project, participant] = [text('project') ?? '', text('participant')]
  const minutes = parseMinutes(text('minutes') ?? String(DEFAULT_MINUTES))
  const mistakes: string[] = []
  if (project === '') mistakes.push('--project is missing: give the project that the token is to add to.')
  else if (!isProject(project)) {
    mistakes.push(
      `--project=${JSON.stringify(project)} is not allowed: use 1 to 100 characters of A-Z a-z 0-9 . _ - that begin with a letter, a digit or an underscore.`,
    )
  }
  if (participant !== undefined && !isParticipant(participant)) {
    mistakes.push(`--participant=${JSON.stringify(participant)} is not allowed: use 1 to 200 characters without control characters.`)
  }
  if (minutes === undefined) mistakes.push(`--minutes=${JSON.stringify(text('minutes'))} is not allowed: use a whole number from 1 to 525600.`)
  if (minutes === undefined || mistakes.length > 0) throw new ConfigError(mistakes)
  return { project, minutes, participant }
}
