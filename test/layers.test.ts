import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { test } from 'node:test'
import { ROOT } from './harness.ts'

// From the top: a file imports from its own part, and from the rows below it. The parts of a row never meet.
const ROWS: readonly (readonly (readonly string[])[])[] = [
  [['serve.ts']],
  [['lib/workers/']],
  [['lib/app.ts', 'lib/entrance.ts', 'lib/service.ts', 'lib/request-log.ts', 'lib/advice.ts', 'lib/runtime.ts']],
  [['lib/routes/'], ['lib/commands/'], ['lib/alerts/']],
  [['lib/datasheet/']],
  [['lib/dataset/'], ['lib/doctor/']],
  [
    ['lib/http/'],
    ['lib/multipart/'],
    ['lib/form/'],
    ['lib/access/'],
    ['lib/audit/'],
    ['lib/store/'],
    ['lib/archive/'],
    ['lib/csv.ts'],
    ['lib/health/'],
    ['lib/metrics/'],
    ['lib/qr/'],
    ['lib/config.ts'],
    ['lib/line-writer.ts'],
    ['lib/log.ts', 'lib/log-file.ts', 'lib/log-relay.ts'],
  ],
  [['lib/chain/']],
  [['lib/directories.ts']],
  [['lib/durable.ts'], ['lib/settings/']],
  [['lib/identity.ts'], ['lib/crypt/']],
  [['lib/errors.ts'], ['lib/json.ts'], ['lib/sha256.ts'], ['lib/project.ts'], ['lib/form-event.ts'], ['lib/shared-run.ts'], ['lib/disk-call.ts'], ['lib/free.ts'], ['lib/every.ts'], ['lib/whole-read.ts'], ['lib/shell.ts']],
]

const files = ['serve.ts', ...readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' }).map((path) => posix.join('lib', path))]
  .filter((path) => path.endsWith('.ts'))
  .toSorted()
const sources = new Map(files.map((path) => [path, readFileSync(join(ROOT, path), 'utf8')]))

// Comments, strings and regular expressions hold words, not code. What stands in a template is kept: it may be code.
const NOT_CODE =
  /\/\/.*|\/\*[^]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|(?<=[(,=:!&|?[]\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/g

function codeOf(path: string): string {
  return (sources.get(path) ?? '').replace(NOT_CODE, "''")
}

/** What a file imports, dynamically too: files of ours as paths from the root, others as they stand. */
function importsOf(path: string, source: string = sources.get(path) ?? ''): string[] {
  const found = [...source.matchAll(/(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s*'([^']+)'|\bimport\s*\(?\s*'([^']+)'/g)]
  return found.map(([, named = '', bare = '']) => named + bare).map((name) => (name.startsWith('.') ? posix.join(posix.dirname(path), name) : name))
}

function placeOf(path: string): { row: number; part: number } {
  for (const [row, parts] of ROWS.entries()) {
    const part = parts.findIndex((prefixes) => prefixes.some((prefix) => path === prefix || (prefix.endsWith('/') && path.startsWith(prefix))))
    if (part >= 0) return { row, part }
  }
  throw new Error(`${path} has no place in the layers`)
}

function mayImport(path: string, imported: string): boolean {
  if (imported.startsWith('node:')) return imported !== 'node:process'
  if (!sources.has(imported)) return false
  const [from, to] = [placeOf(path), placeOf(imported)]
  return to.row > from.row || (to.row === from.row && to.part === from.part)
}

for (const path of files) {
  test(`${path} imports from its own part, from the rows below and from Node alone`, () => {
    assert.deepEqual(importsOf(path).filter((imported) => !mayImport(path, imported)), [])
  })
}

test('no file imports itself by way of others', () => {
  const finished = new Set<string>()
  const visit = (path: string, way: readonly string[]): void => {
    assert.ok(!way.includes(path), [...way, path].join(' → '))
    if (finished.has(path)) return
    for (const imported of importsOf(path)) if (sources.has(imported)) visit(imported, [...way, path])
    finished.add(path)
  }
  for (const path of files) visit(path, [])
  assert.equal(finished.size, files.length)
})

const dangers = [
  { name: 'the process', pattern: /(?:(?<![.\w])|\bglobalThis\.)process\b(?!\s*:)/, home: 'serve.ts' },
  { name: 'fsync', pattern: /\bf(data)?sync(Sync)?\b|\.(data)?sync\s*\(/, home: 'lib/durable.ts' },
  { name: 'link and rename', pattern: /(?:(?<![#.\w])|\bfs\.)(link|rename)(Sync)?\s*[(,}]/, home: 'lib/durable.ts' },
]
for (const { name, pattern, home } of dangers) {
  for (const path of files.filter((each) => each !== home)) {
    test(`${path} leaves ${name} to ${home}`, () => {
      assert.deepEqual(codeOf(path).split('\n').filter((line) => pattern.test(line)), [])
    })
  }
  test(`${home} is the home of ${name}`, () => assert.match(codeOf(home), pattern))
}

for (const path of files) {
  test(`${path} keeps its types: no any, no \`!\`, no comment that silences the compiler`, () => {
    assert.doesNotMatch(codeOf(path), /\bany\b/)
    assert.doesNotMatch(codeOf(path), /[\w)\]]!(?!=)/)
    assert.doesNotMatch(sources.get(path) ?? '', /@ts-|eslint-|TODO|FIXME/)
  })
  test(`${path} has fewer than 250 lines and is named for one noun`, () => {
    assert.ok((sources.get(path) ?? '').split('\n').length - 1 < 250, 'it is too long')
    assert.match(path, /^(lib\/)?([a-z-]+\/)?[a-z0-9-]+\.ts$/)
    assert.doesNotMatch(path, /\b(utils?|helpers?|common|types|index|misc)\b/)
  })
  test(`${path} says of everything it exports what it is`, () => {
    const lines = (sources.get(path) ?? '').split('\n')
    const bare = lines.filter((line, index) => line.startsWith('export ') && !line.includes(' from ') && !lines[index - 1]?.endsWith('*/'))
    assert.deepEqual(bare, [])
  })
}

const samples = [
  { name: 'an import', source: "import { a } from './clients.ts'", expected: ['lib/access/clients.ts'] },
  { name: 'an import over several lines', source: "import {\n  a,\n  type B,\n} from '../errors.ts'", expected: ['lib/errors.ts'] },
  { name: 'an import of types', source: "import type { A } from '../http/target.ts'", expected: ['lib/http/target.ts'] },
  { name: 'an import for its effect', source: "import './records.ts'", expected: ['lib/access/records.ts'] },
  { name: 'an export of what another exports', source: "export { a } from 'left-pad'", expected: ['left-pad'] },
  { name: 'an import at run time', source: "const { a } = await import('node:fs')", expected: ['node:fs'] },
  { name: 'a type that is imported in place', source: "let a: import('../store/store.ts').Store", expected: ['lib/store/store.ts'] },
]
for (const { name, source, expected } of samples) {
  test(`the test sees ${name}`, () => assert.deepEqual(importsOf('lib/access/grants.ts', source), expected))
}

const edges = [
  { path: 'lib/http/server.ts', imported: 'lib/log.ts', expected: false },
  { path: 'lib/http/server.ts', imported: 'lib/access/grants.ts', expected: false },
  { path: 'lib/http/server.ts', imported: 'lib/routes/token.ts', expected: false },
  { path: 'lib/access/grants.ts', imported: 'lib/app.ts', expected: false },
  { path: 'lib/errors.ts', imported: 'lib/durable.ts', expected: false },
  { path: 'lib/app.ts', imported: 'left-pad', expected: false },
  { path: 'lib/app.ts', imported: 'node:process', expected: false },
  { path: 'lib/routes/token.ts', imported: 'lib/commands/try.ts', expected: false },
  { path: 'lib/routes/token.ts', imported: 'lib/routes/admin.ts', expected: true },
  { path: 'lib/log.ts', imported: 'lib/log-file.ts', expected: true },
  { path: 'lib/app.ts', imported: 'node:fs', expected: true },
]
for (const { path, imported, expected } of edges) {
  test(`${path} ${expected ? 'may' : 'may not'} import ${imported}`, () => assert.equal(mayImport(path, imported), expected))
}

test('the package needs nothing to run, and three packages to build', () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<string, Record<string, string> | undefined>
  for (const name of ['dependencies', 'optionalDependencies', 'peerDependencies']) assert.deepEqual(manifest[name] ?? {}, {}, name)
  assert.deepEqual(Object.keys(manifest['devDependencies'] ?? {}).toSorted(), ['@types/node', 'tsx', 'typescript'])
})

test('every test file lies where `npm test` finds it', () => {
  const tests = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.test.ts'))
  assert.deepEqual(tests.filter((path) => path.includes('/')), [])
})
