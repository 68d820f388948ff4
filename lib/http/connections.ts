import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Connection } from './connection.ts'

const SILENT_MS = 1000
const QUIET_MS = 10_000 // a browser uses a connection again sooner, and a head of a slow phone has come

/** The connections of a server: those that it serves, up to a limit, and those that it has refused, until they are closed. */
export class Connections {
  readonly #most: number
  readonly #all = new Map<Duplex, Connection>() // the oldest first
  #admitted = 0

  constructor(most: number) {
    this.#most = most
  }

  /** Gives the connection of a socket. */
  of(socket: Duplex): Connection | undefined {
    return this.#all.get(socket)
  }

  /**
   * Takes in a new connection until its socket is closed and it has settled. Where there is no room one gives way on which
   * nothing is done: whoever opens many is not to keep others out, nor who keeps one open after an answer (RFC 9112 §9.5).
   * @returns whether it is to be served
   */
  add(socket: Socket, connection: Connection): boolean {
    const quiet = this.#admitted < this.#most ? undefined : this.#findQuiet()
    quiet?.destroy()
    const isAdmitted = quiet !== undefined || this.#admitted < this.#most
    this.#all.set(socket, connection)
    connection.bytesBefore = socket.bytesRead
    if (isAdmitted) this.#admitted++
    socket.on('close', () => {
      void connection.settled.then(() => {
        this.#all.delete(socket)
        if (isAdmitted) this.#admitted--
      })
    })
    return isAdmitted
  }

  /** Gives all with their sockets. */
  all(): Iterable<[Duplex, Connection]> {
    return this.#all
  }

  // The oldest of those that have never brought a byte, or else of those that have brought no whole head for longer.
  #findQuiet(): Duplex | undefined {
    const nowMs = performance.now()
    let quiet: Duplex | undefined
    for (const [socket, connection] of this.#all) {
      if (nowMs - connection.openedAtMs < SILENT_MS) break
      if (!connection.isIdle || connection.isClosing || socket.destroyed) continue
      if ('bytesRead' in socket && socket.bytesRead === connection.bytesBefore) return socket
      if (nowMs - connection.idleSinceMs >= QUIET_MS) quiet ??= socket
    }
    return quiet
  }
}
