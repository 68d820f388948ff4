import { isMainThread } from 'node:worker_threads'

/**
 * Makes one kind of call to the disk. The main thread leaves it to the thread pool, so that a disk that hangs holds up
 * no other request; a thread that only waits for the disk anyway makes it itself, which costs no trip to the pool: then it
 * gives no promise, and throws at once.
 */
export function diskCall<Parameters extends readonly unknown[], Result>(
  pooled: (...parameters: Parameters) => Promise<Result>,
  blocking: (...parameters: Parameters) => Result,
): (...parameters: Parameters) => Promise<Result> | Result {
  return isMainThread ? pooled : blocking
}
