import { join } from 'node:path'
import { isEntry } from '../audit/entry.ts'
import { listTrail, readTrailFile } from '../audit/trail.ts'
import { systemCode } from '../errors.ts'
import type { Layout } from '../store/layout.ts'
import type { Discrepancy } from './verification.ts'

/**
 * Holds every line of the record of access against the line before it.
 * @param report is told of each discrepancy as it is made
 * @returns how many files and entries there are
 */
export async function verifyTrail(layout: Layout, report: (discrepancy: Discrepancy) => void): Promise<{ files: number; entries: number }> {
  const files = await listTrail(layout.audit)
  let entries = 0
  for (const file of files) {
    const where = join('audit', file.name)
    try {
      for await (const { number, value, isChained, isTorn } of readTrailFile(layout.audit, file)) {
        if (isTorn) report({ type: 'torn', where, detail: `line ${number} ends without a newline: it was being written, or the file was cut since` })
        else if (!isChained) report({ type: 'broken chain', where, detail: `line ${number} does not carry the SHA-256 of the line before it` })
        else if (!isEntry(value)) report({ type: 'unreadable', where, detail: `line ${number} is no entry of the record of access` })
        if (!isTorn) entries++
      }
    } catch (error) {
      const code = systemCode(error)
      if (code === undefined) throw error
      report({ type: 'unreadable', where, detail: `it cannot be read: ${code}` })
    }
  }
  return { files: files.length, entries }
}
