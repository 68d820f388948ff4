/** A JSON object that was read: nothing is known of its fields yet. */
export type JsonObject = Readonly<Record<string, unknown>>

/** Reads a JSON text (RFC 8259), or gives undefined where it is none, such as a file that a crash cut off. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Reads a JSON text that holds an object, or gives undefined where it holds none. */
export function parseObject(text: string): JsonObject | undefined {
  const value = parseJson(text)
  return isObject(value) ? value : undefined
}

/** Says whether a value that was read is a JSON object (RFC 8259, section 4), not an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
