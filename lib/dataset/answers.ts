import { isUtf8 } from 'node:buffer'
import { splitElements, splitMembers } from './json-pieces.ts'

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
    answers.push(toAnswer(element, activity, common))
  }
  const alone = elements.filter((element) => isOfType(element, 'ResponseActivity') && !used.has(element))
  return [...answers, ...alone.map((element) => toAnswer(undefined, element, common))]
}

/** The last segment of an address, which is what people call an item or an activity. */
export function lastSegment(address: string): string {
  return address.split(/[?#]/)[0]?.split('/').findLast((segment) => segment !== '') ?? address
}

interface Element {
  readonly text: string
  readonly value: Readonly<Record<string, unknown>>
}

function parseElements(content: Buffer): Element[] {
  if (!isUtf8(content)) throw new AnswersError('Its text is not UTF-8.')
  const text = content.toString().replace(/^\ufeff/, '')
  const list = parseJson(text)
  if (!Array.isArray(list)) throw new AnswersError('It is not a JSON list.')
  let texts: readonly string[] | undefined // split only where somebody wants to know how something was spelled
  return list.map((value: unknown, index) => {
    if (typeof value !== 'object' || value === null) throw new AnswersError('It holds something that is not a JSON object.')
    return {
      value: value as Record<string, unknown>,
      get text() {
        texts ??= splitElements(text)
        return texts[index] ?? ''
      },
    }
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) throw new AnswersError('It is not JSON.')
    throw error
  }
}

function isOfType(element: Element, type: string): boolean {
  return [element.value['@type']].flat().some((each) => typeof each === 'string' && each.split(/[:/#]/).at(-1) === type)
}

function activityOf(element: Element | undefined): string {
  const used = element?.value['used']
  return Array.isArray(used) ? textOf(used[1]) : ''
}

function toAnswer(response: Element | undefined, activity: Element | undefined, common: string): Answer {
  const elements = [activity, response].filter((element) => element !== undefined) // the converters read `used` of the first
  const attributed = response?.value['wasAttributedTo']
  return {
    id: textOf(response?.value['@id']) || textOf(activity?.value['@id']) || elements.map(({ text }) => String(text)).join(),
    get texts() {
      return elements.map((element) => element.text)
    },
    session: typeof attributed === 'object' && attributed !== null && '@id' in attributed ? textOf(attributed['@id']) || undefined : undefined,
    activity: activityOf(activity) || common,
    item: response === undefined ? undefined : textOf(response.value['isAbout']),
    isText: typeof response?.value['value'] === 'string',
    get value() {
      return response === undefined ? '' : valueOf(response)
    },
    startedAt: textOf(activity?.value['startedAtTime']),
    endedAt: textOf(activity?.value['endedAtTime']),
  }
}

function valueOf(element: Element): string {
  const value = element.value['value']
  return typeof value === 'string' ? value : (splitMembers(element.text).get('value') ?? '')
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
