import type { IncomingHttpHeaders } from 'node:http'
import { BlockList, isIP, isIPv6 } from 'node:net'

/** Who sent a request. */
export interface Client {
  /** An IP address, or `unix` for a program of this machine that came by a Unix socket. */
  readonly address: string
  /** Whether the request was encrypted on its way to us or to the proxy. */
  readonly isSecure: boolean
  /** Whether the request says that it came by a proxy, trusted or not. */
  readonly isProxied: boolean
  /** Whether it came from a proxy of ours. */
  readonly isTrusted: boolean
}

/** The other end of a connection. */
export type Peer = Pick<Client, 'address' | 'isSecure'>

/** The proxies in front of the server: they alone are believed about whom they pass on. */
export class TrustedProxies {
  readonly #networks = new BlockList()
  readonly #trustsUnix: boolean

  /** @param proxies IP addresses, networks such as `10.0.0.0/8`, and `unix` for all that comes by a Unix socket */
  constructor(proxies: readonly string[]) {
    this.#trustsUnix = proxies.includes('unix')
    for (const proxy of proxies.filter((each) => each !== 'unix')) {
      const [address = '', bits] = proxy.split('/')
      const family = isIPv6(address) ? 'ipv6' : 'ipv4'
      if (bits === undefined) this.#networks.addAddress(address, family)
      else this.#networks.addSubnet(address, Number(bits), family)
    }
  }

  /** Finds who sent a request: whoever opened the connection or, where that is a trusted proxy, whom it names. */
  clientOf(peer: Peer, headers: IncomingHttpHeaders): Client {
    const [addresses, protocols] = [listOf(headers['x-forwarded-for']), listOf(headers['x-forwarded-proto'])]
    const address = plain(peer.address)
    const isProxied = isPassedOn(headers)
    if (!this.#trusts(address)) return { address, isSecure: peer.isSecure, isProxied, isTrusted: false }
    const protocol = protocols.at(-1)?.toLowerCase()
    const isSecure = protocol === undefined ? peer.isSecure : protocol === 'https'
    return { address: this.#nearest(address, addresses), isSecure, isProxied, isTrusted: true }
  }

  // Each proxy adds at the end whom it took the request from. From there back the first that is no proxy of ours is the
  // client: what stands before it, the client itself may have written.
  #nearest(peer: string, addresses: readonly string[]): string {
    let nearest = peer
    for (const given of addresses.toReversed()) {
      const address = plain(given)
      if (isIP(address) === 0) return nearest
      nearest = address
      if (!this.#trusts(address)) return nearest
    }
    return nearest
  }

  #trusts(address: string): boolean {
    if (address === 'unix') return this.#trustsUnix
    const version = isIP(address) // of IPv4 it knows without the pattern for IPv6, which takes 4 ms to be made
    return version !== 0 && this.#networks.check(address, version === 6 ? 'ipv6' : 'ipv4')
  }
}

/** Says whether a request says that it was passed on by a proxy; where it was not, only its connection tells who sent it. */
export function isPassedOn({ 'x-forwarded-for': addresses, 'x-forwarded-proto': protocols, forwarded, via }: IncomingHttpHeaders): boolean {
  return addresses !== undefined || protocols !== undefined || forwarded !== undefined || via !== undefined
}

function listOf(field: string | readonly string[] | undefined): readonly string[] {
  const text = typeof field === 'string' ? field : (field ?? []).join(',')
  return text.split(',').flatMap((item) => item.trim() || [])
}

// Some proxies add the port (`192.0.2.1:4711`, `[2001:db8::1]:4711`); a socket that takes both families writes an IPv4
// address as IPv6 (`::ffff:192.0.2.1`, RFC 4291 §2.5.5.2); a zone (`%eth0`) means nothing elsewhere.
function plain(text: string): string {
  const bare = /^\[([^\]]*)\](?::\d+)?$/.exec(text)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text)?.[1] ?? text
  const address = bare.replace(/%.*$/, '')
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address
}
