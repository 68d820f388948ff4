import type { ExportTree } from './export-tree.ts'
import { Table } from './table.ts'

/** The tables of an export. */
export type ExportTables = ReturnType<typeof openTables>

/** Opens the tables; each gets its name when it is finished. */
export function openTables(tree: ExportTree) {
  const setAside = ['file', 'reason', 'session', 'participant', 'source'] as const
  return {
    responses: new Table(tree, 'responses.csv', [
      'participant', 'session', 'activity', 'item', 'value', 'started', 'ended', 'file', 'sha256', 'activity_url', 'item_url', 'response',
    ]),
    recordings: new Table(tree, 'recordings.csv', [
      'participant', 'session', 'item', 'file', 'bytes', 'duration_seconds', 'sample_rate', 'channels', 'bits_per_sample', 'sha256', 'note',
    ]),
    sessions: new Table(tree, 'sessions.csv', [
      'participant', 'session', 'state', 'missing', 'conflicts', 'activities', 'responses', 'recordings', 'sources', 'bytes', 'first_arrival', 'last_arrival',
    ]),
    messages: new Table(tree, 'messages.csv', ['participant', 'file', 'bytes', 'sha256', 'source', 'arrival', 'note']),
    incomplete: new Table(tree, 'incomplete/reasons.csv', setAside),
    unassigned: new Table(tree, 'unassigned/reasons.csv', setAside),
  }
}

/** Gives the tables that are there without a row too. */
export function mainTablesOf({ responses, recordings, sessions, messages }: ExportTables): Pick<ExportTables[keyof ExportTables], 'begin' | 'finish'>[] {
  return [responses, recordings, sessions, messages]
}

/** Gives every table its name. */
export async function finishTables(tables: ExportTables): Promise<void> {
  for (const table of mainTablesOf(tables)) await table.finish()
  await tables.incomplete.finish()
  await tables.unassigned.finish()
}

/** Closes what is open. */
export async function closeTables(tables: ExportTables): Promise<void> {
  for (const table of Object.values(tables)) await table.close()
}
