import { claim, decideParticipant } from './participant.ts'
import type { SealedUpload } from './sealed-upload.ts'
import type { SessionState } from './session-state.ts'
import { arrivalsOf, sendersOf, type Upload } from './upload.ts'

/** Names who sent an upload, as far as its name and its first token tell: what one page of the web app sends has one sender. */
export function senderOf(upload: Upload): string {
  const [first] = sendersOf(upload)
  const [uid] = claim([upload.uid])
  const [participant] = claim([first?.participant])
  return uid ?? participant ?? `token ${first?.tokenSha256 ?? upload.uuid}`
}

/**
 * Puts encrypted uploads to sessions: those of one sender up to each upload that is sent at the end of a session.
 * @param otherSenders who sent uploads that could be looked into
 */
export function groupSealed(sealed: readonly SealedUpload[], otherSenders: ReadonlySet<string>): SessionState[] {
  const bySender = new Map<string, SealedUpload[]>()
  for (const each of sealed) {
    const sender = senderOf(each.upload)
    const uploads = bySender.get(sender) ?? []
    bySender.set(sender, uploads)
    uploads.push(each)
  }
  return [...bySender].flatMap(([sender, uploads]) => {
    const mayBeElsewhere = otherSenders.has(sender) || uploads.some(isFinal)
    return splitByEnd(uploads).map((sitting) => toSession(sitting, mayBeElsewhere))
  })
}

function splitByEnd(uploads: readonly SealedUpload[]): SealedUpload[][] {
  const sittings: SealedUpload[][] = [[]]
  for (const each of uploads.toSorted((a, b) => (firstAt(a) < firstAt(b) ? -1 : Number(firstAt(a) > firstAt(b))))) {
    sittings.at(-1)?.push(each)
    if (isFinal(each)) sittings.push([])
  }
  return sittings.filter(({ length }) => length > 0)
}

function toSession(uploads: readonly SealedUpload[], mayBeElsewhere: boolean): SessionState {
  const end = uploads.find(isFinal)
  const arrivals = uploads.flatMap(({ upload }) => arrivalsOf(upload))
  const moments = arrivals.map(({ submission }) => submission.receivedAt).toSorted()
  const claims = {
    tokens: claim(uploads.flatMap(({ upload }) => sendersOf(upload)).map(({ participant }) => participant)),
    uids: claim(uploads.map(({ upload }) => upload.uid)),
    answers: [],
  }
  const { participant, conflict } = decideParticipant(claims)
  return {
    id: `upload-${(end ?? uploads[0])?.upload.uuid ?? ''}`,
    participant,
    claimed: claim([...claims.tokens, ...claims.uids]),
    conflicts: conflict === undefined ? [] : [conflict],
    ...findMissing(uploads, end, mayBeElsewhere),
    sealed: { uploads: uploads.length, zip: end?.zip },
    bytes: arrivals.reduce((sum, { file }) => sum + file.bytes, 0),
    firstAt: moments[0] ?? '',
    lastAt: moments.at(-1) ?? '',
  }
}

// The web app sends everything again at the end of a session.
function findMissing(uploads: readonly SealedUpload[], end: SealedUpload | undefined, mayBeElsewhere: boolean): Pick<SessionState, 'missing' | 'unknown'> {
  const missing: string[] = []
  const unknown: string[] = []
  for (const { upload, missing: lacks, unknown: notKnown } of uploads) {
    const isSentAgain = end !== undefined && upload.activity !== undefined
    if (lacks !== undefined && !isSentAgain) missing.push(`${lacks} of upload ${upload.uuid}`)
    if (lacks !== undefined && isSentAgain) unknown.push(`whether the upload at the end has what is missing here: ${lacks} of upload ${upload.uuid}`)
    if (notKnown !== undefined && !isSentAgain) unknown.push(`${notKnown}: upload ${upload.uuid}`)
  }
  if (end === undefined && mayBeElsewhere) unknown.push('whether the upload at the end of the session is one of the others of this sender')
  if (end === undefined && !mayBeElsewhere) missing.push('the upload at the end of the session')
  return { missing, unknown }
}

function isFinal({ upload }: SealedUpload): boolean {
  return upload.activity === undefined
}

function firstAt({ upload }: SealedUpload): string {
  return sendersOf(upload).map(({ receivedAt }) => receivedAt).toSorted()[0] ?? ''
}
