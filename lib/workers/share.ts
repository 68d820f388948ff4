import type { Config } from '../config.ts'

const ROOM = 1.2 // of the largest request: beside its bytes each of its files counts a little

/**
 * Gives what one of several processes may take of what is allowed to all. The connections of one address are spread over
 * all of them, so that a share of each limit is right; but a share of bytes is never too small for one largest request.
 */
export function shareOf(config: Config): Config {
  const { workers, maxRequestBytes, maxConnections, maxSubmissions, maxUnknownBytes, maxUnknownBytesPerAddress } = config
  const share = (amount: number) => Math.ceil(amount / workers)
  const bytesShare = (bytes: number) => Math.max(share(bytes), Math.min(bytes, Math.ceil(maxRequestBytes * ROOM)))
  return {
    ...config,
    maxConnections: share(maxConnections),
    maxSubmissions: share(maxSubmissions),
    maxUnknownBytes: bytesShare(maxUnknownBytes),
    maxUnknownBytesPerAddress: bytesShare(maxUnknownBytesPerAddress),
  }
}
