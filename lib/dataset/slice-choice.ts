import type { Slice, Upload } from './upload.ts'
import type { Vault } from './vault.ts'

const MOST_TRIES = 32 // each may read the whole upload

/** What came of an upload with one choice of its slices. */
export interface Tried<Result> {
  readonly result: Result
  /** How much of it is of no use: 0 where all is well, infinite where nothing can be read. */
  readonly flaws: number
}

/**
 * Chooses among the copies of slices that came more than once: the first that came, unless others make the upload
 * better. A copy may be damaged on the disk, or have bytes of another upload in it.
 * @param vault where the slices are stored
 * @param attempt looks into the upload with a choice of slices; the copies that are not chosen are its `others`
 */
export async function chooseSlices<Result>(upload: Upload, vault: Vault, attempt: (upload: Upload) => Promise<Tried<Result>>): Promise<Result> {
  const first = await attempt(upload)
  if (first.flaws === 0 || upload.others.length + upload.repeats.length === 0) return first.result
  const copies = await findCopies(upload, vault)
  let best: { choice: readonly Slice[]; tried: Tried<Result> } = { choice: upload.slices, tried: first }
  let tries = 0
  const consider = async (choice: readonly Slice[]): Promise<boolean> => {
    if (best.tried.flaws === 0 || tries >= MOST_TRIES || choice.every((slice, index) => slice === best.choice[index])) return false
    tries++
    const tried = await attempt(withSlices(upload, choice))
    if (tried.flaws >= best.tried.flaws) return false
    best = { choice, tried }
    return true
  }
  const replace = (slice: Slice) => best.choice.map((each) => (each.number === slice.number ? slice : each))
  await consider(upload.slices.map((slice) => copies.get(slice.number)?.[0] ?? slice))
  await consider(upload.slices.map((slice) => copies.get(slice.number)?.at(-1) ?? slice))
  for (let isBetter = true; isBetter && tries < MOST_TRIES; ) {
    isBetter = false
    for (const copy of [...copies.values()].flat()) if (await consider(replace(copy))) isBetter = true
  }
  return best.tried.result
}

function withSlices(upload: Upload, slices: readonly Slice[]): Upload {
  const chosen = new Set(slices)
  const replaced = upload.slices.filter((slice) => !chosen.has(slice))
  return {
    ...upload,
    slices,
    others: [...replaced, ...upload.others.filter((slice) => !chosen.has(slice))],
    repeats: upload.repeats.filter((slice) => !chosen.has(slice)),
  }
}

/** Gives the copies of each slice that has several, each content once: what its receipt promises and of the usual length first. */
async function findCopies(upload: Upload, vault: Vault): Promise<Map<number, Slice[]>> {
  const copies = new Map<number, Slice[]>()
  const usualBytes = mostCommon(upload.slices.slice(0, -1).map(({ file }) => file.bytes))
  const last = upload.slices.at(-1)?.number
  for (const number of new Set([...upload.others, ...upload.repeats].map((slice) => slice.number))) {
    const distinct = new Map<string, { slice: Slice; rank: number }>()
    for (const slice of [...upload.slices, ...upload.others, ...upload.repeats].filter((each) => each.number === number)) {
      const content = await vault.readContent(slice.file)
      if (content.type !== 'file' || distinct.has(content.sha256)) continue
      const isAsPromised = slice.file.sha256 === undefined || slice.file.sha256 === content.sha256
      const isUsual = number === last || content.bytes === usualBytes
      distinct.set(content.sha256, { slice, rank: (isAsPromised ? 0 : 2) + (isUsual ? 0 : 1) })
    }
    const ranked = [...distinct.values()].toSorted((a, b) => a.rank - b.rank)
    copies.set(number, ranked.map(({ slice }) => slice))
  }
  return copies
}

function mostCommon(numbers: readonly number[]): number | undefined {
  const counts = new Map<number, number>()
  for (const number of numbers) counts.set(number, (counts.get(number) ?? 0) + 1)
  return [...counts].toSorted(([, a], [, b]) => b - a)[0]?.[0]
}
