import { isUtf8 } from 'node:buffer'
import { isObject, parseJson, type JsonObject } from '../json.ts'
import { splitElements, splitMembers } from './json-pieces.ts'

const MAX_ADDRESS_CHARACTERS = 4096 // of a session or an activity: each is kept in memory, whatever the size of its file
const [COMMA, OPENING_BRACKET, OPENING_BRACE] = [0x2c, 0x5b, 0x7b] // ASCII; no other character has these bytes in UTF-8

/** The file of an activity cannot be read; the message is a plain sentence. */
export class AnswersError extends Error {}

/** One answer: a `reproschema:Response` with its `reproschema:ResponseActivity`, each as the text that came. */
export interface Answer {
  /** The `@id` of the Response, or of the ResponseActivity where it has none: what makes it the same answer. */
  readonly id: string
  /** The texts of its elements, in the order in which they came. */
  readonly texts: readonly string[]
  /** `wasAttributedTo.@id`: one for each page load. */
  readonly session: string | undefined
  /** The address of the activity, `used[1]`. */
  readonly activity: string
  /** The address of the item; undefined where there is no Response. */
  readonly item: string | undefined
  /** Whether the value is a string. */
  readonly isText: boolean
  /** A string as its text, any other JSON value as it was spelled. */
  readonly value: string
  readonly startedAt: string
  readonly endedAt: string
}

/** Parses one `activity_<k>.jsonld`: a JSON list of `reproschema:ResponseActivity` and `reproschema:Response`. Throws an `AnswersError`. */
export function parseAnswers(content: Buffer): Answer[] {
  const elements = parseElements(content)
  const activities = new Map<string, Element>()
  for (const element of elements) {
    const generated = element.value['generated']
    if (isOfType(element, 'ResponseActivity') && typeof generated === 'string') activities.set(generated, element)
  }
  const used = new Set<Element>()
  const answers: Answer[] = []
  const common = activityOf(elements.find((element) => activityOf(element) !== '')) // where a Response has no ResponseActivity
  for (const element of elements) {
    if (isOfType(element, 'ResponseActivity')) continue
    const activity = activities.get(textOf(element.value['@id']))
    if (activity !== undefined) used.add(activity)
    answers.push(new GivenAnswer(element, activity, common))
  }
  const alone = elements.filter((element) => isOfType(element, 'ResponseActivity') && !used.has(element))
  const all = [...answers, ...alone.map((element) => new GivenAnswer(undefined, element, common))]
  const isTooLong = all.some(({ session, activity }) => (session ?? '').length > MAX_ADDRESS_CHARACTERS || activity.length > MAX_ADDRESS_CHARACTERS)
  if (isTooLong) throw new AnswersError(`The name of a session or an activity in it has more than ${MAX_ADDRESS_CHARACTERS} characters.`)
  return all
}

/** Counts the commas and opening brackets of a JSON text: no fewer than it has values, nearly, which take memory whatever their length. */
export function countMarks(content: Buffer): number {
  let marks = 0
  for (const byte of content) if (byte === COMMA || byte === OPENING_BRACKET || byte === OPENING_BRACE) marks++
  return marks
}

/** The last segment of an address, which is what people call an item or an activity. */
export function lastSegment(address: string): string {
  return address.split(/[?#]/)[0]?.split('/').findLast((segment) => segment !== '') ?? address
}

interface Element {
  readonly text: string
  readonly value: JsonObject
}

function parseElements(content: Buffer): Element[] {
  if (!isUtf8(content)) throw new AnswersError('Its text is not UTF-8.')
  const text = content.toString().replace(/^\ufeff/, '')
  const list = parseJson(text)
  if (list === undefined) throw new AnswersError('It is not JSON.')
  if (!Array.isArray(list)) throw new AnswersError('It is not a JSON list.')
  const spelling = new Spelling(text)
  return list.map((value: unknown, index) => {
    if (!isObject(value)) throw new AnswersError('It holds something that is not a JSON object.')
    return new ListElement(spelling, index, value)
  })
}

/** The elements of a list as they were spelled: split only where somebody wants to know. */
class Spelling {
  readonly #list: string
  #texts: readonly string[] | undefined

  constructor(list: string) {
    this.#list = list
  }

  of(index: number): string {
    this.#texts ??= splitElements(this.#list)
    return this.#texts[index] ?? ''
  }
}

// Classes, here and below: an object with a getter of its own takes a kilobyte, and there may be a million.
class ListElement implements Element {
  readonly spelling: Spelling
  readonly index: number
  readonly value: JsonObject

  constructor(spelling: Spelling, index: number, value: JsonObject) {
    this.spelling = spelling
    this.index = index
    this.value = value
  }

  get text(): string {
    return this.spelling.of(this.index)
  }
}

function isOfType(element: Element, type: string): boolean {
  return [element.value['@type']].flat().some((each) => typeof each === 'string' && each.split(/[:/#]/).at(-1) === type)
}

function activityOf(element: Element | undefined): string {
  const used = element?.value['used']
  return Array.isArray(used) ? textOf(used[1]) : ''
}

class GivenAnswer implements Answer {
  readonly response: Element | undefined
  readonly responseActivity: Element | undefined
  readonly common: string
  readonly id: string

  constructor(response: Element | undefined, responseActivity: Element | undefined, common: string) {
    this.response = response
    this.responseActivity = responseActivity
    this.common = common
    this.id = textOf(response?.value['@id']) || textOf(responseActivity?.value['@id']) || this.texts.join()
  }

  // The converters read `used` of the first.
  get texts(): readonly string[] {
    return [this.responseActivity, this.response].flatMap((element) => (element === undefined ? [] : [element.text]))
  }

  get session(): string | undefined {
    const attributed = this.response?.value['wasAttributedTo']
    return isObject(attributed) ? textOf(attributed['@id']) || undefined : undefined
  }

  get activity(): string {
    return activityOf(this.responseActivity) || this.common
  }

  get item(): string | undefined {
    return this.response === undefined ? undefined : textOf(this.response.value['isAbout'])
  }

  get isText(): boolean {
    return typeof this.response?.value['value'] === 'string'
  }

  get value(): string {
    return this.response === undefined ? '' : valueOf(this.response)
  }

  get startedAt(): string {
    return textOf(this.responseActivity?.value['startedAtTime'])
  }

  get endedAt(): string {
    return textOf(this.responseActivity?.value['endedAtTime'])
  }
}

function valueOf(element: Element): string {
  const value = element.value['value']
  return typeof value === 'string' ? value : (splitMembers(element.text).get('value') ?? '')
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
