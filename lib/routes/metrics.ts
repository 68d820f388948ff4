import type { Handler } from '../http/router.ts'
import { EXPOSITION, formatExposition } from '../metrics/exposition.ts'
import type { Family } from '../metrics/family.ts'
import { requireAdmin } from './admin.ts'

/** `GET /metrics`: what was counted and measured, for Prometheus, to whoever has the admin token and to this machine. */
export function metrics({ adminToken, read }: { adminToken: string; read: () => Promise<readonly Family[]> }): Handler {
  return async (exchange) => {
    requireAdmin(exchange, adminToken)
    return { status: 200, text: { mediaType: EXPOSITION, content: formatExposition(await read()) } }
  }
}
