import type { Answered } from './http/answered.ts'
import type { Log } from './log.ts'

/** Says, once and not at each request, what is better set up otherwise: what is returned is told of every answer. */
export function adviseOnce(log: Log): (answered: Answered) => void {
  const said = new Set<string>()
  const say = (advice: string, address: string) => {
    if (!said.has(advice)) log.info(advice, { address })
    said.add(advice)
  }
  return ({ client: { address, isSecure, isProxied, isTrusted } }) => {
    if (isProxied && !isTrusted) say('a proxy is not among the trusted proxies: clients share its address', address)
    else if (!isSecure && !isLocal(address)) say('requests come unencrypted: tokens and recordings can be read on their way', address)
  }
}

function isLocal(address: string): boolean {
  return address === 'unix' || address === '::1' || address.startsWith('127.')
}
