import { setTimeout as sleep } from 'node:timers/promises'
import { networkOf } from './network.ts'

const FREE = 10
const FIRST_MS = 250
const LONGEST_MS = 5000
const MOST_COUNTED = 30 // what is beyond is forgiven no later
const FORGIVE_MS = 60_000 // one each
const MOST_NETWORKS = 10_000
const MOST_WAITING = 64 // connections that are held, in all
const MOST_WAITING_OF_NETWORK = 4

/**
 * Slows those who guess the admin token: after ten wrong ones from an address the answer to each further one waits, longer
 * each time, up to 5 seconds; one is forgiven each minute. A right token never waits, whoever else has the address: a lab
 * behind one proxy is not to be locked out by a guest of its network. That this makes few connections wait, and
 * answers more than those at once, is the price of holding none without bound.
 */
export class Slowing {
  readonly #counts = new Map<string, { count: number; atMs: number }>() // the one that guessed last is the last
  readonly #waiting = new Map<string, number>()
  #waitingInAll = 0

  /**
   * Counts a wrong token and says for how many milliseconds its answer is to wait.
   * @param nowMs of a clock that is never set back
   */
  count(address: string, nowMs: number): number {
    const network = networkOf(address)
    const known = this.#counts.get(network)
    const forgiven = known === undefined ? 0 : Math.floor((nowMs - known.atMs) / FORGIVE_MS)
    const before = Math.max(0, (known?.count ?? 0) - forgiven)
    const count = Math.min(MOST_COUNTED, before + 1)
    this.#counts.delete(network)
    this.#counts.set(network, { count, atMs: before === 0 || known === undefined ? nowMs : known.atMs + forgiven * FORGIVE_MS })
    const [oldest] = this.#counts.keys()
    if (this.#counts.size > MOST_NETWORKS && oldest !== undefined) this.#counts.delete(oldest)
    return count <= FREE ? 0 : Math.min(LONGEST_MS, FIRST_MS * 2 ** (count - FREE - 1))
  }

  /** Waits, where not too many wait already. */
  async wait(address: string, ms: number): Promise<void> {
    const network = networkOf(address)
    const ofNetwork = this.#waiting.get(network) ?? 0
    if (ms === 0 || ofNetwork >= MOST_WAITING_OF_NETWORK || this.#waitingInAll >= MOST_WAITING) return
    this.#waiting.set(network, ofNetwork + 1)
    this.#waitingInAll++
    await sleep(ms, undefined, { ref: false })
    this.#waitingInAll--
    const left = (this.#waiting.get(network) ?? 1) - 1
    if (left === 0) this.#waiting.delete(network)
    else this.#waiting.set(network, left)
  }
}
