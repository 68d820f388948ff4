/** One setting: an environment variable, its flag on the command line where it has one, and how its text is read. */
export interface Setting<Value> {
  readonly variable: string
  readonly flag?: string
  /** What stands for the value in the help. */
  readonly placeholder: string
  /** What the setting does, for the help and the README. */
  readonly description: string
  /** The value where none is given, as it would be written. */
  readonly fallback: string
  /** What is allowed, to end the sentence "… is not allowed: use". */
  readonly allowed: string
  readonly isSecret?: boolean
  /** Whether a variable that is empty is a mistake: as good as none, it would take a protection away without a word. */
  readonly isNeverEmpty?: boolean
  /** Reads a text that is not empty; undefined where it is not allowed. */
  readonly parse: (text: string) => Value | undefined
  /** Says what is wrong with a text that is not allowed, where more can be said than `allowed` does; it shows no secret. */
  readonly explain?: (text: string) => string | undefined
  /** The value where nothing is given. */
  readonly otherwise: () => Value
}

/** Gives a row its type. */
export const setting = <Value>(row: Setting<Value>): Setting<Value> => row

/** Allows whole numbers in a range. */
export const wholeNumber = (least: number, most: number) => ({
  allowed: `a whole number from ${least} to ${most}`,
  parse: (text: string) => {
    const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
    return number >= least && number <= most ? number : undefined
  },
})

/** A setting that is a whole number, with a flag. */
export const amount = (row: { variable: string; flag: string; description: string; fallback: number; least: number; most: number }) =>
  setting({
    variable: row.variable,
    flag: row.flag,
    placeholder: 'N',
    description: row.description,
    fallback: String(row.fallback),
    ...wholeNumber(row.least, row.most),
    otherwise: () => row.fallback,
  })

/** Bytes. */
export const KiB = 1024
/** Bytes. */
export const MiB = 1024 * KiB
/** Bytes. */
export const GiB = 1024 * MiB
