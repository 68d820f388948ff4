import { MessageChannel } from 'node:worker_threads'

const LEAST_BYTES = 4096 // what is smaller is collected sooner than it is freed

const nowhere = makeNowhere()

/**
 * Frees the memory of bytes at once, where they are all that is in it; they are empty from then on, as is every view of
 * them. Left to be collected, the next bytes would come into fresh memory, which the kernel has to fill with zeros first:
 * 64 KiB take fifteen times as long so. Memory is given away by a message, also one that nobody receives (HTML, §9.4.4,
 * "message port post message steps").
 */
export function free({ buffer, byteLength }: Buffer): void {
  if (byteLength < LEAST_BYTES || byteLength !== buffer.byteLength || !(buffer instanceof ArrayBuffer)) return
  nowhere.postMessage(undefined, [buffer])
}

function makeNowhere(): { postMessage: (message: undefined, transferred: readonly ArrayBuffer[]) => void } {
  const { port1 } = new MessageChannel()
  port1.close()
  return port1
}
