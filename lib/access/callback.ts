import { BlockList, isIP, isIPv6 } from 'node:net'
import { HttpError } from '../errors.ts'

const MAX_LENGTH = 2000

/** What a participant is sent back to a web app with, whatever else the link holds. */
export const ISSUED_PARAMETERS = ['auth_token', 'expires', 'expiry_time'] as const

// IANA special-purpose registries (RFC 6890): this host, private, shared, loopback, link-local, unique local.
const LOCAL = new BlockList()
for (const [address, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const) {
  LOCAL.addSubnet(address, prefix, 'ipv4')
}
for (const [address, prefix] of [
  ['::', 127], // the unspecified address and loopback
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
] as const) {
  LOCAL.addSubnet(address, prefix, 'ipv6')
}

// RFC 6761 §6.3, RFC 6762 §3, RFC 8375; `internal` is reserved by ICANN; the others stand in the /etc/hosts of Linux.
const LOCAL_NAME = /^(ip6-)?(localhost[46]?|loopback)$|\.(localhost|localdomain[46]?|local|internal|home\.arpa)$/

/**
 * Checks the address of a web app and gives it back in the form of the WHATWG URL standard, which is plain ASCII.
 * @param isLocalAllowed whether addresses on this machine or in a private network may be registered
 */
export function parseCallbackUrl(text: string, isLocalAllowed: boolean): string {
  const url = URL.canParse(text) && text.length <= MAX_LENGTH ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || !/^https?:\/\//i.test(text)) throw new HttpError('invalid_callback_url')
  if (url.username !== '' || url.password !== '') throw new HttpError('invalid_callback_url')
  if (!isLocalAllowed && isLocalHost(url.hostname)) throw new HttpError('not_authorized_url')
  return url.href
}

// WHATWG URL has already turned every spelling of an IPv4 address (hexadecimal, octal, one number) into four numbers.
function isLocalHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.+$/, '').toLowerCase()
  if (isIP(host) === 0) return LOCAL_NAME.test(host)
  if (LOCAL.check(host, isIPv6(host) ? 'ipv6' : 'ipv4')) return true
  const inside = embeddedIPv4(host)
  return inside !== undefined && LOCAL.check(inside, 'ipv4')
}

// An IPv4 address inside an IPv6 one: mapped and compatible (RFC 4291 §2.5.5), translated (RFC 2765 §2.1, RFC 6052),
// 6to4 (RFC 3056).
function embeddedIPv4(host: string): string | undefined {
  const groups = expandIPv6(host)
  const [first, second, third] = groups
  if (first === 0x2002) return formatIPv4(second, third)
  const isLow = groups.slice(0, 4).every((group) => group === 0) && (groups[4] === 0 || groups[4] === 0xffff)
  const isWrapped = isLow || (first === 0x64 && second === 0xff9b)
  return isWrapped ? formatIPv4(groups[6], groups[7]) : undefined
}

function expandIPv6(host: string): number[] {
  const [head = '', tail] = host.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0')
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16))
}

function formatIPv4(high = 0, low = 0): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

/**
 * Adds parameters to the address of a web app, which otherwise stays as it was written. Where its fragment is a route
 * (`#/study?url=…`, as reproschema-ui has it), the app reads its parameters there and they are added there.
 */
export function addParameters(callbackUrl: string, parameters: readonly (readonly [string, string])[]): string {
  const added = parameters.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&')
  const hash = callbackUrl.indexOf('#')
  if (hash < 0) return append(callbackUrl, added)
  const [address, fragment] = [callbackUrl.slice(0, hash), callbackUrl.slice(hash + 1)]
  const isRoute = /^!?\//.test(fragment) || fragment.includes('?')
  return isRoute ? `${address}#${append(fragment, added)}` : `${append(address, added)}#${fragment}`
}

/** Finds one of these parameters in the address of a web app: an app reads neither of two of a name. */
export function findParameter<Name extends string>(callbackUrl: string, names: readonly Name[]): Name | undefined {
  const { search, hash } = new URL(callbackUrl)
  const queries = [search, hash.includes('?') ? hash.slice(hash.indexOf('?')) : ''].map((query) => new URLSearchParams(query))
  return names.find((name) => queries.some((query) => query.has(name)))
}

function append(text: string, added: string): string {
  if (!text.includes('?')) return `${text}?${added}`
  return /[?&]$/.test(text) ? `${text}${added}` : `${text}&${added}`
}
