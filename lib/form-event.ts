/** What is known of one part of a form when it begins. */
export interface PartHead {
  /** The field's name, as it was given. */
  readonly name: string
  /** The file's name as it was given, or undefined where the part is a text field. */
  readonly filename: string | undefined
  /** The media type of the part, as it was given. */
  readonly mediaType: string | undefined
}

/** What a reader of a form gives out, one after another; the same for every media type of a form. */
export type FormEvent =
  | { readonly type: 'part'; readonly head: PartHead }
  | { readonly type: 'data'; readonly bytes: Buffer }
  | { readonly type: 'end' }

/**
 * A push parser of a form: bytes in, events out, no input or output of its own.
 * Both methods throw an `HttpError` where the form is malformed or over a limit.
 */
export interface FormParser {
  /** Reads the next bytes of the body. The events' buffers are views of `chunk` or of memory of the parser's own. */
  push(chunk: Buffer): Iterable<FormEvent>
  /** Says that the body has ended; throws where the form has not. */
  finish(): Iterable<FormEvent>
}
