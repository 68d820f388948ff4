import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ByteSource } from '../lib/archive/source.ts'
import { readEntries, readEntry, type ZipEntry } from '../lib/archive/zip.ts'
import { readSmallEntry } from '../lib/archive/zip-small.ts'
import { parseAnswers } from '../lib/dataset/answers.ts'
import { splitElements, splitMembers } from '../lib/dataset/json-pieces.ts'
import { mergeAnswers } from '../lib/dataset/merge.ts'
import { decideParticipant } from '../lib/dataset/participant.ts'
import { foldName, Segments, toSegment } from '../lib/dataset/segment.ts'
import { readUploadContent } from '../lib/dataset/upload-content.ts'
import { parseUploadName } from '../lib/dataset/upload-name.ts'
import { writeZip, type ZipInput } from './zip-writer.ts'

const UUID = '0f6c1b1e-5a3b-4c1d-9e2f-00112233aabb'

const names = [
  { name: 'the zip after an activity', given: `${UUID}-anna-activity3.zip`, expected: { uuid: UUID, uid: 'anna', activity: 3, slice: undefined } },
  { name: 'a slice', given: `${UUID}-anna.zip.000`, expected: { uuid: UUID, uid: 'anna', activity: undefined, slice: 0 } },
  { name: 'the eleventh slice', given: `${UUID}-anna.zip.0010`, expected: { uuid: UUID, uid: 'anna', activity: undefined, slice: 10 } },
  { name: 'an empty uid', given: `${UUID}-.zip.001`, expected: { uuid: UUID, uid: '', activity: undefined, slice: 1 } },
  { name: 'an empty uid after an activity', given: `${UUID}--activity1.zip`, expected: { uuid: UUID, uid: '', activity: 1, slice: undefined } },
  { name: 'a uid with hyphens', given: `${UUID}-a-b-c-activity2.zip`, expected: { uuid: UUID, uid: 'a-b-c', activity: 2, slice: undefined } },
  { name: 'a uid that looks like an upload', given: `${UUID}-x.zip.zip.002`, expected: { uuid: UUID, uid: 'x.zip', activity: undefined, slice: 2 } },
  { name: 'a uuid in capitals', given: `${UUID.toUpperCase()}-a.zip.000`, expected: { uuid: UUID, uid: 'a', activity: undefined, slice: 0 } },
  { name: 'a whole session in one file', given: `${UUID}-a.zip`, expected: { uuid: UUID, uid: 'a', activity: undefined, slice: undefined } },
  { name: 'a file of another kind', given: 'voice.wav', expected: undefined },
  { name: 'no uuid', given: 'anna-activity3.zip', expected: undefined },
  { name: 'a slice without its zeros', given: `${UUID}-anna.zip.1`, expected: undefined },
]
for (const { name, given, expected } of names) {
  test(`the name of an upload: ${name}`, () => assert.deepEqual(parseUploadName(given), expected))
}

const segments = [
  { name: 'a plain name stays', given: 'p-0042', matches: /^p-0042$/ },
  { name: 'capitals stay', given: 'P0042', matches: /^P0042$/ },
  { name: 'a uuid stays', given: UUID, matches: new RegExp(`^${UUID}$`) },
  { name: 'any script stays', given: 'Zoë_名前', matches: /^Zoë_名前$/ },
  { name: 'white space would end a name for a converter', given: 'anna b', matches: /^anna_b-[0-9a-f]{16}$/ },
  { name: 'directories are not followed', given: '../../etc/passwd', matches: /^passwd-[0-9a-f]{16}$/ },
  { name: 'an extension stays at the end', given: 'a b.wav', matches: /^a_b-[0-9a-f]{16}\.wav$/ },
  { name: 'nothing is something', given: '', matches: /^unnamed-[0-9a-f]{16}$/ },
  { name: '120 bytes stay', given: 'x'.repeat(120), matches: /^x{120}$/ },
  { name: 'a long name is cut', given: 'x'.repeat(300), matches: /^x{103}-[0-9a-f]{16}$/ },
  { name: 'a long name is cut by its bytes', given: '名'.repeat(100), matches: /^名{34}-[0-9a-f]{16}$/ },
  { name: 'a long name keeps its extension', given: `${'x'.repeat(300)}.wav`, matches: /^x{99}-[0-9a-f]{16}\.wav$/ },
  { name: 'a device of Windows is no name', given: 'nul.wav', matches: /^nul-[0-9a-f]{16}\.wav$/ },
  { name: 'a dot at the end is no part of a name for Windows', given: 'anna.', matches: /^anna-[0-9a-f]{16}$/ },
]
for (const { name, given, matches } of segments) {
  test(`a segment: ${name}`, () => {
    assert.match(toSegment(given), matches)
    assert.ok(Buffer.byteLength(toSegment(given, true)) <= 120, 'it has at most 120 bytes')
  })
}

const changed = toSegment('a b')
const apart: { name: string; given: string[] }[] = [
  { name: 'names that are changed to the same', given: ['a b', 'a  b', 'a_b'] },
  { name: 'a name that looks as if it was changed', given: ['a b', changed, changed.toUpperCase(), toSegment(changed)] },
  { name: 'long names that begin and end the same', given: [`${'x'.repeat(200)}1${'y'.repeat(50)}.wav`, `${'x'.repeat(200)}2${'y'.repeat(50)}.wav`] },
  { name: 'names that differ by capitals', given: ['anna', 'Anna', 'ANNA', 'ben'] },
  { name: 'names that differ by what a letter is without its capital', given: ['straße', 'STRASSE', 'STRAẞE', 'ΟΔΟΣ', 'οδος', 'οδοσ', 'K1', '\u212a1'] },
  { name: 'names that differ by normalisation', given: ['Zoë', 'Zoe\u0308', 'ﬁ', 'fi'] },
  { name: 'names that differ by what is not seen', given: ['anna', 'an\u00adna', 'an\u200dna'] },
  { name: 'names that differ by halves of characters', given: ['a\ud800', 'a\ud801', 'a\ufffd'] },
  { name: 'names that differ by dots at the end', given: ['anna', 'anna.', 'anna..', ' anna'] },
]
for (const { name, given } of apart) {
  test(`segments: ${name} stay apart on any disk, in any order`, () => {
    const segments = new Segments(given)
    assert.equal(new Set(given.map((each) => foldName(segments.of(each)))).size, given.length, given.map((each) => segments.of(each)).join(' '))
    const others = new Segments([...given, ...given].toReversed())
    for (const each of given) assert.equal(segments.of(each), others.of(each))
  })
}

test('segments: only names that meet are changed', () => {
  const segments = new Segments(['anna', 'Anna', 'Ben', 'Ben'])
  assert.deepEqual(['Anna', 'Ben'].map((name) => segments.of(name).replace(/[0-9a-f]{16}/, '#')), ['Anna-#', 'Ben'])
})

const arrays = [
  { given: '[]', expected: [] },
  { given: ' [ 1 , "a,]\\"[" , {"b":[1,{"c":2}]} ] ', expected: ['1', '"a,]\\"["', '{"b":[1,{"c":2}]}'] },
  { given: '[[1],[],{}]', expected: ['[1]', '[]', '{}'] },
  { given: '["\\\\",12345678901234567890,1.0,"\\\\\\""]', expected: ['"\\\\"', '12345678901234567890', '1.0', '"\\\\\\""'] },
]
for (const { given, expected } of arrays) test(`the elements of ${given} are spelled as they were`, () => assert.deepEqual(splitElements(given), expected))

test('the members of an object are spelled as they were', () => {
  const members = splitMembers('{"a" : 1.0, "b\\u0020c":[1, 2],"__proto__":"x{","value":{"d":"}"} , "a":1e400}')
  assert.deepEqual([...members], [['a', '1e400'], ['b c', '[1, 2]'], ['__proto__', '"x{"'], ['value', '{"d":"}"}']])
})

const claims = [
  { name: 'the token comes first', given: { tokens: ['t'], uids: ['u'], answers: ['a'] }, participant: 't', isConflict: true },
  { name: 'then the name of the file', given: { tokens: [], uids: ['u'], answers: ['u'] }, participant: 'u', isConflict: false },
  { name: 'then the answer', given: { tokens: [], uids: [], answers: ['a'] }, participant: 'a', isConflict: false },
  { name: 'two tokens contradict each other', given: { tokens: ['t', 's'], uids: [], answers: [] }, participant: 't', isConflict: true },
  { name: 'nobody is known', given: { tokens: [], uids: [], answers: [] }, participant: undefined, isConflict: false },
]
for (const { name, given, participant, isConflict } of claims) {
  test(`the participant: ${name}`, () => {
    const decided = decideParticipant(given)
    assert.equal(decided.participant, participant)
    assert.equal(decided.conflict !== undefined, isConflict)
  })
}

/** A file of answers, each `[id, activity, ended, value as spelled]`. */
function answersFile(...answers: readonly (readonly [string, string, string, string])[]) {
  const elements = answers.flatMap(([id, activity, ended, value]) => [
    `{"@type":"reproschema:ResponseActivity","@id":"ra-${id}","used":["item","${activity}"],"startedAtTime":"1","endedAtTime":"${ended}","generated":"${id}"}`,
    `{"@type":"reproschema:Response","@id":"${id}","wasAttributedTo":{"@id":"s"},"isAbout":"x/item","value":${value}}`,
  ])
  const content = Buffer.from(`[${elements.join(' , ')}]`)
  const entry = { name: 'x/activity_0.jsonld', bytes: content.length, compressedBytes: content.length, crc32: 0, isDirectory: false, method: 0, dataOffset: 0 }
  return { entry, content, answers: parseAnswers(content) }
}

const merges = [
  { name: 'the best upload is taken as it came', uploads: [[['a', 'A', '1', '1.0']], [['a', 'A', '1', '1.0']]], expected: { A: ['a'] }, isVerbatim: true },
  { name: 'another fills what it lacks, in the order of time', uploads: [[['b', 'A', '2', '2']], [['a', 'A', '1', '1']]], expected: { A: ['a', 'b'] }, isVerbatim: false },
  { name: 'an activity that only another has is added', uploads: [[['a', 'A', '1', '1']], [['b', 'B', '2', '2']]], expected: { A: ['a'], B: ['b'] }, isVerbatim: true },
] as const
for (const { name, uploads, expected, isVerbatim } of merges) {
  test(`merging: ${name}`, () => {
    const files = uploads.map((answers) => [answersFile(...answers)])
    const { activities: merged, conflicts } = mergeAnswers(files)
    assert.deepEqual(conflicts, [])
    assert.deepEqual(Object.fromEntries(merged.map(({ address, answers }) => [address, answers.map(({ id }) => id)])), expected)
    assert.equal(merged[0]?.content.equals(files[0]?.[0]?.content ?? Buffer.alloc(0)), isVerbatim)
  })
}

const mergeActivities = (...given: Parameters<typeof mergeAnswers>) => mergeAnswers(...given).activities

const differing = [
  { name: 'of two uploads the better one is taken', uploads: [[['a', 'A', '1', '"x"']], [['a', 'A', '1', '"y"']]], values: ['x'], places: [[0, 1]] },
  { name: 'of one upload both are taken', uploads: [[['a', 'A', '1', '"x"'], ['a', 'A', '1', '"y"']]], values: ['x', 'y'], places: [[0, 0]] },
  { name: 'of a worse upload none is', uploads: [[['a', 'A', '1', '1']], [['a', 'A', '1', '2'], ['a', 'A', '1', '3']]], values: ['1'], places: [[0, 1], [0, 1]] },
  { name: 'a number that no double has is another', uploads: [[['a', 'A', '1', '12345678901234567890']], [['a', 'A', '1', '12345678901234567891']]], values: ['12345678901234567890'], places: [[0, 1]] },
  { name: 'another activity is another answer', uploads: [[['a', 'A', '1', '1']], [['a', 'B', '1', '1']]], values: ['1'], places: [[0, 1]] },
  { name: 'blanks do not make another answer', uploads: [[['a', 'A', '1', '[1,"a b\\""]']], [['a', 'A', '1', '[ 1,\n"a b\\"" ]']]], values: ['[1,"a b\\""]'], places: [] },
  { name: 'blanks in a string do', uploads: [[['a', 'A', '1', '["a b"]']], [['a', 'A', '1', '["ab"]']]], values: ['["a b"]'], places: [[0, 1]] },
  { name: 'the same answer at another time is the same', uploads: [[['a', 'A', '1', '1']], [['a', 'A', '2', '1']]], values: ['1'], places: [] },
] as const
for (const { name, uploads, values, places } of differing) {
  test(`answers that differ under one @id: ${name}`, () => {
    const { activities, conflicts } = mergeAnswers(uploads.map((answers) => [answersFile(...answers)]))
    const taken = activities.flatMap(({ answers }) => answers.filter(({ item }) => item !== undefined))
    assert.deepEqual(taken.map(({ value }) => value), values)
    assert.deepEqual(conflicts.map((each) => [each.taken.upload, each.other.upload]), places)
  })
}

test('a number is exported as it was spelled, also where answers are merged', () => {
  const [merged] = mergeActivities([[answersFile(['a', 'A', '1', '12345678901234567890'])], [answersFile(['b', 'A', '2', '1.0'])]])
  assert.deepEqual(merged?.answers.map(({ value }) => value), ['12345678901234567890', '1.0'])
  assert.match(merged?.content.toString() ?? '', /"value":12345678901234567890\}[\s\S]*"value":1\.0\}/)
})

test('a Response comes after its ResponseActivity, whatever their order was', () => {
  const content = Buffer.from('[{"@type":"reproschema:Response","@id":"b"},{"@type":"reproschema:ResponseActivity","used":["x","A"],"generated":"b"}]')
  assert.deepEqual(parseAnswers(content).map(({ activity, texts }) => [activity, texts.length, texts[0]?.includes('generated')]), [['A', 2, true]])
})

const entries: { name: string; input: ZipInput }[] = [
  { name: 'stored', input: { name: 'a', content: 'content', method: 'stored' } },
  { name: 'deflated', input: { name: 'a', content: 'content'.repeat(1000), method: 'deflate' } },
  { name: 'empty', input: { name: 'a', content: '', method: 'deflate' } },
  { name: 'with a wrong checksum', input: { name: 'a', content: 'content', method: 'deflate', both: { crc32: 1 } } },
  { name: 'stored with a wrong checksum', input: { name: 'a', content: 'content', method: 'stored', both: { crc32: 1 } } },
  { name: 'longer than it says', input: { name: 'a', content: 'content'.repeat(100), method: 'deflate', both: { bytes: 100 } } },
  { name: 'shorter than it says', input: { name: 'a', content: 'content', method: 'deflate', both: { bytes: 100 } } },
  { name: 'of nonsense', input: { name: 'a', content: 'content', method: 'deflate', data: Buffer.alloc(50, 0xff) } },
  { name: 'with something after its data', input: { name: 'a', content: 'x', method: 'deflate', data: Buffer.from([0x4b, 0x04, 0x00, 1, 2, 3]) } },
]
for (const { name, input } of entries) {
  test(`an entry ${name} is the same at once and in pieces`, async () => {
    const source = sourceOf(writeZip([input]))
    const [entry] = await readEntries(source)
    assert.ok(entry)
    assert.deepEqual(await outcome(readSmallEntry(source, entry)), await outcome(readPieces(source, entry)))
  })
}

const element = '[{"a":[1,2]}]' // four marks: what opens, and a comma
const rooms = [
  { name: 'as much of both', room: { bytes: element.length, marks: 4 }, read: 1 },
  { name: 'a byte less', room: { bytes: element.length - 1, marks: 4 }, read: 0 },
  { name: 'a mark less', room: { bytes: element.length, marks: 3 }, read: 0 },
  { name: 'twice as much of both', room: { bytes: 2 * element.length, marks: 8 }, read: 2 },
  { name: 'twice the bytes', room: { bytes: 2 * element.length, marks: 7 }, read: 1 },
  { name: 'twice the marks', room: { bytes: 2 * element.length - 1, marks: 8 }, read: 1 },
]
for (const { name, room, read } of rooms) {
  test(`of a session that has room for ${name}, ${read} of two files of answers are held, and the others told`, async () => {
    const zip = writeZip([1, 2].map((number) => ({ name: `x/activity_${number}.jsonld`, content: element })))
    const { answersFiles, rest } = await readUploadContent(sourceOf(zip), { ...room })
    assert.deepEqual([answersFiles.length, rest.length], [read, 2 - read])
    for (const { reason } of rest) assert.match(reason, /^The answers of this session have more than \d+ bytes, or \d+ commas and brackets, with it\.$/)
  })
}

function sourceOf(bytes: Buffer): ByteSource {
  return { bytes: bytes.length, read: async (at, length) => Buffer.from(bytes.subarray(at, at + length)), close: async () => undefined }
}

async function readPieces(source: ByteSource, entry: ZipEntry): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of readEntry(source, entry)) pieces.push(piece)
  return Buffer.concat(pieces)
}

async function outcome(read: Promise<Buffer>): Promise<string> {
  return read.then((content) => content.toString(), (error: unknown) => String(error))
}
