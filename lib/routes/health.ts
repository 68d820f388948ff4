import type { ReadinessCheck } from '../health/readiness.ts'
import type { Reply } from '../http/reply.ts'
import type { Handler } from '../http/router.ts'

/** `GET /livez`: says that the process answers; touches no disk. */
export async function livez(): Promise<Reply> {
  return { status: 200, body: { status: 'alive' } }
}

/** `GET /readyz`: says whether submissions can be stored, and which look failed. */
export function readyz(check: ReadinessCheck): Handler {
  return async ({ id }) => {
    const { isReady, looks } = await check.ask()
    if (isReady) return { status: 200, body: { status: 'ready', checks: looks } }
    const message = 'Submissions cannot be stored now. The lab finds the reason under checks, and in console.log.'
    return {
      status: 503,
      headers: { 'Retry-After': '60' },
      body: { status: 'failed', code: 'not_ready', message, request_id: id, checks: looks },
    }
  }
}
