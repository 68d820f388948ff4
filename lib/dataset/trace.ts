import type { LostFile } from './arrivals.ts'
import { forEachBounded } from './bounded.ts'
import type { Collection } from './collection.ts'
import { findSender, type Sender } from './sender.ts'
import type { SessionState } from './session-state.ts'
import type { Arrival } from './upload.ts'

const AT_ONCE = 16

/** Everything in a project that names one participant. */
export interface Trace {
  /** Also those that are another participant's, and whose claims contradict each other: their conflicts say so. */
  readonly sessions: readonly SessionState[]
  /** JSON submissions, with who sent them. */
  readonly messages: readonly { readonly arrival: Arrival; readonly sender: Sender }[]
  /** Files of any other kind that came with a token of the participant's. */
  readonly files: readonly Arrival[]
  /** Files that arrived and are gone from the disk. */
  readonly lost: readonly LostFile[]
}

/** Finds everything that names a participant: tokens, file names, and answers, also those in JSON submissions. */
export async function findTrace(collection: Collection, participant: string): Promise<Trace> {
  const senders = new Map<Arrival, Sender>()
  await forEachBounded(collection.messages, AT_ONCE, async (arrival) => {
    const sender = await findSender(collection.vault, arrival)
    if (sender.claimed.includes(participant)) senders.set(arrival, sender)
  })
  return {
    sessions: [...collection.sessions, ...collection.sealed].filter(({ claimed }) => claimed.includes(participant)),
    messages: collection.messages.flatMap((arrival) => {
      const sender = senders.get(arrival)
      return sender === undefined ? [] : [{ arrival, sender }]
    }),
    files: collection.foreign.filter(({ submission }) => submission.participant?.trim() === participant),
    lost: collection.arrivals.lost.filter((file) => file.participant === participant),
  }
}

/** Says whether there is anything. */
export function isEmpty({ sessions, messages, files, lost }: Trace): boolean {
  return sessions.length + messages.length + files.length + lost.length === 0
}
