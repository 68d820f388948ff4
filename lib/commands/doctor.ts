import { randomBytes } from 'node:crypto'
import { ConfigError, readConfig, type Config } from '../config.ts'
import { isOnlyCopied } from '../datasheet/told-settings.ts'
import { examineBasedir } from '../doctor/basedir.ts'
import { examineCertificate } from '../doctor/certificate.ts'
import { failed, formatFinding, ok, type Finding } from '../doctor/finding.ts'
import { examineMachine } from '../doctor/machine.ts'
import { examinePublic } from '../doctor/public.ts'
import { examineRecipients } from '../doctor/recipients.ts'
import { systemCode } from '../errors.ts'
import { Layout } from '../store/layout.ts'
import { openGrants, withPermission } from './local-grants.ts'
import type { Output } from './output.ts'

const SLOW_SECONDS = 70 // longer than the minute after which many a proxy gives up
const MOST_SLOW_SECONDS = 3600

/**
 * Examines the configuration, the base directory and the machine, and, through the public URL, the way of a participant.
 * @returns the exit code: 1 where anything failed
 */
export async function doctor(args: readonly string[], { print, environment, nodeVersion }: Output): Promise<number> {
  const { url, slowSeconds, others } = readOwn(args)
  let hasFailed = false
  const tell = (finding: Finding) => {
    hasFailed ||= finding.state === 'FAILED'
    print(formatFinding(finding))
  }
  const config = examineConfig(others, environment, tell)
  if (config === undefined) return 1
  const { tlsCert, tlsKey } = config
  if (tlsCert !== undefined && tlsKey !== undefined) tell(await examineCertificate(tlsCert, tlsKey))
  const id = `doctor-${randomBytes(8).toString('hex')}`
  const layout = new Layout(config.basedir)
  for (const finding of await examineBasedir(layout, config.reserveBytes, id)) tell(finding)
  const isCopy = await looksCopied(layout)
  const maxConnections = Math.ceil(config.maxConnections / config.workers)
  for (const finding of await examineMachine({ layout, isCopy, maxConnections, nodeVersion })) tell(finding)
  const { recipients, recipientsFile } = config
  for (const finding of await examineRecipients(layout, recipients ?? recipientsFile)) tell(finding)
  if (url !== undefined) await examineOutside({ url, slowSeconds, config, id, layout }, tell)
  return hasFailed ? 1 : 0
}

function examineConfig(args: readonly string[], environment: Output['environment'], tell: (finding: Finding) => void): Config | undefined {
  try {
    const config = readConfig(args, environment)
    tell(ok('configuration', `every setting is allowed; the base directory is ${config.basedir}`))
    return config
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const mistake of error.mistakes) tell(failed('configuration', mistake))
    return undefined
  }
}

async function looksCopied(layout: Layout): Promise<boolean> {
  try {
    return await isOnlyCopied(layout)
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    return false // not for us: the base directory is looked at too
  }
}

interface Outside {
  readonly url: string
  readonly slowSeconds: number
  readonly config: Config
  readonly id: string
  readonly layout: Layout
}

async function examineOutside({ url, slowSeconds, config, id, layout }: Outside, tell: (finding: Finding) => void): Promise<void> {
  try {
    await withPermission(layout, async () => {
      const grants = await openGrants(layout)
      const minutes = 10 + Math.ceil(slowSeconds / 60)
      const { authToken, grant } = await grants.issue({ project: id, participant: undefined, minutes, nowMs: Date.now() })
      const origin = config.corsOrigins === '*' ? 'https://doctor.invalid' : (config.corsOrigins[0] ?? '')
      try {
        await examinePublic({ url, layout, project: id, authToken, origin, slowSeconds, tell })
      } finally {
        await grants.revoke([grant])
      }
    })
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const mistake of error.mistakes) tell(failed('public URL', mistake))
  }
}

/** Reads what only this command knows; the rest are settings, as `serve` takes them. */
function readOwn(args: readonly string[]): { url: string | undefined; slowSeconds: number; others: readonly string[] } {
  const [others, mistakes]: [string[], string[]] = [[], []]
  const own = new Map<string, string>()
  for (let index = 0; index < args.length; index++) {
    const [, name, , value] = /^--(url|slow-seconds)(=(.*))?$/s.exec(args[index] ?? '') ?? []
    if (name === undefined) others.push(args[index] ?? '')
    else own.set(name, value ?? args[++index] ?? '')
  }
  const url = own.get('url')
  if (url !== undefined && (!URL.canParse(url) || !/^https?:\/\//.test(url))) mistakes.push(`--url=${JSON.stringify(url)} is not allowed: use an address such as https://study.example.org/vb.`)
  const seconds = own.get('slow-seconds') ?? String(SLOW_SECONDS)
  const isSeconds = /^\d{1,4}$/.test(seconds) && Number(seconds) <= MOST_SLOW_SECONDS
  if (!isSeconds) mistakes.push(`--slow-seconds=${JSON.stringify(seconds)} is not allowed: use a whole number from 0 to ${MOST_SLOW_SECONDS}.`)
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  return { url: url?.replace(/[/]+$/, ''), slowSeconds: Number(seconds), others }
}
