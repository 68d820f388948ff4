/** How many arrays and objects may stand within one another where nothing else is said. */
export const MAX_DEPTH = 10_000

/** What is wrong with a JSON text, and where; never a word of the text itself. */
export class JsonError extends Error {
  /** How many bytes of the text stand before the one that cannot be there. */
  readonly offset: number

  constructor(message: string, offset: number) {
    super(`${message} at byte ${offset}`)
    this.name = 'JsonError'
    this.offset = offset
  }
}

/**
 * Checks that the bytes pushed into it are exactly one JSON value (RFC 8259) in UTF-8 without a byte order mark, just
 * as JSON.parse would take it. Keeps nothing of the text but one bit for each level of nesting. Throws a JsonError.
 */
export class JsonText {
  readonly #maxDepth: number
  #offset: number
  #state = VALUE
  #isInKey = false
  #depth = 0
  #isObject = new Uint8Array(16) // one bit for each level

  /** `maxDepth` counts arrays and objects within one another; `offset` is where the text begins, for the errors. */
  constructor({ maxDepth = MAX_DEPTH, offset = 0 }: { maxDepth?: number; offset?: number } = {}) {
    this.#maxDepth = maxDepth
    this.#offset = offset
  }

  /** Says whether the value has ended; a number ends only when the byte after it has been seen. */
  get isEnded(): boolean {
    return this.#state === ENDED
  }

  /** Reads the next bytes of the text. */
  push(chunk: Buffer): void {
    const end = this.read(chunk)
    for (let at = end; at < chunk.length; at++, this.#offset++) {
      if (NEXT[(ENDED << 8) | (chunk[at] ?? 0)] !== ENDED) this.#refuse('unexpected byte after the value')
    }
  }

  /** Says that the text has ended; throws where its value has not. */
  finish(): void {
    const isWholeNumber = this.#depth === 0 && NEXT[(this.#state << 8) | SPACE] === END_NUMBER
    if (!this.isEnded && !isWholeNumber) this.#refuse('unexpected end')
  }

  /**
   * Reads the next bytes of a value that may have other text after it, and nothing of that text.
   * @returns how many bytes of `chunk` belong to the value or to the whitespace before it
   */
  read(chunk: Buffer): number {
    const { length } = chunk
    let state = this.#state
    let at = 0
    while (at < length && state !== ENDED) {
      const next = NEXT[(state << 8) | (chunk[at] ?? 0)] ?? REFUSE
      state = next < REFUSE ? next : this.#act(next, at)
      if (next !== END_NUMBER) at++ // the byte that ends a number is not of it
      if (state === STRING) while (at < length && IS_PLAIN[chunk[at] ?? 0] === 1) at++
    }
    this.#state = state
    this.#offset += at
    return at
  }

  /** Makes the steps that depend on more than the state, and returns the next state. */
  #act(action: number, at: number): number {
    switch (action) {
      case END_STRING:
        if (!this.#isInKey) return this.#stateAfterValue()
        this.#isInKey = false
        return AFTER_KEY
      case END_NUMBER:
      case END_WORD:
        return this.#stateAfterValue()
      case BEGIN_KEY:
        this.#isInKey = true
        return STRING
      case OPEN_ARRAY:
      case OPEN_OBJECT:
        return this.#open(action === OPEN_OBJECT, at)
      case CLOSE:
        this.#depth--
        return this.#stateAfterValue()
      default:
        this.#offset += at
        return this.#refuse('unexpected byte')
    }
  }

  #open(isObject: boolean, at: number): number {
    if (this.#depth === this.#maxDepth) {
      this.#offset += at
      this.#refuse('one level too many')
    }
    const depth = ++this.#depth
    const index = depth >> 3
    if (index === this.#isObject.length) this.#isObject = twiceAsLong(this.#isObject)
    const others = (this.#isObject[index] ?? 0) & ~(1 << (depth & 7))
    this.#isObject[index] = others | (Number(isObject) << (depth & 7))
    return isObject ? FIRST_KEY : FIRST_ELEMENT
  }

  #stateAfterValue(): number {
    const depth = this.#depth
    if (depth === 0) return ENDED
    return (((this.#isObject[depth >> 3] ?? 0) >> (depth & 7)) & 1) === 1 ? AFTER_MEMBER : AFTER_ELEMENT
  }

  /** Throws, now and at whatever comes later. */
  #refuse(message: string): never {
    this.#state = REFUSED
    throw new JsonError(message, this.#offset)
  }
}

function twiceAsLong(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const longer = new Uint8Array(bytes.length * 2)
  longer.set(bytes)
  return longer
}

/** The states, then from `refuse` on the actions; states within a word or a UTF-8 sequence tell what has been read. */
const NAMES = [
  'refused', 'ended', 'value', 'firstElement', 'afterElement', 'firstKey', 'key', 'afterKey', 'afterMember',
  'string', 'escape', 'hex4', 'hex3', 'hex2', 'hex1', 'tail1', 'tail2', 'tail3', 'e0', 'ed', 'f0', 'f4',
  'minus', 'zero', 'integer', 'point', 'fraction', 'exponent', 'exponentSign', 'exponentDigits',
  't', 'tr', 'tru', 'f', 'fa', 'fal', 'fals', 'n', 'nu', 'nul',
  'refuse', 'endString', 'endNumber', 'endWord', 'beginKey', 'openArray', 'openObject', 'close',
] as const
type Name = (typeof NAMES)[number]
type Step = readonly [bytes: RegExp, next: Name]

const WHITESPACE = /[\t\n\r ]/ // RFC 8259 §2
const AFTER_NUMBER = /[\t\n\r ,\]}]/ // the state that follows refuses those of them that do not fit there
const VALUES: readonly Step[] = [
  [/"/, 'string'], [/-/, 'minus'], [/0/, 'zero'], [/[1-9]/, 'integer'], [/t/, 't'], [/f/, 'f'], [/n/, 'n'],
  [/\[/, 'openArray'], [/\{/, 'openObject'],
]

/** RFC 8259 §2 to §7, and for strings RFC 3629 §4; a byte that stands in no row is refused. */
const GRAMMAR: Readonly<Partial<Record<Name, readonly Step[]>>> = {
  ended: [[WHITESPACE, 'ended']],
  value: [[WHITESPACE, 'value'], ...VALUES],
  firstElement: [[WHITESPACE, 'firstElement'], [/\]/, 'close'], ...VALUES],
  afterElement: [[WHITESPACE, 'afterElement'], [/,/, 'value'], [/\]/, 'close']],
  firstKey: [[WHITESPACE, 'firstKey'], [/"/, 'beginKey'], [/\}/, 'close']],
  key: [[WHITESPACE, 'key'], [/"/, 'beginKey']],
  afterKey: [[WHITESPACE, 'afterKey'], [/:/, 'value']],
  afterMember: [[WHITESPACE, 'afterMember'], [/,/, 'key'], [/\}/, 'close']],

  string: [
    [/[ !#-[\]-\x7f]/, 'string'], [/"/, 'endString'], [/\\/, 'escape'],
    [/[\xc2-\xdf]/, 'tail1'], [/[\xe1-\xec\xee\xef]/, 'tail2'], [/[\xf1-\xf3]/, 'tail3'],
    [/\xe0/, 'e0'], [/\xed/, 'ed'], [/\xf0/, 'f0'], [/\xf4/, 'f4'],
  ],
  escape: [[/["\\/bfnrt]/, 'string'], [/u/, 'hex4']],
  hex4: [[/[0-9A-Fa-f]/, 'hex3']],
  hex3: [[/[0-9A-Fa-f]/, 'hex2']],
  hex2: [[/[0-9A-Fa-f]/, 'hex1']],
  hex1: [[/[0-9A-Fa-f]/, 'string']],
  tail1: [[/[\x80-\xbf]/, 'string']],
  tail2: [[/[\x80-\xbf]/, 'tail1']],
  tail3: [[/[\x80-\xbf]/, 'tail2']],
  e0: [[/[\xa0-\xbf]/, 'tail1']], // below it would be overlong
  ed: [[/[\x80-\x9f]/, 'tail1']], // above it would be a surrogate
  f0: [[/[\x90-\xbf]/, 'tail2']], // below it would be overlong
  f4: [[/[\x80-\x8f]/, 'tail2']], // above it would be past U+10FFFF

  minus: [[/0/, 'zero'], [/[1-9]/, 'integer']],
  zero: [[/\./, 'point'], [/[Ee]/, 'exponent'], [AFTER_NUMBER, 'endNumber']],
  integer: [[/[0-9]/, 'integer'], [/\./, 'point'], [/[Ee]/, 'exponent'], [AFTER_NUMBER, 'endNumber']],
  point: [[/[0-9]/, 'fraction']],
  fraction: [[/[0-9]/, 'fraction'], [/[Ee]/, 'exponent'], [AFTER_NUMBER, 'endNumber']],
  exponent: [[/[-+]/, 'exponentSign'], [/[0-9]/, 'exponentDigits']],
  exponentSign: [[/[0-9]/, 'exponentDigits']],
  exponentDigits: [[/[0-9]/, 'exponentDigits'], [AFTER_NUMBER, 'endNumber']],

  t: [[/r/, 'tr']], tr: [[/u/, 'tru']], tru: [[/e/, 'endWord']],
  f: [[/a/, 'fa']], fa: [[/l/, 'fal']], fal: [[/s/, 'fals']], fals: [[/e/, 'endWord']],
  n: [[/u/, 'nu']], nu: [[/l/, 'nul']], nul: [[/l/, 'endWord']],
}

const SPACE = 0x20
const [REFUSED, ENDED, VALUE, STRING] = [id('refused'), id('ended'), id('value'), id('string')]
const [FIRST_ELEMENT, AFTER_ELEMENT] = [id('firstElement'), id('afterElement')]
const [FIRST_KEY, AFTER_KEY, AFTER_MEMBER] = [id('firstKey'), id('afterKey'), id('afterMember')]
const [REFUSE, BEGIN_KEY, CLOSE] = [id('refuse'), id('beginKey'), id('close')]
const [END_STRING, END_NUMBER, END_WORD] = [id('endString'), id('endNumber'), id('endWord')]
const [OPEN_ARRAY, OPEN_OBJECT] = [id('openArray'), id('openObject')]

/** What comes next, at `state << 8 | byte`. */
const NEXT = compile()
/** 1 for each byte that leaves a string in the state it is in. */
const IS_PLAIN = Uint8Array.from({ length: 256 }, (_, byte) => Number(NEXT[(STRING << 8) | byte] === STRING))

function id(name: Name): number {
  return NAMES.indexOf(name)
}

function compile(): Uint8Array {
  const next = new Uint8Array(NAMES.length << 8).fill(REFUSE)
  NAMES.forEach((name, state) => {
    for (const [bytes, to] of GRAMMAR[name] ?? []) {
      for (let byte = 0; byte < 256; byte++) {
        if (bytes.test(String.fromCharCode(byte))) next[(state << 8) | byte] = id(to)
      }
    }
  })
  return next
}
