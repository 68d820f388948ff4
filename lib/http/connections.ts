import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Connection } from './connection.ts'

const SILENT_MS = 1000

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
   * Takes in a new connection until its socket is closed and it has settled. Where there is no room one that has brought
   * nothing gives way: whoever opens many is not to keep others out.
   * @returns whether it is to be served
   */
  add(socket: Socket, connection: Connection): boolean {
    const silent = this.#admitted < this.#most ? undefined : this.#findSilent()
    silent?.destroy()
    const isAdmitted = silent !== undefined || this.#admitted < this.#most
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

  // The oldest of those that have had time to bring a byte. Who has sent half a head is slow, and keeps its place.
  #findSilent(): Duplex | undefined {
    const beforeMs = performance.now() - SILENT_MS
    for (const [socket, connection] of this.#all) {
      if (connection.openedAtMs > beforeMs) return undefined
      const isSilent = 'bytesRead' in socket && socket.bytesRead === connection.bytesBefore
      if (isSilent && !connection.isClosing && !socket.destroyed) return socket
    }
    return undefined
  }
}
