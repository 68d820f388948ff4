import { code } from '../datasheet/markdown.ts'
import type { NotedSettings } from '../datasheet/server-note.ts'

const LOCAL = /^(a Unix socket|https?:\/\/(127\.[\d.]+|\[::1\]|localhost)(:\d+)?)$/

/** Says how what participants send is protected on its way, as far as the server knows. */
export function formatTransport({ tls, listening, trusted_proxies: proxies }: NotedSettings): string {
  const places = listening.map((place) => (place.startsWith('http') ? code(place) : place)).join(', ')
  const listens = `It listens on ${places}.`
  const believed = proxies.length === 0 ? '' : ` It believes the proxies ${proxies.map(code).join(', ')}.`
  if (tls) return `the server speaks TLS itself, 1.2 or newer. ${listens}${believed}`
  if (listening.every((place) => LOCAL.test(place))) {
    return `the server speaks no TLS, and only programs on this machine can reach it. ${listens}${believed} A proxy on this machine has to speak TLS with participants: whether it does, the server cannot see.`
  }
  if (proxies.length > 0) {
    return `the server speaks no TLS. ${listens}${believed} Between a proxy and the server nothing is encrypted, nor is what comes past the proxy. **Whether a proxy speaks TLS with participants, and a firewall keeps others away, the server cannot see.**`
  }
  return `**nothing that the server knows of.** It speaks no TLS and believes no proxy. ${listens} Unless something before it encrypts, tokens and recordings can be read on their way.`
}
