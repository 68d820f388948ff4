import type { LostFile } from './arrivals.ts'
import { forEachBounded } from './bounded.ts'
import type { Collection } from './collection.ts'
import { findMentions } from './mentions.ts'
import { findSender, type Sender } from './sender.ts'
import type { SessionState } from './session-state.ts'
import type { Arrival } from './upload.ts'

const AT_ONCE = 16

/** Every file in a project that names one participant; a form of text fields alone has none. */
export interface Trace {
  /** Also those that are another participant's, and whose claims contradict each other: their conflicts say so. */
  readonly sessions: readonly SessionState[]
  /** JSON submissions, with who sent them. */
  readonly messages: readonly { readonly arrival: Arrival; readonly sender: Sender }[]
  /** Files of any other kind that came with a token of the participant's. */
  readonly files: readonly Arrival[]
  /** What else has the participant's name in it, which proves nothing: in what a file is called, or as a text in a JSON submission. */
  readonly mentions: readonly Arrival[]
  /** Files that arrived and are gone from the disk. */
  readonly lost: readonly LostFile[]
}

/** Finds everything that names a participant: by its token, by what a file is called, by an answer, also one in a JSON submission. */
export async function findTrace(collection: Collection, participant: string): Promise<Trace> {
  const senders = new Map<Arrival, Sender>()
  await forEachBounded(collection.messages, AT_ONCE, async (arrival) => {
    const sender = await findSender(collection.vault, arrival)
    if (sender.claimed.includes(participant)) senders.set(arrival, sender)
  })
  const mentioned = await findMentions(collection, participant)
  const files = collection.foreign.filter(({ submission }) => submission.participant?.trim() === participant)
  const isTheirs = new Set([...senders.keys(), ...files])
  return {
    sessions: [...collection.sessions, ...collection.sealed].filter(({ claimed }) => claimed.includes(participant)),
    messages: collection.messages.flatMap((arrival) => {
      const sender = senders.get(arrival)
      return sender === undefined ? [] : [{ arrival, sender }]
    }),
    files,
    mentions: [...collection.messages, ...collection.foreign].filter((arrival) => mentioned.has(arrival.file.storedAs) && !isTheirs.has(arrival)),
    lost: collection.arrivals.lost.filter((file) => file.participant === participant),
  }
}

/** Says whether there is anything. */
export function isEmpty({ sessions, messages, files, mentions, lost }: Trace): boolean {
  return sessions.length + messages.length + files.length + mentions.length + lost.length === 0
}
