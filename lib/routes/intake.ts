import type { RecipientList } from '../crypt/recipient-list.ts'
import { HttpError } from '../errors.ts'
import type { FormEvent, PartHead } from '../form-event.ts'
import { FieldText } from '../form/field-text.ts'
import { JsonError, JsonText } from '../form/json-text.ts'
import type { Arriving } from '../store/arriving.ts'
import type { StagedPart } from '../store/publisher.ts'
import { FormFiles } from './form-files.ts'

const MAX_TOKEN_BYTES = 1024
const MAX_TEXT_BYTES = 64 * 1024 // of one text field in a receipt; a longer one is kept as a file
const MAX_TEXTS_BYTES = 256 * 1024 // of all of them; what comes after is kept as files
const MAX_HEADS_BYTES = 4 * 1024 * 1024 // of the names of all parts, as they are kept
const OUR_TIME = /^\d{8}T\d{6}Z$/

const FIELDS = { isAnswers: false, holds: 'fields', field: '', name: 'fields.json', mediaType: 'application/json' } as const

/** Where the bytes of one part go. Both methods may return a promise that the sender has to wait for. */
interface Sink {
  write(bytes: Buffer): Promise<void> | undefined
  end(): Promise<void> | undefined
}

/** A text field. */
interface Field {
  readonly name: string
  readonly value: string
}

/** What an intake works with. */
export interface IntakeParts {
  readonly stage: () => Arriving
  /** Is told of the form's auth token; the sender waits until it has been checked. */
  readonly onToken: (authToken: string) => Promise<void>
  /** Is told how many more bytes are kept in memory; may throw. */
  readonly onMemory: (bytes: number) => void
  /** Whether the fields of the form are JSON texts, as in a JSON body. */
  readonly isJson: boolean
  readonly maxFieldBytes: number
}

/**
 * Takes in the parts of one form: files and answers go to the staging directory, other text fields are kept in memory.
 * Memory is bounded, whatever the form.
 */
export class Intake {
  readonly #parts: IntakeParts
  readonly #files: FormFiles
  readonly #fields: Field[] = []
  readonly #once = new Set<string>()
  #sink: Sink | undefined
  #fieldBytes = 0
  #textsBytes = 0
  #headsBytes = 0

  constructor(parts: IntakeParts) {
    this.#parts = parts
    this.#files = new FormFiles(parts.stage)
  }

  /** Takes the next events of the form, and keeps nothing of the memory they are in; a promise asks the sender to wait. */
  take(events: Iterable<FormEvent>): Promise<void> | undefined {
    const waits: Promise<void>[] = []
    for (const event of events) {
      const wait = this.#receive(event)
      if (wait === undefined) continue
      wait.catch(() => undefined) // should a later event throw before anybody awaits it
      waits.push(wait)
    }
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined)
  }

  /**
   * Fulfils when every file but the small ones is durable in the staging directory; gives what the form held.
   * @param readers whom it is encrypted to, where it is: the text fields are then a file too
   */
  async finish(readers: RecipientList | undefined): Promise<{ files: readonly StagedPart[]; fields: readonly Field[] }> {
    if (readers === undefined) return { files: await this.#files.finish(undefined), fields: this.#fields }
    const said = this.#fields.filter((field) => !isOurs(field))
    if (said.length > 0) await this.#keepFields(said)
    return { files: await this.#files.finish(readers), fields: this.#fields.filter(isOurs) }
  }

  /** Says that all of it is published. */
  release(): void {
    this.#files.release()
  }

  /** Removes everything that was staged. */
  discard(): Promise<void> {
    return this.#files.discard()
  }

  #receive(event: FormEvent): Promise<void> | undefined {
    switch (event.type) {
      case 'part':
        this.#countHead(event.head)
        this.#sink = this.#sinkFor(event.head)
        return undefined
      case 'data':
        return this.#sink?.write(event.bytes)
      case 'end':
        return this.#sink?.end()
    }
  }

  #sinkFor(head: PartHead): Sink {
    if (head.filename !== undefined) {
      if (head.name === 'auth_token') throw new HttpError('malformed_form', { detail: 'auth_token is a file' })
      return this.#fileSink(head, head.filename)
    }
    if (head.name === 'auth_token' || head.name === 'responses') {
      if (this.#once.has(head.name)) throw new HttpError('repeated_field')
      this.#once.add(head.name)
      return head.name === 'responses' ? this.#answersSink() : this.#tokenSink()
    }
    return this.#textSink(head.name)
  }

  // A file input that nobody filled comes with an empty name and no bytes (HTML, "constructing the entry list").
  #fileSink(head: PartHead, filename: string): Sink {
    let file = filename === '' ? undefined : this.#files.begin()
    return {
      write: (bytes) => {
        file ??= this.#files.begin()
        return file.write(bytes)
      },
      end: () => {
        if (file === undefined) return undefined
        return this.#files.keep(file, { isAnswers: false, field: head.name, name: filename, mediaType: head.mediaType })
      },
    }
  }

  #answersSink(): Sink {
    const file = this.#files.begin()
    const text = new JsonText()
    return {
      write: (bytes) => {
        this.#count(bytes)
        checkResponses(() => text.push(bytes))
        return file.write(bytes)
      },
      end: () => {
        checkResponses(() => text.finish())
        const mediaType = 'application/json'
        return this.#files.keep(file, { isAnswers: true, field: 'responses', name: 'messages.json', mediaType })
      },
    }
  }

  #tokenSink(): Sink {
    const text = new FieldText()
    return {
      write: (bytes) => {
        this.#count(bytes)
        text.add(bytes)
        if (text.bytes > MAX_TOKEN_BYTES) throw new HttpError('unauthorized_token', { detail: 'too long' })
        return undefined
      },
      end: () => this.#parts.onToken(parseToken(text.finish(), this.#parts.isJson)),
    }
  }

  #textSink(name: string): Sink {
    const text = new FieldText()
    let file: Arriving | undefined
    let keptBytes = 0
    return {
      write: (bytes) => {
        this.#count(bytes)
        text.add(bytes)
        if (file === undefined && this.#hasRoom(text.bytes, bytes.length)) {
          this.#keep(bytes.length)
          keptBytes += bytes.length
          return undefined
        }
        if (file === undefined) {
          file = this.#files.begin()
          this.#keep(-keptBytes) // it is in the file from now on
        }
        return file.write(text.take())
      },
      end: () => {
        const rest = text.finish()
        if (file === undefined) {
          this.#fields.push({ name, value: parseText(rest, this.#parts.isJson) })
          return undefined
        }
        const [extension, mediaType] = this.#parts.isJson ? ['json', 'application/json'] : ['txt', 'text/plain']
        return this.#files.keep(file, { isAnswers: false, field: name, name: `${name || 'field'}.${extension}`, mediaType })
      },
    }
  }

  async #keepFields(fields: readonly Field[]): Promise<void> {
    const file = this.#files.begin()
    const wait = file.write(Buffer.from(JSON.stringify(fields)))
    await Promise.all([wait, this.#files.keep(file, FIELDS)])
  }

  #hasRoom(textBytes: number, moreBytes: number): boolean {
    return textBytes <= MAX_TEXT_BYTES && this.#textsBytes + moreBytes <= MAX_TEXTS_BYTES
  }

  #keep(bytes: number): void {
    this.#textsBytes += bytes
    this.#parts.onMemory(bytes)
  }

  #countHead({ name, filename = '', mediaType = '' }: PartHead): void {
    const bytes = 2 * (name.length + filename.length + mediaType.length) + 64 // UTF-16, and what holds it
    this.#headsBytes += bytes
    if (this.#headsBytes > MAX_HEADS_BYTES) throw new HttpError('fields_too_large', { detail: 'names' })
    this.#parts.onMemory(bytes)
  }

  #count(bytes: Buffer): void {
    this.#fieldBytes += bytes.length
    if (this.#fieldBytes > this.#parts.maxFieldBytes) throw new HttpError('fields_too_large')
  }
}

// What /token gave and comes back says nothing of a participant. Without it most forms have no file of text fields.
function isOurs({ name, value }: Field): boolean {
  return name === 'expires' && OUR_TIME.test(value)
}

function checkResponses(check: () => void): void {
  try {
    check()
  } catch (error) {
    throw error instanceof JsonError ? new HttpError('invalid_responses', { cause: error }) : error
  }
}

function parseToken(text: string, isJson: boolean): string {
  const value: unknown = isJson ? JSON.parse(text) : text
  if (typeof value !== 'string') throw new HttpError('unauthorized_token', { detail: 'not a string' })
  return value
}

// A string is kept as its text; any other JSON value as it was spelled: reading and writing a number may change it.
function parseText(text: string, isJson: boolean): string {
  return isJson && text.startsWith('"') ? String(JSON.parse(text)) : text
}
