/** Does something again and again, never twice at a time: on a mount that hangs it would take one thread of the pool after the other. */
export function every(ms: number, work: () => Promise<void>): NodeJS.Timeout {
  let isUnderWay = false
  return setInterval(() => {
    if (isUnderWay) return
    isUnderWay = true
    void work().finally(() => (isUnderWay = false))
  }, ms)
}
