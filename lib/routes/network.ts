import { isIPv6 } from 'node:net'

/**
 * Gives what counts as one client: an IPv4 address, or the first 64 bits of an IPv6 address. Whoever has one of those
 * usually has 2^64 of them (RFC 4291 §2.5.4).
 */
export function networkOf(address: string): string {
  if (!isIPv6(address) || address.includes('.')) return address
  const groups = (address.split('::')[0] ?? '').split(':')
  return [...groups, '0', '0', '0', '0'].slice(0, 4).join(':')
}
