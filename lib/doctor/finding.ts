/** What one check came to. */
export interface Finding {
  readonly state: 'ok' | 'warning' | 'FAILED'
  /** What was looked at. */
  readonly subject: string
  readonly says: string
  /** What to change, as it would be written. */
  readonly change?: string
}

/** Says that all is well. */
export const ok = (subject: string, says: string): Finding => ({ state: 'ok', subject, says })

/** Says that something may become a trouble, and what to change. */
export const warning = (subject: string, says: string, change?: string): Finding => finding('warning', subject, says, change)

/** Says that something is wrong, and what to change. */
export const failed = (subject: string, says: string, change?: string): Finding => finding('FAILED', subject, says, change)

function finding(state: Finding['state'], subject: string, says: string, change: string | undefined): Finding {
  return change === undefined ? { state, subject, says } : { state, subject, says, change }
}

/** Formats a finding as one line. */
export function formatFinding({ state, subject, says, change }: Finding): string {
  return `${state.padEnd(7)}  ${subject}: ${says}${change === undefined ? '' : `. Change: ${change}`}`.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?')
}
