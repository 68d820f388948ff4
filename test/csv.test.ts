import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { formatCsvRow } from '../lib/csv.ts'
import { needs } from './harness.ts'

const cases: { name: string; cells: (string | number | undefined)[]; expected: string }[] = [
  { name: 'cells stand between commas', cells: ['a', 'b c', 'd'], expected: 'a,b c,d' },
  { name: 'a missing value is an empty cell', cells: ['a', undefined, ''], expected: 'a,,' },
  { name: 'a row of one empty cell is no empty line', cells: [undefined], expected: '""' },
  { name: 'a row may have no cells', cells: [], expected: '' },
  { name: 'numbers are as JavaScript writes them', cells: [0, -3.5, 1e21, 0.1], expected: '0,-3.5,1e+21,0.1' },
  { name: 'commas are quoted', cells: ['a,b', ','], expected: '"a,b",","' },
  { name: 'quotes are doubled', cells: ['a "b"', '"'], expected: '"a ""b""",""""' },
  { name: 'line ends are quoted', cells: ['a\nb', 'c\r\nd', 'e\rf'], expected: '"a\nb","c\r\nd","e\rf"' },
  { name: 'spaces and semicolons are kept', cells: [' a ', 'b;c'], expected: ' a ,b;c' },
  { name: 'text beyond ASCII is kept', cells: ['größe 声音 😀'], expected: 'größe 声音 😀' },
  { name: 'an equals sign begins a formula', cells: ['=1+1', '='], expected: "'=1+1,'=" },
  { name: 'a plus or minus sign begins a formula', cells: ['+1+1', '-a', '-', '--1'], expected: "'+1+1,'-a,'-,'--1" },
  { name: 'an at sign begins a formula', cells: ['@SUM(A1)'], expected: "'@SUM(A1)" },
  { name: 'a tab or CR begins a formula', cells: ['\t=1', '\r=1'], expected: `'\t=1,"'\r=1"` },
  { name: 'a line feed begins a formula', cells: ['\n=1'], expected: `"'\n=1"` },
  { name: 'a wide sign begins a formula', cells: ['＝1', '＋1', '－1', '＠a'], expected: "'＝1,'＋1,'－1,'＠a" },
  { name: 'a formula is quoted too', cells: ['=A1,"b"'], expected: `"'=A1,""b"""` },
  { name: 'signs within a text begin nothing', cells: ['a=b', '1-2', ' =1', "a'"], expected: "a=b,1-2, =1,a'" },
  { name: 'an apostrophe of its own is told from one of ours', cells: ["'=1", "'", "''a", "'s avonds"], expected: "''=1,'','''a,''s avonds" },
  {
    name: 'numbers with a sign are no formulas',
    cells: ['-3.5', '+4', '-.5', '-5.', '-1e-7', '+1E+5', -0.001, -1e300],
    expected: '-3.5,+4,-.5,-5.,-1e-7,+1E+5,-0.001,-1e+300',
  },
  {
    name: 'what only begins as a number is a formula',
    cells: ['-1+1', '-1 ', '-1\n', '+1.2.3', '-e5', '-Infinity', -Infinity, '-0x1F', '+49 30 1234'],
    expected: `'-1+1,'-1 ,"'-1\n",'+1.2.3,'-e5,'-Infinity,'-Infinity,'-0x1F,'+49 30 1234`,
  },
]
for (const { name, cells, expected } of cases) {
  test(name, () => assert.equal(formatCsvRow(cells), `${expected}\r\n`))
}

test('one apostrophe taken off gives every cell back', () => {
  const texts = cases.flatMap(({ cells }) => cells.map((cell) => `${cell ?? ''}`)).filter((text) => !/[",\r\n]/.test(text))
  for (const text of texts) assert.equal(formatCsvRow(['x', text]).slice(2, -2).replace(/^'/, ''), text)
})

test('Python reads the same cells', (t) => {
  if (!needs(t, 'python3', 'python3')) return
  const script = `
import csv, io, json, sys
text = io.TextIOWrapper(sys.stdin.buffer, 'utf-8', newline='')
print(json.dumps(list(csv.reader(text, strict=True))))`
  // A letter in front makes no cell a formula, so that each stays as it is given.
  const rows = cases.map(({ cells }) => cells.map((cell) => `${cell ?? ''}`).map((cell) => `x${cell}`))
  const python = spawnSync('python3', ['-c', script], { input: rows.map(formatCsvRow).join(''), encoding: 'utf8' })
  assert.equal(python.stderr, '')
  assert.deepEqual(JSON.parse(python.stdout), rows)
})
