/** A source of whole numbers from 0 to below `end`, always the same ones for the same seed. */
export type Chance = (end: number) => number

/** Makes a source of chance (mulberry32). */
export function makeChance(seed: number): Chance {
  let state = seed >>> 0
  return (end) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * end)
  }
}

/** The seed of a run: `FUZZ_SEED` where it is set, so that a failure can be had again. */
export function chooseSeed(): number {
  const seed = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32))
  console.log(`FUZZ_SEED=${seed}`)
  return seed
}
