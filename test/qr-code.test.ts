import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { encodeCodewords } from '../lib/qr/codewords.ts'
import { formatQrCode } from '../lib/qr/qr-code.ts'
import { correctionOf } from '../lib/qr/reed-solomon.ts'
import { drawSymbol } from '../lib/qr/symbol.ts'
import { needs, temporaryDirectory } from './harness.ts'
import { chooseSeed, makeChance } from './seeded.ts'

// ISO/IEC 18004 table 7, level M in byte mode: the most bytes of each version.
const MOST_BYTES = [
  14, 26, 42, 62, 84, 106, 122, 152, 180, 213, 251, 287, 331, 362, 412, 450, 504, 560, 624, 666, 711, 779, 857, 911, 997, 1059, 1125, 1190, 1264, 1370, 1452,
  1538, 1628, 1722, 1809, 1911, 1989, 2099, 2213, 2331,
]
const URL_CHARACTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?#[]@!$&()*+,;=%'
const QUIET = 4
const SCALE = 4

/** Draws modules as a grey picture (Netpbm, PGM). */
function picture(modules: readonly (readonly boolean[])[]): Buffer {
  const size = (modules.length + 2 * QUIET) * SCALE
  const pixels = Buffer.alloc(size * size, 255)
  for (const [y, row] of modules.entries()) {
    for (const [x, isDark] of row.entries()) {
      for (let line = 0; isDark && line < SCALE; line++) {
        const start = ((y + QUIET) * SCALE + line) * size + (x + QUIET) * SCALE
        pixels.fill(0, start, start + SCALE)
      }
    }
  }
  return Buffer.concat([Buffer.from(`P5\n${size} ${size}\n255\n`), pixels])
}

test('each version takes exactly as many bytes as the standard says', () => {
  for (const [index, most] of MOST_BYTES.entries()) {
    assert.equal(encodeCodewords(Buffer.alloc(most, 'a')).version, index + 1, `${most} bytes`)
    if (index + 1 < MOST_BYTES.length) assert.equal(encodeCodewords(Buffer.alloc(most + 1, 'a')).version, index + 2, `${most + 1} bytes`)
  }
  assert.throws(() => formatQrCode('a'.repeat(2332)), RangeError)
})

test('the correction of the example of the standard', () => {
  // ISO/IEC 18004 annex I: "01234567" in version 1, level M.
  const data = Uint8Array.from([0x10, 0x20, 0x0c, 0x56, 0x61, 0x80, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11])
  assert.deepEqual([...correctionOf(data, 10)], [0xa5, 0x24, 0xd4, 0xc1, 0xed, 0x36, 0xc7, 0x87, 0x2c, 0x55])
})

test('zbarimg reads every version', async (t) => {
  if (!needs(t, 'zbarimg', 'zbar-tools')) return
  const directory = await temporaryDirectory(t)
  const random = makeChance(chooseSeed())
  const texts = MOST_BYTES.map((most) => Array.from({ length: most }, () => URL_CHARACTERS[random(URL_CHARACTERS.length)]).join(''))
  const paths = texts.map((_, index) => join(directory, `${index}.pgm`))
  for (const [index, text] of texts.entries()) await writeFile(paths[index] ?? '', picture(drawSymbol(encodeCodewords(Buffer.from(text)))))
  const { stdout, stderr } = spawnSync('zbarimg', ['--quiet', '--raw', '-Sdisable', '-Sqrcode.enable', ...paths], { maxBuffer: 2 ** 24 })
  assert.deepEqual(String(stdout).split('\n').slice(0, -1), texts, String(stderr))
})

test('the SVG has the quiet zone and every dark module', () => {
  const text = 'https://ui.example.org/#/?url=study.jsonld&auth_token=study-0123456789abcdef0123456789abcdef'
  const modules = drawSymbol(encodeCodewords(Buffer.from(text)))
  const svg = formatQrCode(text)
  const size = modules.length + 2 * QUIET
  assert.match(svg, new RegExp(`viewBox="0 0 ${size} ${size}"`))
  const dark = new Set<string>()
  for (const [, x = '', y = '', length = ''] of svg.matchAll(/M(\d+) (\d+)h(\d+)v1h-\d+z/g)) {
    for (let step = 0; step < Number(length); step++) dark.add(`${Number(x) + step} ${y}`)
  }
  const expected = modules.flatMap((row, y) => row.flatMap((isDark, x) => (isDark ? [`${x + QUIET} ${y + QUIET}`] : [])))
  assert.deepEqual([...dark].toSorted(), expected.toSorted())
})
