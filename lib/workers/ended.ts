/** A worker, one of several processes that serve together, has ended by itself. */
export class WorkerEndedError extends Error {
  /** @param ending its exit code, or the signal that ended it */
  constructor(ending: number | string) {
    super(`a worker ended: ${ending}`)
  }
}
