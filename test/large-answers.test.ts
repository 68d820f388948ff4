import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { check } from './exported.ts'
import { isSoak, needs, PROGRAM, temporaryDirectory } from './harness.ts'
import { answer, openApp } from './web-app.ts'
import { writeZip } from './zip-writer.ts'

const HEAP_MEGABYTES = 400
const MEGABYTE = 1024 * 1024

/** The JSON-LD of a session with one answer. */
function answerOf(session: string, item: string, note = ''): string {
  const { given } = answer({ ...openApp(), id: session }, 'form', { [item]: 1 })
  return JSON.stringify(given.flatMap(({ elements }) => elements.map((element) => ({ ...element, note }))))
}

const listOf = (element: string, bytes: number) => `[${Array(Math.floor(bytes / (element.length + 1))).fill(element).join(',')}]`

const [TEXT, BEYOND_LATIN, OBJECTS] = isSoak ? [30, 5, 6.5] : [8, 1, 1.5] // MB; a text stands in its file twice

// Each is a few megabytes at most as it comes; `unread` are the files that go beyond a bound.
const uploads: { name: string; files: (session: string) => string[]; unread: readonly number[] }[] = [
  { name: `texts of ${2 * TEXT} MB`, files: (session) => [answerOf(session, 'a', 'x'.repeat(TEXT * MEGABYTE))], unread: [] },
  { name: `a text of ${2 * BEYOND_LATIN} million letters beyond Latin 1`, files: (session) => [answerOf(session, 'a', '名'.repeat(BEYOND_LATIN * MEGABYTE))], unread: [] },
  { name: 'ten texts of 8 MB', files: (session) => Array.from({ length: 10 }, (_, index) => answerOf(session, `i${index}`, 'x'.repeat(4 * MEGABYTE))), unread: [7, 8, 9] },
  { name: 'lists of objects without a member', files: (session) => [answerOf(session, 'a'), ...Array<string>(3).fill(listOf('{}', 2 * MEGABYTE))], unread: [1, 2, 3] },
  { name: isSoak ? 'as many objects as are read' : 'very many objects', files: (session) => [`${answerOf(session, 'a').slice(0, -1)},${listOf('{"@type":"x"}', OBJECTS * MEGABYTE).slice(1)}`], unread: [] },
  { name: 'a value of lists in a list', files: (session) => [answerOf(session, 'a'), `[{"value":${listOf('[]', 4 * MEGABYTE)}}]`], unread: [1] },
  { name: 'what comes after is read where it has room', files: (session) => [answerOf(session, 'a'), listOf('{}', 2 * MEGABYTE), answerOf(session, 'b')], unread: [1] },
]

test('uploads whose answers are far larger than they look are read in bounded memory, and nothing of them is lost', async (t) => {
  if (!needs(t, 'python3', 'python3') || !needs(t, 'unzip', 'unzip')) return
  const directory = await temporaryDirectory(t)
  const basedir = join(directory, 'base')
  const stored = join(basedir, 'uploads', 'responses', 'study')
  await mkdir(stored, { recursive: true })
  for (const [number, { files }] of uploads.entries()) {
    const entries = files(`session-${number}`).map((content, index) => ({ name: `x/activity_${index}.jsonld`, content }))
    await writeFile(join(stored, `20240101T00000${number}.000000Z-${randomUUID()}-p${number}.zip.000`), writeZip(entries))
  }
  const run = (...args: string[]) => {
    const { status, stdout, stderr, signal } = spawnSync(process.execPath, [`--max-old-space-size=${HEAP_MEGABYTES}`, PROGRAM, ...args, '--basedir', basedir], { encoding: 'utf8' })
    assert.equal(status, 0, `${signal} ${stdout} ${stderr.slice(-2000)}`)
    return stdout
  }
  const attention = JSON.parse(run('status', 'study', '--json')).projects[0].attention as { session: string; missing: string[] }[]
  run('export', 'study', join(directory, 'out'))
  const exported = await check(join(directory, 'out'))
  for (const [number, { name, unread }] of uploads.entries()) {
    await t.test(name, () => {
      const session = `session-${number}`
      const missing = attention.find((each) => each.session === session)?.missing ?? []
      assert.deepEqual(missing.map((each) => /^activity_(\d+)\.jsonld of upload /.exec(each)?.[1]), unread.map(String))
      assert.equal(exported.sessions.find((row) => row['session'] === session)?.['state'], unread.length === 0 ? 'complete' : 'incomplete')
      const aside = exported.incomplete.filter((row) => row['session'] === session)
      assert.equal(aside.length, unread.length)
      for (const { file = '', reason = '' } of aside) {
        assert.ok(exported.files.includes(file), file)
        assert.match(reason, /^The answers of this upload have more than \d+ (bytes|commas and brackets) with it\.$/)
      }
    })
  }
})
