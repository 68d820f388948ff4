import { randomUUID } from 'node:crypto'
import { submitForm, type Answer } from './harness.ts'
import { writeZip, type ZipInput } from './zip-writer.ts'

/** The slices of a session's last upload have so many bytes, but for the last one. */
export const SLICE_BYTES = 10_000_000

const STUDY = 'https://raw.githubusercontent.com/lab/study/main'

/** A recording, as an answer names it. */
export interface Recording {
  readonly name: string
  readonly content: Buffer
}

/** An answer that was given once: it is the same, with the same `@id`, in every upload. */
export interface Given {
  readonly item: string
  readonly elements: readonly object[]
  readonly recording: Recording | undefined
}

/** What a participant did in one activity. */
export interface Activity {
  readonly name: string
  readonly given: readonly Given[]
}

/** One page load of the web app. */
export interface Sitting {
  /** `wasAttributedTo.@id` of every answer. */
  readonly id: string
  readonly uid: string
  readonly activities: Activity[]
}

/** One form's file. */
export interface Sent {
  readonly name: string
  readonly content: Buffer
}

/** Makes a WAV file: PCM, 16 bits, one channel. */
export function makeWav(frames: number, sampleRate = 16_000, first = 0): Buffer {
  const wav = Buffer.alloc(44 + 2 * frames)
  wav.write('RIFF', 0, 'latin1')
  wav.writeUInt32LE(36 + 2 * frames, 4)
  wav.write('WAVEfmt ', 8, 'latin1')
  wav.writeUInt32LE(16, 16)
  wav.writeUInt16LE(1, 20)
  wav.writeUInt16LE(1, 22)
  wav.writeUInt32LE(sampleRate, 24)
  wav.writeUInt32LE(sampleRate * 2, 28)
  wav.writeUInt16LE(2, 32)
  wav.writeUInt16LE(16, 34)
  wav.write('data', 36, 'latin1')
  wav.writeUInt32LE(2 * frames, 40)
  for (let frame = 0; frame < frames; frame++) wav.writeInt16LE(((frame * 31 + first) % 65_536) - 32_768, 44 + 2 * frame)
  return wav
}

/** Opens the web app: a new sitting without answers. */
export function openApp(uid = ''): Sitting {
  return { id: randomUUID(), uid, activities: [] }
}

/** Answers an activity: each item with a value, or with a recording where the value is a buffer. */
export function answer(sitting: Sitting, name: string, items: Readonly<Record<string, unknown>>): Activity {
  const activity = { name, given: Object.entries(items).map(([item, value]) => give(sitting, name, item, value)) }
  sitting.activities.push(activity)
  return activity
}

/** The upload after an activity: one zip with that activity alone. */
export function activityUpload(sitting: Sitting, index: number, folder = randomUUID()): Sent {
  const activity = sitting.activities[index]
  if (activity === undefined) throw new Error(`no activity ${index}`)
  const stem = `${folder}-${sitting.uid}`
  return { name: `${stem}-activity${index + 1}.zip`, content: writeZip(entriesOf(stem, [activity])) }
}

/** The zip at the end of a session: every activity again. */
export function finalZip(sitting: Sitting, options: Pick<ZipInput, 'method' | 'central'> & { without?: readonly string[] } = {}): Sent {
  const { without = [], ...fields } = options
  const stem = `${randomUUID()}-${sitting.uid}`
  const entries = entriesOf(stem, sitting.activities).filter((entry) => !without.some((name) => entry.name.endsWith(name)))
  return { name: `${stem}.zip`, content: writeZip(entries.map((entry) => ({ ...entry, ...fields }))) }
}

/** Cuts an upload as the web app does: `.zip.000`, `.zip.001` … `.zip.0010`. */
export function slice({ name, content }: Sent, sliceBytes = SLICE_BYTES): Sent[] {
  const count = Math.max(1, Math.ceil(content.length / sliceBytes))
  return Array.from({ length: count }, (_, index) => ({
    name: `${name}.00${index}`,
    content: content.subarray(index * sliceBytes, (index + 1) * sliceBytes),
  }))
}

/** Sends files at once, each in a form of its own with the parts in the app's order. Throws where one is refused. */
export async function send(server: { url: string }, authToken: string, files: readonly Sent[]): Promise<Answer[]> {
  const answers = await Promise.all(
    files.map(({ name, content }) => submitForm(server, [['file', content, name], ['auth_token', authToken], ['expires', '20300101T000000Z']])),
  )
  for (const each of answers) if (each.status !== 200) throw new Error(each.text)
  return answers
}

function give(sitting: Sitting, activity: string, item: string, value: unknown): Given {
  const recording = Buffer.isBuffer(value) ? { name: `${item}-${randomUUID()}.wav`, content: value } : undefined
  const address = `${STUDY}/activities/${activity}`
  const [activityId, responseId] = [randomUUID(), randomUUID()]
  const now = new Date().toISOString()
  const context = 'https://raw.githubusercontent.com/ReproNim/reproschema/1.0.0/contexts/reproschema'
  const elements = [
    {
      '@context': context,
      '@type': 'reproschema:ResponseActivity',
      '@id': `uuid:${activityId}`,
      used: [`${address}/items/${item}`, `${address}/${activity}_schema`, `${STUDY}/study/study_schema`],
      inLanguage: 'en',
      startedAtTime: now,
      endedAtTime: now,
      wasAssociatedWith: { version: '1.0.0', url: 'https://www.repronim.org/reproschema-ui/', '@id': 'https://github.com/ReproNim/reproschema-ui' },
      generated: `uuid:${responseId}`,
    },
    {
      '@context': context,
      '@type': 'reproschema:Response',
      '@id': `uuid:${responseId}`,
      wasAttributedTo: { '@id': sitting.id },
      isAbout: `${address}/items/${item}`,
      value: recording === undefined ? value : recording.name,
    },
  ]
  return { item, elements, recording }
}

function entriesOf(folder: string, activities: readonly Activity[]): ZipInput[] {
  const answers = activities.map(({ given }, index) => ({
    name: `${folder}/activity_${index}.jsonld`,
    content: JSON.stringify(given.flatMap(({ elements }) => elements), null, 2),
    method: 'deflate' as const,
  }))
  const recordings = activities.flatMap(({ given }) => given.flatMap(({ recording }) => recording ?? []))
  return [
    { name: `${folder}/`, content: '' },
    ...answers,
    ...recordings.map(({ name, content }) => ({ name: `${folder}/${name}`, content })),
  ]
}
