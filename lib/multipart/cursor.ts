/** A chunk of the body, and how far it has been read; what reads on moves `at` forward. */
export interface Cursor {
  readonly chunk: Buffer
  at: number
}
