import { HttpError } from '../errors.ts'
import type { FormEvent, PartHead } from '../form-event.ts'
import { FieldText } from '../form/field-text.ts'
import { JsonError, JsonText } from '../form/json-text.ts'
import type { StagedPart } from '../store/publisher.ts'
import type { Content, StagedFile } from '../store/staged-file.ts'

const MAX_TOKEN_BYTES = 1024
const MAX_TEXT_BYTES = 64 * 1024 // of one text field in a receipt; a longer one is kept as a file
const MAX_TEXTS_BYTES = 256 * 1024 // of all of them; what comes after is kept as files
const MAX_HELD_BYTES = 128 * 1024 // of small files, which reach the disk with the publish
const MAX_HEADS_BYTES = 4 * 1024 * 1024 // of the names of all parts, as they are kept

/** Where the bytes of one part go. Both methods may return a promise that the sender has to wait for. */
interface Sink {
  write(bytes: Buffer): Promise<void> | undefined
  end(): Promise<void> | undefined
}

/** What an intake works with. */
export interface IntakeParts {
  readonly stage: () => StagedFile
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
  readonly #staged: StagedFile[] = []
  readonly #files: StagedPart[] = []
  readonly #fields: { name: string; value: string }[] = []
  readonly #once = new Set<string>()
  #sink: Sink | undefined
  #fieldBytes = 0
  #textsBytes = 0
  #headsBytes = 0
  #heldBytes = 0
  #finishing: Promise<void> = Promise.resolve()
  #isDiscarded = false

  constructor(parts: IntakeParts) {
    this.#parts = parts
  }

  /** Takes the next events of the form; a promise asks the sender to wait. */
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

  /** Fulfils when every file but the small ones is durable in the staging directory; gives what the form held. */
  async finish(): Promise<{ files: readonly StagedPart[]; fields: readonly { name: string; value: string }[] }> {
    await this.#finishing
    return { files: this.#files, fields: this.#fields }
  }

  /** Removes everything that was staged. */
  async discard(): Promise<void> {
    this.#isDiscarded = true
    await Promise.allSettled([this.#finishing])
    await Promise.all(this.#staged.map((file) => file.discard()))
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
    let file = filename === '' ? undefined : this.#stage()
    return {
      write: (bytes) => {
        file ??= this.#stage()
        return file.write(bytes)
      },
      end: () => {
        if (file === undefined) return undefined
        return this.#keep(file, { isAnswers: false, field: head.name, name: filename, mediaType: head.mediaType })
      },
    }
  }

  #answersSink(): Sink {
    const file = this.#stage()
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
        return this.#keep(file, { isAnswers: true, field: 'responses', name: 'messages.json', mediaType })
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
    let file: StagedFile | undefined
    return {
      write: (bytes) => {
        this.#count(bytes)
        text.add(bytes)
        if (file === undefined && this.#hasRoom(text.bytes, bytes.length)) return undefined
        file ??= this.#stage()
        return file.write(text.take())
      },
      end: () => {
        const rest = text.finish()
        if (file === undefined) {
          this.#fields.push({ name, value: parseText(rest, this.#parts.isJson) })
          return undefined
        }
        const [extension, mediaType] = this.#parts.isJson ? ['json', 'application/json'] : ['txt', 'text/plain']
        return this.#keep(file, { isAnswers: false, field: name, name: `${name || 'field'}.${extension}`, mediaType })
      },
    }
  }

  #stage(): StagedFile {
    const file = this.#parts.stage()
    this.#staged.push(file)
    return file
  }

  // One after another: a thousand small files in one chunk must not take a thousand descriptors.
  #keep(file: StagedFile, description: Omit<StagedPart, 'path' | keyof Content>): Promise<void> | undefined {
    const held = this.#heldBytes + file.bytes <= MAX_HELD_BYTES ? file.hold() : undefined
    this.#heldBytes += held?.bytes ?? 0
    this.#finishing = this.#finishing.then(async () => {
      if (this.#isDiscarded) return // no syncs for what is about to be removed
      const content = held ?? (await file.finish())
      this.#files.push({ path: file.path, ...description, ...content })
    })
    return held === undefined ? this.#finishing : undefined
  }

  /** Says whether a text field may stay in memory with the bytes that came, and counts them there. */
  #hasRoom(textBytes: number, moreBytes: number): boolean {
    if (textBytes > MAX_TEXT_BYTES || this.#textsBytes + moreBytes > MAX_TEXTS_BYTES) return false
    this.#textsBytes += moreBytes
    this.#parts.onMemory(moreBytes)
    return true
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
