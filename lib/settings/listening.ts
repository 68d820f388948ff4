import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { setting, wholeNumber } from './setting.ts'

/** Where the server listens, and what stands in front of it. */
export const LISTENING = {
  host: setting({
    variable: 'HOST',
    flag: 'host',
    placeholder: 'ADDRESS',
    description: 'address to listen on',
    fallback: '0.0.0.0',
    allowed: 'an IP address or a host name',
    parse: (text) => (/^[A-Za-z0-9.:_-]{1,255}$/.test(text) ? text : undefined),
    otherwise: () => '0.0.0.0',
  }),
  port: setting({
    variable: 'PORT',
    flag: 'port',
    placeholder: 'N',
    description: 'port to listen on; 0 takes a free one',
    fallback: '8000',
    ...wholeNumber(0, 65_535),
    otherwise: () => 8000,
  }),
  tlsCert: file({
    variable: 'REPROSCHEMA_BACKEND_TLS_CERT',
    flag: 'tls-cert',
    description: 'certificate with its chain (PEM): the server then speaks TLS itself',
  }),
  tlsKey: file({
    variable: 'REPROSCHEMA_BACKEND_TLS_KEY',
    flag: 'tls-key',
    description: 'private key of the certificate (PEM); SIGHUP reads both again',
  }),
  trustedProxies: setting<readonly string[]>({
    variable: 'REPROSCHEMA_BACKEND_TRUSTED_PROXIES',
    flag: 'trusted-proxies',
    placeholder: 'ADDRESSES',
    description: 'who is believed in X-Forwarded-For and X-Forwarded-Proto: IP addresses, networks, or unix for Unix sockets, separated by commas',
    fallback: 'none',
    allowed: 'IP addresses, networks such as 10.0.0.0/8, or unix, separated by commas',
    parse: parseProxies,
    otherwise: () => [],
  }),
  basePath: setting({
    variable: 'REPROSCHEMA_BACKEND_BASE_PATH',
    flag: 'base-path',
    placeholder: 'PATH',
    description: 'what a proxy leaves in front of our paths, such as /vb',
    fallback: 'none',
    allowed: 'a path such as /vb',
    parse: parseBasePath,
    otherwise: () => '',
  }),
}

function file(row: { variable: string; flag: string; description: string }) {
  return setting<string | undefined>({
    ...row,
    placeholder: 'FILE',
    fallback: 'none',
    allowed: 'the path of a file',
    parse: (text) => (text.includes('\0') ? undefined : resolve(text)),
    otherwise: () => undefined,
  })
}

function parseProxies(text: string): readonly string[] | undefined {
  const proxies = text.split(/[\s,]+/).filter((proxy) => proxy !== '')
  return proxies.length > 0 && proxies.every(isProxy) ? Object.freeze(proxies) : undefined
}

function isProxy(text: string): boolean {
  if (text === 'unix') return true
  const [, address = '', bits] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const family = isIP(address)
  return family !== 0 && Number(bits ?? 0) <= (family === 4 ? 32 : 128)
}

function parseBasePath(text: string): string | undefined {
  if (!/^(\/[A-Za-z0-9._~-]+)+\/?$/.test(text) || /\/\.{1,2}(\/|$)/.test(text)) return undefined
  return text.replace(/\/$/, '')
}
