import { HttpError } from '../errors.ts'

/** How large the frame of a form may be, whatever its fields hold. */
export interface FormLimits {
  /** Bytes of one field's name as it stands in the body, with its quotes or percent signs. */
  readonly partHeaderBytes: number
  /** How many fields there may be. */
  readonly parts: number
}

/** Gathers the names of a form's fields, one after another, out of chunks that are cut anywhere; keeps the limits. */
export class FieldName {
  readonly #limits: FormLimits
  readonly #bytes: Buffer
  #length = 0
  #taken = 0

  constructor(limits: FormLimits) {
    this.#limits = limits
    this.#bytes = Buffer.allocUnsafe(limits.partHeaderBytes)
  }

  /** How many bytes the name has so far. */
  get length(): number {
    return this.#length
  }

  /** How many more bytes the name may have. */
  get roomBytes(): number {
    return this.#bytes.length - this.#length
  }

  /** Copies the next bytes of the name; throws `part_header_too_large` where they are too many. */
  add(bytes: Buffer): void {
    if (bytes.length > this.roomBytes) throw new HttpError('part_header_too_large')
    this.#length += bytes.copy(this.#bytes, this.#length)
  }

  /**
   * Gives the bytes of the whole name and begins the next one; throws `too_many_parts` where the field is one too many.
   * @returns a view that holds until the next `add`
   */
  take(): Buffer {
    if (++this.#taken > this.#limits.parts) throw new HttpError('too_many_parts')
    const name = this.#bytes.subarray(0, this.#length)
    this.#length = 0
    return name
  }
}
