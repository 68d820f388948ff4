import type { Handler } from '../http/router.ts'
import { EXPOSITION, formatExposition } from '../metrics/exposition.ts'
import type { Family } from '../metrics/family.ts'
import type { Admin } from './admin.ts'

/** What `/metrics` works with. */
export interface MetricsParts {
  readonly admin: Admin
  readonly read: () => Promise<readonly Family[]>
  /** Is told who asked with the admin token. */
  readonly onRead: (address: string) => void
}

/** `GET /metrics`: what was counted and measured, for Prometheus, to whoever has the admin token and to this machine. */
export function metrics({ admin, read, onRead }: MetricsParts): Handler {
  return async (exchange) => {
    if (await admin.requireOrLocal(exchange)) onRead(exchange.client.address)
    return { status: 200, text: { mediaType: EXPOSITION, content: formatExposition(await read()) } }
  }
}
