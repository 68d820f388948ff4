import { findingsOf, isFinal, type Inspected, type Unusable } from './inspection.ts'

/**
 * Says what of a session is not there: slices, recordings that an answer names, what cannot be read and no other upload
 * has, the upload at the end.
 * @param uploads the best source of answers first
 */
export function findMissing(uploads: readonly Inspected[]): string[] {
  const missing: string[] = []
  const hasFinal = uploads.some(hasAll)
  for (const each of uploads) {
    if (each.type === 'whole' || (hasFinal && each.upload.activity !== undefined)) continue
    if (each.type === 'incomplete') missing.push(`${each.missing} of upload ${each.upload.uuid}`)
    else missing.push(`upload ${each.upload.uuid}, which cannot be read: ${each.reason}`)
  }
  if (!uploads.some(({ upload }) => upload.activity === undefined)) missing.push('the upload at the end of the session')
  const lacking = findLacking(uploads)
  return [...missing, ...lacking.map((name) => `recording ${name}`), ...findUnusable(uploads, new Set(lacking))]
}

/** Says of an entry that nothing can be taken from it. */
export function describeUnusable({ name, reason }: Omit<Unusable, 'content'>, uuid: string): string {
  return `${name} of upload ${uuid}, which cannot be used: ${reason}`
}

// The web app sends everything again at the end; a zip of nothing but empty activities stands for none of it.
function hasAll(inspected: Inspected): boolean {
  return isFinal(inspected) && findingsOf(inspected)?.hasAnswers === true
}

function findLacking(uploads: readonly Inspected[]): string[] {
  const findings = uploads.flatMap((each) => findingsOf(each) ?? [])
  const there = new Set(findings.flatMap(({ recordings, files }) => [...recordings.map(({ name }) => name), ...files]))
  return [...new Set(findings.flatMap(({ named }) => named))].filter((name) => !there.has(name))
}

function findUnusable(uploads: readonly Inspected[], lacking: ReadonlySet<string>): string[] {
  const unusable = uploads.flatMap((each, worth) => {
    const entries = findingsOf(each)?.unusable ?? []
    return entries.filter(({ name }) => !lacking.has(name)).map((entry) => ({ entry, each, worth }))
  })
  if (unusable.length === 0) return []
  const sound = uploads.findIndex((each) => hasAll(each) && findingsOf(each)?.unusable.length === 0)
  const sources = indexSources(uploads)
  const isElsewhere = (key: string, each: Inspected) => [...(sources.get(key) ?? [])].some((source) => source !== each)
  return unusable
    .filter(({ entry, each, worth }) => !(sound >= 0 && sound < worth) && !isElsewhere(entry.content, each) && !isElsewhere(entry.name, each))
    .map(({ entry, each }) => describeUnusable(entry, each.upload.uuid))
}

// Files of answers are told apart by their content, all others by their names, which have a uuid.
function indexSources(uploads: readonly Inspected[]): Map<string, Set<Inspected>> {
  const sources = new Map<string, Set<Inspected>>()
  for (const each of uploads) {
    const { contents = [], recordings = [], files = [] } = findingsOf(each) ?? {}
    for (const key of [...contents, ...files, ...recordings.map(({ name }) => name)]) sources.set(key, (sources.get(key) ?? new Set()).add(each))
  }
  return sources
}
