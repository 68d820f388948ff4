import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openSlices } from '../lib/archive/source.ts'
import { readWavHeader, type WavHeader } from '../lib/archive/wav.ts'
import { needs, temporaryDirectory } from './harness.ts'
import { chooseSeed, makeChance } from './seeded.ts'

const chunk = (id: string, data: Buffer, bytes = data.length) => {
  const head = Buffer.alloc(8)
  head.write(id, 0, 'latin1')
  head.writeUInt32LE(bytes, 4)
  return Buffer.concat([head, data, Buffer.alloc(data.length % 2)])
}
const riff = (...chunks: Buffer[]) => chunk('RIFF', Buffer.concat([Buffer.from('WAVE'), ...chunks]))
const ofLength = (bytes: number, file: Buffer) => {
  file.writeUInt32LE(bytes, 4)
  return file
}
const format = ({ encoding = 1, channels = 1, rate = 16_000, bits = 16, frameBytes = 2, more = Buffer.alloc(0) } = {}) => {
  const data = Buffer.alloc(16)
  data.writeUInt16LE(encoding, 0)
  data.writeUInt16LE(channels, 2)
  data.writeUInt32LE(rate, 4)
  data.writeUInt32LE(rate * frameBytes, 8)
  data.writeUInt16LE(frameBytes, 12)
  data.writeUInt16LE(bits, 14)
  return chunk('fmt ', Buffer.concat([data, more]))
}
const extensible = (encoding: number, tail = '000000001000800000aa00389b71') =>
  Buffer.concat([Buffer.from([22, 0, 24, 0, 3, 0, 0, 0, encoding, 0]), Buffer.from(tail, 'hex')])
const second = Buffer.alloc(32_000)
const plain = { durationSeconds: 1, sampleRate: 16_000, channels: 1, bitsPerSample: 16 }
const comment = chunk('LIST', Buffer.from('INFOodd'))

const cases: { name: string; file: Buffer; expected: WavHeader | undefined }[] = [
  { name: 'PCM is read', file: riff(format(), chunk('data', second)), expected: plain },
  {
    name: 'float samples are read',
    file: riff(format({ encoding: 3, bits: 32, channels: 2, rate: 48_000, frameBytes: 8 }), chunk('data', Buffer.alloc(192_000))),
    expected: { durationSeconds: 0.5, sampleRate: 48_000, channels: 2, bitsPerSample: 32 },
  },
  {
    name: 'extensible PCM is read',
    file: riff(format({ encoding: 0xfffe, bits: 24, frameBytes: 3, more: extensible(1) }), chunk('data', Buffer.alloc(48_000))),
    expected: { ...plain, bitsPerSample: 24 },
  },
  {
    name: 'extensible float is read',
    file: riff(format({ encoding: 0xfffe, bits: 32, frameBytes: 4, more: extensible(3) }), chunk('data', Buffer.alloc(64_000))),
    expected: { ...plain, bitsPerSample: 32 },
  },
  {
    name: 'other chunks are passed over, of odd lengths too',
    file: riff(comment, format(), comment, chunk('data', second), comment),
    expected: plain,
  },
  ...[0, 0xffffffff].map((bytes) => ({
    name: `a data chunk of 0 goes to the end of a file whose length is ${bytes} too`,
    file: ofLength(bytes, riff(format(), chunk('data', second, 0))),
    expected: plain,
  })),
  { name: 'a data chunk of 0 in a file of the right length is empty', file: riff(format(), chunk('data', Buffer.alloc(0)), comment), expected: { ...plain, durationSeconds: 0 } },
  {
    name: 'a data chunk of all ones goes to the end of the file',
    file: riff(format(), chunk('data', second, 0xffffffff)),
    expected: plain,
  },
  {
    name: 'a data chunk goes no further than the file',
    file: riff(format(), chunk('data', Buffer.alloc(16_000), 32_000)),
    expected: { ...plain, durationSeconds: 0.5 },
  },
  {
    name: 'only whole frames count',
    file: riff(format(), chunk('data', Buffer.alloc(31_999))),
    expected: { ...plain, durationSeconds: 15_999 / 16_000 },
  },
  { name: 'a recording may be empty', file: riff(format(), chunk('data', Buffer.alloc(0))), expected: { ...plain, durationSeconds: 0 } },
  { name: 'a wrong length of frames does no harm', file: riff(format({ frameBytes: 0 }), chunk('data', second)), expected: plain },
  {
    name: 'samples of 12 bits take two bytes',
    file: riff(format({ bits: 12 }), chunk('data', second)),
    expected: { ...plain, bitsPerSample: 12 },
  },
  { name: 'a wrong length of the whole does no harm', file: Buffer.concat([riff(format(), chunk('data', second)), comment]).fill(0, 4, 8), expected: plain },
  { name: 'an empty file is no recording', file: Buffer.alloc(0), expected: undefined },
  { name: 'text is no recording', file: Buffer.from('voice '.repeat(100)), expected: undefined },
  { name: 'WebM is no recording', file: Buffer.from('1a45dfa39f4286810142f7810142f2810442f381', 'hex'), expected: undefined },
  { name: 'another RIFF file is no recording', file: chunk('RIFF', Buffer.from('AVI and so on')), expected: undefined },
  { name: 'a header without samples is no recording', file: riff(format()), expected: undefined },
  { name: 'samples without a format are no recording', file: riff(chunk('data', second)), expected: undefined },
  { name: 'samples before the format are no recording', file: riff(chunk('data', second), format()), expected: undefined },
  { name: 'a format that is cut is no recording', file: riff(chunk('fmt ', Buffer.alloc(14, 1)), chunk('data', second)), expected: undefined },
  { name: 'MP3 in a WAV file is not read', file: riff(format({ encoding: 0x55 }), chunk('data', second)), expected: undefined },
  { name: 'no channels are no recording', file: riff(format({ channels: 0 }), chunk('data', second)), expected: undefined },
  { name: 'no frames a second are no recording', file: riff(format({ rate: 0 }), chunk('data', second)), expected: undefined },
  { name: 'no bits a sample are no recording', file: riff(format({ bits: 0 }), chunk('data', second)), expected: undefined },
  {
    name: 'an unknown extensible format is not read',
    file: riff(format({ encoding: 0xfffe, more: extensible(1, '0000000010008000000000000000') }), chunk('data', second)),
    expected: undefined,
  },
  {
    name: 'an extensible format that is cut is not read',
    file: riff(format({ encoding: 0xfffe, more: extensible(1).subarray(0, 20) }), chunk('data', second)),
    expected: undefined,
  },
  {
    name: 'chunks without end are not followed',
    file: riff(...Array.from({ length: 10_000 }, () => chunk('junk', Buffer.alloc(0))), format(), chunk('data', second)),
    expected: undefined,
  },
]
for (const { name, file, expected } of cases) {
  test(name, async (t) => {
    const path = join(await temporaryDirectory(t), 'a.wav')
    await writeFile(path, file)
    const source = await openSlices([{ path, to: Math.min(9, file.length) }, { path, from: Math.min(9, file.length) }])
    assert.deepEqual(await readWavHeader(source), expected)
    await source.close()
    assert.deepEqual(await readWavHeader({ first: file, bytes: file.length }), expected)
    assert.deepEqual(await readWavHeader({ first: file.subarray(0, 120), bytes: file.length }), expected)
  })
}

test('a recording of unknown length may be longer than its header can say', async () => {
  const first = riff(format(), chunk('data', Buffer.alloc(0), 0xffffffff))
  assert.deepEqual(await readWavHeader({ first, bytes: first.length + 8e9 }), { ...plain, durationSeconds: 250_000 })
})

test('a beginning that ends before the samples is not read', async () => {
  const file = riff(format(), comment, chunk('data', second))
  const samples = file.indexOf('data') + 8
  for (let length = 0; length < samples; length++) {
    assert.equal(await readWavHeader({ first: file.subarray(0, length), bytes: file.length }), undefined)
  }
  assert.deepEqual(await readWavHeader({ first: file.subarray(0, samples), bytes: file.length }), plain)
})

test('Python writes and reads the same recordings', async (t) => {
  if (!needs(t, 'python3', 'python3')) return
  const path = join(await temporaryDirectory(t), 'a.wav')
  const script = `
import sys, wave
path, channels, width, rate, frames = sys.argv[1], *map(int, sys.argv[2:])
with wave.open(path, 'wb') as recording:
    recording.setparams((channels, width, rate, 0, 'NONE', ''))
    recording.writeframes(bytes(channels * width * frames))
with wave.open(path) as recording:
    assert (recording.getnchannels(), recording.getframerate(), recording.getnframes()) == (channels, rate, frames)`
  for (const [channels, width, rate, frames] of [[1, 2, 16_000, 12_345], [2, 3, 44_100, 999], [6, 4, 96_000, 1], [1, 1, 8000, 0]] as const) {
    const python = spawnSync('python3', ['-c', script, path, ...[channels, width, rate, frames].map(String)], { encoding: 'utf8' })
    assert.equal(python.stderr, '')
    const first = await readFile(path)
    const expected = { durationSeconds: frames / rate, sampleRate: rate, channels, bitsPerSample: width * 8 }
    assert.deepEqual(await readWavHeader({ first, bytes: first.length }), expected)
  }
})

test('a broken header gives finite numbers or nothing', async () => {
  const chance = makeChance(chooseSeed())
  const whole = riff(comment, format({ encoding: 0xfffe, more: extensible(1) }), chunk('data', second))
  for (let input = 0; input < 5000; input++) {
    const first = Buffer.from(whole.subarray(0, chance(200)))
    for (let times = chance(5); times > 0 && first.length > 0; times--) first[chance(first.length)] = chance(256)
    const header = await readWavHeader({ first, bytes: whole.length })
    const numbers = Object.values(header ?? {})
    assert.ok(numbers.every((number) => Number.isFinite(number) && number >= 0), `input ${input}`)
  }
})
