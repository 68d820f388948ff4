import { hostname } from 'node:os'
import type { AlertTarget } from '../settings/observation.ts'
import { runAlertCommand } from './alert-command.ts'
import { postAlert } from './alert-post.ts'
import { formatNotice, type Notice } from './alert.ts'

/** What a command that sends alerts may see of the environment: none of our settings, which may be secret. */
const PASSED_ON = ['PATH', 'HOME', 'USER', 'LANG', 'TZ', 'TMPDIR']

/** How alerts are sent. */
export interface SenderParts {
  readonly target: AlertTarget
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly limitMs: number
  readonly killGroup: (pid: number) => void
}

/** Makes what sends one alert: to the command with the sentence in `ALERT` and the JSON as its input, or to the address. */
export function createSender({ target, environment, limitMs, killGroup }: SenderParts): (notice: Notice) => Promise<void> {
  const host = hostname()
  const passedOn = PASSED_ON.flatMap((name) => (environment[name] === undefined ? [] : [[name, environment[name]]]))
  return (notice) => {
    const text = formatNotice(notice, host)
    if (target.type === 'post') return postAlert(text, { ...target, limitMs })
    const command = { command: target.command, environment: { ...Object.fromEntries(passedOn), ALERT: notice.message }, limitMs, killGroup }
    return runAlertCommand(`${text}\n`, command)
  }
}
