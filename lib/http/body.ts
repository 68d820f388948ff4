import type { IncomingMessage } from 'node:http'
import { HttpError } from '../errors.ts'
import { free } from '../free.ts'
import type { Cutoff } from './cutoff.ts'

const DRAIN_BYTES = 64 * 1024 * 1024
const DRAIN_SECONDS = 300

/** Takes the next bytes of a body, and keeps nothing of the memory they are in; a promise makes the sender wait. */
export type Take = (chunk: Buffer) => Promise<void> | undefined

/**
 * Hands the body of a request to `take`, chunk by chunk, and fulfils when all of it has been taken.
 *
 * By listeners rather than `for await`, which destroys the socket when its body throws, and the answer with it, and
 * which joins chunks that need no joining. Throws `request_too_large`, `request_timeout` when no byte came for
 * `idleSeconds` (the time that we make the sender wait does not count), `incomplete_body`, and whatever `take` throws;
 * the rest of the body is then still to be read: see `drain`.
 */
export function readBody(
  request: IncomingMessage,
  take: Take,
  limits: { bytes: number; idleSeconds: number },
  cutoff: Cutoff,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let bytes = 0
    let isWaiting = false
    let hasEnded = false
    let isSettled = false
    const idle = setTimeout(onIdle, limits.idleSeconds * 1000)
    request.on('data', onData).on('end', onEnd).on('error', onLost).on('close', onLost)
    cutoff.listen(onCut)
    if (cutoff.reason !== undefined) onCut(cutoff.reason)
    else if (request.destroyed) onLost()

    function onData(chunk: Buffer): void {
      idle.refresh()
      bytes += chunk.length
      if (bytes > limits.bytes) return settle(() => reject(new HttpError('request_too_large')))
      try {
        const wait = take(chunk)
        free(chunk)
        if (wait !== undefined) pauseUntil(wait)
      } catch (error) {
        settle(() => reject(error))
      }
    }

    function pauseUntil(wait: Promise<void>): void {
      isWaiting = true
      request.pause()
      const goOn = () => {
        if (isSettled) return
        isWaiting = false
        idle.refresh()
        if (hasEnded) settle(resolve)
        else request.resume()
      }
      wait.then(goOn, (error) => settle(() => reject(error)))
    }

    function onEnd(): void {
      hasEnded = true
      if (!isWaiting) settle(resolve)
    }

    function onLost(): void {
      if (!hasEnded) settle(() => reject(new HttpError('incomplete_body')))
    }

    function onCut(reason: HttpError): void {
      settle(() => reject(reason))
    }

    // A process that stood still itself runs its timers first, and then reads what has come meanwhile.
    function onIdle(): void {
      const bytesBefore = bytes
      setImmediate(() => {
        if (isSettled) return
        if (isWaiting || bytes > bytesBefore) idle.refresh()
        else settle(() => reject(new HttpError('request_timeout')))
      })
    }

    function settle(outcome: () => void): void {
      if (isSettled) return // what the body waited for may fail after that: the request is `drain`'s by then
      isSettled = true
      clearTimeout(idle)
      request.off('data', onData).off('end', onEnd).off('error', onLost).off('close', onLost).pause()
      cutoff.listen(undefined)
      outcome()
    }
  })
}

/** Reads and discards what a client still sends after it has been answered, until it ends; bounded in bytes and time. */
export function drain(request: IncomingMessage, idleSeconds: number): Promise<void> {
  if (request.complete || request.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    let bytes = 0
    const idle = setTimeout(done, idleSeconds * 1000)
    const limit = setTimeout(done, DRAIN_SECONDS * 1000)
    request.on('data', onData).on('end', done).on('error', done).on('close', done).resume()

    function onData(chunk: Buffer): void {
      idle.refresh()
      bytes += chunk.length
      if (bytes > DRAIN_BYTES) done()
    }

    function done(): void {
      clearTimeout(idle)
      clearTimeout(limit)
      request.off('data', onData).off('end', done).off('error', done).off('close', done)
      resolve()
    }
  })
}
