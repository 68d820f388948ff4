import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { HttpError } from '../lib/errors.ts'
import type { PartHead } from '../lib/form-event.ts'
import { parseBoundary } from '../lib/multipart/boundary.ts'
import { MultipartParser } from '../lib/multipart/parser.ts'
import { fuzzMultipart } from './fuzz-multipart.ts'
import { cut, formatBody, LIMITS, makeFieldChunks, parseChunks, parseEveryWay, type Outcome } from './multipart-body.ts'
import { chooseSeed } from './seeded.ts'

const FIELD = 'Content-Disposition: form-data; name="a"'
const FILE = 'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav'

const boundaries = [
  { name: 'a boundary may be a token', given: 'multipart/form-data; boundary=abc', expected: 'abc' },
  { name: 'no blank is needed before it', given: 'multipart/form-data;boundary=abc', expected: 'abc' },
  { name: 'its name may be in any case', given: 'multipart/form-data; BOUNDARY=aBc', expected: 'aBc' },
  { name: 'it may follow other parameters', given: 'multipart/form-data; charset=utf-8; boundary=x', expected: 'x' },
  { name: 'it may come before them', given: 'multipart/form-data; boundary=x ; charset=utf-8', expected: 'x' },
  { name: 'parameters may be empty', given: 'multipart/form-data;; boundary=x;', expected: 'x' },
  { name: 'it may be quoted', given: 'multipart/form-data; boundary="a b;c=d"', expected: 'a b;c=d' },
  { name: 'quoted pairs are undone', given: 'multipart/form-data; boundary="a\\"b\\\\c\\d"', expected: 'a"b\\cd' },
  { name: 'all that RFC 2046 allows', given: `m/f; boundary="q'()+_,-./:=? q"`, expected: "q'()+_,-./:=? q" },
  { name: 'characters of a regular expression', given: 'm/f; boundary=[a]{1}^$.*+?|', expected: '[a]{1}^$.*+?|' },
  { name: 'unquoted where quotes are due', given: 'm/f; boundary=----=_Part:1/2', expected: '----=_Part:1/2' },
  { name: 'text in quotes is no parameter', given: 'm/f; x="; boundary=y"; boundary=z', expected: 'z' },
  { name: '70 characters are the most', given: `m/f; boundary=${'x'.repeat(70)}`, expected: 'x'.repeat(70) },
  { name: '71 characters are too many', given: `m/f; boundary=${'x'.repeat(71)}`, expected: undefined },
  { name: '71 in quotes are too many', given: `m/f; boundary="${'x'.repeat(71)}"`, expected: undefined },
  { name: 'a form without one is refused', given: 'multipart/form-data', expected: undefined },
  { name: 'another parameter is none', given: 'multipart/form-data; boundaries=x', expected: undefined },
  { name: 'an empty one is refused', given: 'multipart/form-data; boundary=', expected: undefined },
  { name: 'empty quotes are refused', given: 'multipart/form-data; boundary=""', expected: undefined },
  { name: 'a name without a value is refused', given: 'multipart/form-data; boundary', expected: undefined },
  { name: 'a space at its end is refused', given: 'multipart/form-data; boundary="a "', expected: undefined },
  { name: 'a space without quotes is refused', given: 'multipart/form-data; boundary=a b', expected: undefined },
  { name: 'two are refused', given: 'multipart/form-data; boundary=a; boundary=b', expected: undefined },
  { name: 'two alike are refused', given: 'multipart/form-data; boundary=a; Boundary="a"', expected: undefined },
  { name: 'open quotes are refused', given: 'multipart/form-data; boundary="a', expected: undefined },
  { name: 'an escaped end quote is none', given: 'multipart/form-data; boundary="a\\"', expected: undefined },
  { name: 'text after the quotes is refused', given: 'multipart/form-data; boundary="a"b', expected: undefined },
  { name: 'a quote without its fellow is refused', given: 'multipart/form-data; boundary=a"', expected: undefined },
  { name: 'a tab is refused', given: 'multipart/form-data; boundary="a\tb"', expected: undefined },
  { name: 'an escaped line end is refused', given: 'multipart/form-data; boundary="a\\\r\nb"', expected: undefined },
  { name: 'what is not ASCII is refused', given: 'multipart/form-data; boundary=ä', expected: undefined },
]
for (const { name, given, expected } of boundaries) {
  test(`boundary: ${name}`, () => {
    if (expected !== undefined) assert.equal(parseBoundary(given), expected)
    else assert.throws(() => parseBoundary(given), { name: 'HttpError', code: 'malformed_form' })
  })
}

/** What a form of one field `a` comes to. */
const oneField = (content: string) => [[{ name: 'a', filename: undefined, mediaType: undefined }, content]]
const wrap = (header: string) => `--b\r\n${header}\r\n\r\nx\r\n--b--`

const bodies = [
  { name: 'an empty form has no parts', body: '--b--', expected: [] },
  { name: 'an empty form may end in CRLF', body: '--b--\r\n', expected: [] },
  { name: 'a form of one field', body: `--b\r\n${FIELD}\r\n\r\nx\r\n--b--\r\n`, expected: oneField('x') },
  { name: 'the last CRLF may be missing', body: `--b\r\n${FIELD}\r\n\r\nx\r\n--b--`, expected: oneField('x') },
  { name: 'CRLF may come before the first delimiter', body: `\r\n--b\r\n${FIELD}\r\n\r\nx\r\n--b--`, expected: oneField('x') },
  { name: 'a preamble is passed over', body: `This is\r\nMIME\r\n--b\r\n${FIELD}\r\n\r\nx\r\n--b--`, expected: oneField('x') },
  { name: 'a delimiter in mid-line is preamble', body: `x--b\r\n--b\r\n${FIELD}\r\n\r\nx\r\n--b--`, expected: oneField('x') },
  { name: 'near-misses are preamble', body: `--bx\r\n--b\r\r\n--b -\r\n--b-\r\n--b\r\n${FIELD}\r\n\r\nx\r\n--b--`, expected: oneField('x') },
  { name: 'a delimiter of the preamble may close', body: 'text\r\n--b--', expected: [] },
  { name: 'blanks may follow a delimiter', body: `--b \t \r\n${FIELD}\r\n\r\nx\r\n--b\t\r\n${FIELD}\r\n\r\ny\r\n--b--`, expected: [...oneField('x'), ...oneField('y')] },
  { name: '1,024 blanks may follow it', body: `--b${' '.repeat(1024)}\r\n${FIELD}\r\n\r\nx\r\n--b--`, expected: oneField('x') },
  { name: '1,025 blanks may not', body: `--b${' '.repeat(1025)}\r\n${FIELD}\r\n\r\nx\r\n--b--`, error: 'malformed_form' },
  { name: '1,025 blanks may not in content', body: `--b\r\n${FIELD}\r\n\r\nx\r\n--b${'\t'.repeat(1025)}x\r\n--b--`, expected: oneField('x'), error: 'malformed_form' },
  { name: '1,024 blanks and text are content', body: `--b\r\n${FIELD}\r\n\r\nx\r\n--b${' '.repeat(1024)}x\r\n--b--`, expected: oneField(`x\r\n--b${' '.repeat(1024)}x`) },
  { name: 'an epilogue is ignored', body: `--b\r\n${FIELD}\r\n\r\nx\r\n--b--\r\n--b\r\nno header\r\n--b--`, expected: oneField('x') },
  { name: 'an epilogue needs no CRLF', body: `--b\r\n${FIELD}\r\n\r\nx\r\n--b--text`, expected: oneField('x') },
  { name: 'content may be empty', body: `--b\r\n${FIELD}\r\n\r\n\r\n--b--`, expected: oneField('') },
  { name: 'a part may have no content at all (RFC 2046 §5.1.1)', body: `--b\r\n${FIELD}\r\n\r\n--b\r\n${FIELD}\r\n\r\n--b--`, expected: [...oneField(''), ...oneField('')] },
  { name: 'a part may have none before parts that have', body: `--b\r\n${FIELD}\r\n\r\n--b\r\n${FIELD}\r\n\r\nx\r\n--b\r\n${FIELD}\r\n\r\ny\r\n--b--`, expected: [...oneField(''), ...oneField('x'), ...oneField('y')] },
  { name: 'a near-miss after the header is content', body: `--b\r\n${FIELD}\r\n\r\n--bx\r\n--b--`, expected: oneField('--bx') },
  { name: 'dashes after the header are content', body: `--b\r\n${FIELD}\r\n\r\n--\r\n--b--`, expected: oneField('--') },
  { name: 'nothing at all is no form', body: '', error: 'malformed_form' },
  { name: 'text is no form', body: 'text', error: 'malformed_form' },
  { name: 'LF alone ends no delimiter', body: `--b\n${FIELD}\n\nx\n--b--\n`, error: 'malformed_form' },
  { name: 'a part without header', body: '--b\r\n\r\nx\r\n--b--', error: 'malformed_form' },
  { name: 'a part without empty line', body: `--b\r\n${FIELD}\r\n--b--`, error: 'malformed_form' },
  { name: 'a part without empty line before another', body: `--b\r\n${FIELD}\r\n--b\r\n${FIELD}\r\n\r\nx\r\n--b--`, error: 'malformed_form' },
  { name: 'a delimiter straight after another', body: `--b\r\n--b\r\n${FIELD}\r\n\r\nx\r\n--b--`, error: 'malformed_form' },
  { name: 'a part without Content-Disposition', body: wrap('Content-Type: text/plain'), error: 'malformed_form' },
  { name: 'two Content-Disposition', body: wrap(`${FIELD}\r\n${FIELD}`), error: 'malformed_form' },
  { name: 'two Content-Disposition apart', body: wrap(`${FIELD}\r\nX: y\r\ncontent-disposition: form-data`), error: 'malformed_form' },
  { name: 'a Content-Disposition of another type', body: wrap('Content-Disposition: attachment; name="a"'), error: 'malformed_form' },
  { name: 'a Content-Disposition of no type', body: wrap('Content-Disposition: ; name="a"'), error: 'malformed_form' },
  { name: 'a type that only begins like form-data', body: wrap('Content-Disposition: form-data2; name="a"'), error: 'malformed_form' },
  { name: 'a folded line', body: wrap(`${FIELD};\r\n filename="a"`), error: 'malformed_form' },
  { name: 'a line folded with a tab', body: wrap(`${FIELD}\r\n\tX: y`), error: 'malformed_form' },
  { name: 'a first line folded', body: wrap(` ${FIELD}`), error: 'malformed_form' },
  { name: 'a line without colon', body: wrap(`${FIELD}\r\nX`), error: 'malformed_form' },
  { name: 'an empty field name', body: wrap(`${FIELD}\r\n: y`), error: 'malformed_form' },
  { name: 'a blank before the colon', body: wrap(`${FIELD}\r\nX : y`), error: 'malformed_form' },
  { name: 'a field name that is no token', body: wrap(`${FIELD}\r\nX(y): z`), error: 'malformed_form' },
  { name: 'a field name that is not ASCII', body: wrap(`${FIELD}\r\nä: z`), error: 'malformed_form' },
  { name: 'NUL in a header', body: wrap(`${FIELD}\r\nX: \0`), error: 'malformed_form' },
  { name: 'NUL in a name', body: wrap('Content-Disposition: form-data; name="\0"'), error: 'malformed_form' },
  { name: 'CR alone in a header', body: wrap(`${FIELD}\r\nX: \ry`), error: 'malformed_form' },
  { name: 'CR alone in a media type', body: wrap(`${FIELD}\r\nContent-Type: \ry`), error: 'malformed_form' },
  { name: 'CR at the end of a line', body: wrap(`${FIELD}\r`), error: 'malformed_form' },
  { name: 'LF alone in a header', body: wrap(`${FIELD}\nX: y`), error: 'malformed_form' },
  { name: 'LF alone in a filename', body: wrap(`${FIELD}; filename="\n"`), error: 'malformed_form' },
  { name: 'LF at the start of a header', body: wrap(`\n${FIELD}`), error: 'malformed_form' },
  { name: 'a name given twice', body: wrap(`${FIELD}; Name=b`), error: 'malformed_form' },
  { name: 'a filename given twice', body: wrap(`${FIELD}; filename="a"; filename="a"`), error: 'malformed_form' },
  { name: 'a filename* given twice', body: wrap(`${FIELD}; filename*=utf-8''a; filename*=utf-8''a`), error: 'malformed_form' },
  { name: 'quotes that do not end', body: wrap(`${FIELD}; filename="a`), error: 'malformed_form' },
  { name: 'quotes whose end is escaped', body: wrap(`${FIELD}; filename="a\\"`), error: 'malformed_form' },
  { name: 'text after quotes', body: wrap(`${FIELD}x; filename="a"`), error: 'malformed_form' },
  { name: 'a parameter without value', body: wrap(`${FIELD}; filename`), error: 'malformed_form' },
  { name: 'a parameter without name', body: wrap(`${FIELD}; ="a"`), error: 'malformed_form' },
  { name: 'a filename* without charset', body: wrap(`${FIELD}; filename*=a`), error: 'malformed_form' },
  { name: 'a filename* of an unknown charset', body: wrap(`${FIELD}; filename*=utf-16''a`), error: 'malformed_form' },
  { name: 'a filename* that is not UTF-8', body: wrap(`${FIELD}; filename*=utf-8''%ff`), error: 'malformed_form' },
  { name: 'a filename* with half an escape', body: wrap(`${FIELD}; filename*=utf-8''a%4`), error: 'malformed_form' },
  { name: 'a filename* in ISO-8859-1 with half an escape', body: wrap(`${FIELD}; filename*=iso-8859-1''%zz`), error: 'malformed_form' },
] satisfies readonly { name: string; body: string; expected?: unknown[]; error?: string }[]
for (const row of bodies) {
  test(`body: ${row.name}`, () => {
    const outcome = parseEveryWay(Buffer.from(row.body), { boundary: 'b' })
    assert.equal(outcome.error, 'error' in row ? row.error : undefined)
    assert.deepEqual(plain(outcome), 'expected' in row ? row.expected : [])
  })
}

test('a header line that is a delimiter with a colon is refused, whatever the boundary', () => {
  const body = Buffer.from(`--a:b\r\n${FIELD}\r\n--a:b\r\nContent-Type: text/plain\r\n\r\nx\r\n--a:b--`)
  assert.deepEqual(parseEveryWay(body, { boundary: 'a:b' }), { parts: [], error: 'malformed_form' })
})

/** What a header block comes to: name, filename, media type. */
const headers: readonly { name: string; header: string; expected: readonly (string | undefined)[] }[] = [
  { name: 'a text field', header: FIELD, expected: ['a', undefined, undefined] },
  { name: 'a file', header: FILE, expected: ['file', 'a.wav', 'audio/wav'] },
  { name: 'a text field of a media type', header: `${FIELD}\r\nContent-Type: application/json`, expected: ['a', undefined, 'application/json'] },
  { name: 'a media type with parameters', header: `${FIELD}\r\nContent-Type:\ttext/plain; charset="UTF-8" `, expected: ['a', undefined, 'text/plain; charset="UTF-8"'] },
  { name: 'an empty media type', header: `${FIELD}\r\nContent-Type:`, expected: ['a', undefined, ''] },
  { name: 'a media type before the name', header: `Content-Type: text/plain\r\n${FIELD}`, expected: ['a', undefined, 'text/plain'] },
  { name: 'any case', header: 'CONTENT-disposition:FORM-Data;NAME="A";FileName="B"\r\ncontent-TYPE: X/Y', expected: ['A', 'B', 'X/Y'] },
  { name: 'parameters in another order', header: 'Content-Disposition: form-data; filename="b"; name="a"', expected: ['a', 'b', undefined] },
  { name: 'other fields and parameters', header: `X-Y: a: b\r\n${FIELD}; size=3; size=4\r\nContent-Transfer-Encoding: base64`, expected: ['a', undefined, undefined] },
  { name: 'blanks around what needs none', header: 'Content-Disposition:  form-data ;\tname = "a" ; filename= b ', expected: ['a', 'b', undefined] },
  { name: 'empty parameters', header: 'Content-Disposition: form-data;; name="a";', expected: ['a', undefined, undefined] },
  { name: 'no name', header: 'Content-Disposition: form-data', expected: ['', undefined, undefined] },
  { name: 'no name but a filename', header: 'Content-Disposition: form-data; filename="a"', expected: ['', 'a', undefined] },
  { name: 'an empty name', header: 'Content-Disposition: form-data; name=""', expected: ['', undefined, undefined] },
  { name: 'an empty name without quotes', header: 'Content-Disposition: form-data; name=', expected: ['', undefined, undefined] },
  { name: 'an empty filename', header: `${FIELD}; filename=""`, expected: ['a', '', undefined] },
  { name: 'values without quotes', header: 'Content-Disposition: form-data; name=a b; filename=c d.wav', expected: ['a b', 'c d.wav', undefined] },
  { name: 'a quote within a value without quotes', header: 'Content-Disposition: form-data; name=a"b', expected: ['a"b', undefined, undefined] },
  { name: 'semicolons in quotes', header: 'Content-Disposition: form-data; name="a; filename=b"', expected: ['a; filename=b', undefined, undefined] },
  { name: 'a value that looks like parameters', header: `${FIELD}; filename="x\\"; name=\\"b"`, expected: ['a', 'x"; name="b', undefined] },
  { name: 'escaped quotes and backslashes', header: `${FIELD}; filename="\\"a\\\\b\\""`, expected: ['a', '"a\\b"', undefined] },
  { name: 'backslashes that escape nothing', header: `${FIELD}; filename="C:\\dir\\voice.wav"`, expected: ['a', 'C:\\dir\\voice.wav', undefined] },
  { name: 'backslashes without quotes', header: `${FIELD}; filename=a\\\\b\\"`, expected: ['a', 'a\\\\b\\"', undefined] },
  { name: 'the escapes of browsers', header: 'Content-Disposition: form-data; name="%22%0D%0A"; filename="%0d%0a%22"', expected: ['"\r\n', '\r\n"', undefined] },
  { name: 'the escapes of browsers without quotes', header: 'Content-Disposition: form-data; name=%22a', expected: ['"a', undefined, undefined] },
  { name: 'no other percent sequence', header: 'Content-Disposition: form-data; name="100%25%2"; filename="%41%"', expected: ['100%25%2', '%41%', undefined] },
  { name: 'no escape is undone twice', header: 'Content-Disposition: form-data; name="\\\\%22\\%22%2522"', expected: ['\\"\\"%2522', undefined, undefined] },
  { name: 'UTF-8', header: 'Content-Disposition: form-data; name="ä日"; filename="😀.wav"\r\nContent-Type: ü', expected: ['ä日', '😀.wav', 'ü'] },
  { name: 'a filename* in UTF-8', header: `${FIELD}; filename*=UTF-8''%e2%82%ac%20a.wav`, expected: ['a', '€ a.wav', undefined] },
  { name: 'a filename* with a language', header: `${FIELD}; filename*=utf-8'de'%C3%A4`, expected: ['a', 'ä', undefined] },
  { name: 'a filename* in ISO-8859-1', header: `${FIELD}; filename*=iso-8859-1'en'%A3%20rates`, expected: ['a', '£ rates', undefined] },
  { name: 'a filename* that is not encoded throughout', header: `${FIELD}; filename*=UTF-8''John's (1).wav`, expected: ['a', "John's (1).wav", undefined] },
  { name: 'an empty filename*', header: `${FIELD}; filename*=UTF-8''`, expected: ['a', '', undefined] },
  { name: 'filename wins over filename*', header: `${FIELD}; filename*=UTF-8''b; filename="c"`, expected: ['a', 'c', undefined] },
  { name: 'an empty filename wins too', header: `${FIELD}; filename=""; filename*=UTF-8''b`, expected: ['a', '', undefined] },
  { name: 'filename wins over an undecodable filename*', header: `${FIELD}; filename="c"; filename*=x`, expected: ['a', 'c', undefined] },
  { name: 'a name* is no name', header: "Content-Disposition: form-data; name*=utf-8''b", expected: ['', undefined, undefined] },
  { name: 'names of properties are plain text', header: 'Content-Disposition: form-data; name="__proto__"; filename="constructor"; __proto__=x', expected: ['__proto__', 'constructor', undefined] },
]
for (const { name, header, expected } of headers) {
  test(`header: ${name}`, () => {
    const { parts, error } = parseEveryWay(formatBody([{ header, content: 'x' }], 'b'), { boundary: 'b' })
    assert.equal(error, undefined)
    assert.deepEqual(parts.map((part) => Object.values(part.head)), [expected])
  })
}

test('the quick way through a header comes to the same as the long one', () => {
  const values = ['', 'a', '%22', '\\"', '\\', 'a;b', '=', 'ä', '\0', '\r', '\n', '\u2028', '\ufeff', "'", '%', '\r\nX: y', ' ']
  for (const name of values) {
    for (const other of values) {
      for (const rest of ['', `; filename="${other}"`, `\r\nContent-Type: ${other}`]) {
        const disposition = `form-data; name="${name}"${rest}`
        const [quick, long] = ['Content-Disposition', 'content-disposition'].map((field) =>
          parseChunks([formatBody([{ header: `${field}: ${disposition}`, content: 'x' }], 'b')], { boundary: 'b' }),
        )
        assert.deepEqual(quick, long, JSON.stringify(disposition))
      }
    }
  }
})

/** What follows many fields, where a field, its content and its delimiter are read in one go; B stands for the boundary. */
const goesOn = [
  { name: 'with fields', rest: `--B\r\n${FIELD}\r\n\r\nx\r\n--B\r\n${FIELD}\r\n\r\ny\r\n--B--`, expected: ['x', 'y'] },
  { name: 'with empty fields', rest: `--B\r\n${FIELD}\r\n\r\n\r\n--B\r\n${FIELD}\r\n\r\n\r\n--B--`, expected: ['', ''] },
  { name: 'with a part that has no content', rest: `--B\r\n${FIELD}\r\n\r\n--B\r\n${FIELD}\r\n\r\ny\r\n--B--`, expected: ['', 'y'] },
  { name: 'with a delimiter straight after an empty line and another', rest: `--B\r\n${FIELD}\r\n\r\n--B\r\n--B\r\n${FIELD}\r\n\r\nx\r\n--B--`, expected: [''], error: 'malformed_form' },
  { name: 'with blanks after a delimiter after an empty line', rest: `--B\r\n${FIELD}\r\n\r\n--B \r\n--B\r\n${FIELD}\r\n\r\nx\r\n--B--`, expected: [''], error: 'malformed_form' },
  { name: 'with blanks after delimiters', rest: `--B\t\r\n${FIELD}\r\n\r\nx\r\n--B \r\n${FIELD}\r\n\r\ny\r\n--B--`, expected: ['x', 'y'] },
  { name: 'with the end after an empty line', rest: `--B\r\n${FIELD}\r\n\r\n--B--\r\n--B\r\n`, expected: [''] },
  { name: 'with false starts', rest: `--B\r\n${FIELD}\r\n\r\n-\r\n--\r\n--Bx\r\n--B-\r\r\n--B\r\n${FIELD}\r\n\r\n--x\r\n--B--`, expected: ['-\r\n--\r\n--Bx\r\n--B-\r', '--x'] },
  { name: 'with CR at the end', rest: `--B\r\n${FIELD}\r\n\r\nx\r\r\n--B\r\n${FIELD}\r\n\r\n\r\r\n--B--`, expected: ['x\r', '\r'] },
  { name: 'with LF and bytes of any kind', rest: `--B\r\n${FIELD}\r\n\r\n\n\0"\xff\n--B\n\r\n--B\r\n${FIELD}\r\n\r\ny\r\n--B--`, expected: ['\n\0"\xff\n--B\n', 'y'] },
  { name: 'with what the boundary may be mistaken for', rest: `--B\r\n${FIELD}\r\n\r\nx\r\n--aab\r\n--B\r\n${FIELD}\r\n\r\ny\r\n--B--`, expected: ['x\r\n--aab', 'y'] },
  { name: 'with names that need decoding', rest: `--B\r\nContent-Disposition: form-data; name="a%22\\"\xc3\xa4"\r\n\r\nx\r\n--B--`, expected: ['x'], names: ['a""ä'] },
  { name: 'with a long name', rest: `--B\r\nContent-Disposition: form-data; name="${'n'.repeat(40)}"\r\n\r\nx\r\n--B\r\n${FIELD}\r\n\r\ny\r\n--B--`, expected: ['x', 'y'], names: ['n'.repeat(40), 'a'] },
  { name: 'with a file', rest: `--B\r\n${FILE}\r\n\r\nx\r\n--B\r\n${FIELD}\r\n\r\ny\r\n--B--`, expected: ['x', 'y'], names: ['file', 'a'] },
  { name: 'with a part without header', rest: `--B\r\n\r\nx\r\n--B\r\n${FIELD}\r\n\r\ny\r\n--B--`, error: 'malformed_form' },
  { name: 'with no end', rest: `--B\r\n${FIELD}\r\n\r\nx\r\n--B\r\n`, expected: ['x'], error: 'malformed_form' },
  { name: 'with a header as long as allowed', rest: `--B\r\nContent-Disposition: form-data; name="${'n'.repeat(57)}"\r\n\r\nx\r\n--B\r\n${FIELD}\r\n\r\ny\r\n--B--`, expected: ['x', 'y'], names: ['n'.repeat(57), 'a'] },
  { name: 'with a header one byte too long', rest: `--B\r\nContent-Disposition: form-data; name="${'n'.repeat(58)}"\r\n\r\nx\r\n--B\r\n${FIELD}\r\n\r\ny\r\n--B--`, error: 'part_header_too_large' },
  { name: 'with one part too many', rest: `${`--B\r\n${FIELD}\r\n\r\nx\r\n`.repeat(5)}--B--`, expected: ['x', 'x', 'x', 'x'], error: 'too_many_parts' },
]
for (const boundary of ['b', 'a?b', 'a+b)(.']) {
  for (const { name, rest, expected = [], error, names = expected.map(() => 'a') } of goesOn) {
    test(`a form of many fields goes on ${name}, boundary ${boundary}`, () => {
      const many = makeFieldChunks(boundary)
      const limits = { parts: many.length + 4, partHeaderBytes: 100, preambleBytes: 0 }
      const body = Buffer.from(rest.replaceAll('B', boundary), 'latin1')
      const parse = (chunks: readonly Buffer[]) => {
        const outcome = parseChunks([...many, ...chunks], { boundary, limits })
        const parts = outcome.parts.slice(many.length)
        return { error: outcome.error, names: parts.map((part) => part.head.name), contents: parts.map((part) => part.content) }
      }
      const wanted = { error, names, contents: expected.map((content) => content.replaceAll('B', boundary)) }
      assert.deepEqual(parse([body]), wanted)
      assert.deepEqual(parse(cut(body, 1)), wanted)
      for (let at = 0; at <= body.length; at++) {
        assert.deepEqual(parse([Buffer.from(body.subarray(0, at)), Buffer.from(body.subarray(at))]), wanted, `cut in two at ${at}`)
      }
    })
  }
}

test('many parts in one chunk, of any length and in any order, come out as in chunks of one byte', () => {
  const lengths = [...Array(60).keys(), ...Array.from({ length: 60 }, (_, at) => 90 * at), ...Array(60).fill(2), 70_000, 1, 4096, 4095, 0]
  const given = lengths.map((length, at) => ({ header: at % 7 === 3 ? FILE : FIELD, content: `${at}`.padEnd(length, '\r\n--') }))
  const body = formatBody(given, 'bound')
  const options = { boundary: 'bound', limits: { ...LIMITS, parts: given.length } }
  const whole = parseChunks([body], options)
  assert.deepEqual(whole.parts.map((part) => part.content), given.map((part) => part.content))
  for (const size of [1, 1460, 65_536]) assert.deepEqual(parseChunks(cut(body, size), options), whole)
})

for (const filler of ['\xff', '\xff\r', 'd\xff\xff\xff\xff']) {
  test(`a delimiter at any distance behind ${JSON.stringify(filler)} is found, in a chunk and cut off by its end`, () => {
    for (const boundary of ['d', 'bound', 'x'.repeat(70)]) {
      const options = { boundary, limits: LIMITS }
      for (let bytes = 0; bytes < 700; bytes++) {
        const content = filler.repeat(bytes).slice(0, bytes)
        const body = formatBody([{ header: FILE, content }], boundary)
        const end = body.length - 2 - (bytes % (boundary.length + 8))
        for (const chunks of [[body], [body.subarray(0, end), body.subarray(end)]]) {
          assert.deepEqual(parseChunks(chunks, options).parts.map((part) => part.content), [content])
        }
      }
    }
  })
}

const named = 'Content-Disposition: form-data; name="name of a field"; filename="name of a file"\r\nContent-Type: application/octet-stream'
const kept = [
  { name: 'a short header', header: named, content: 'x'.repeat(5000) },
  { name: 'a long header', header: `${named}\r\nX: ${'x'.repeat(5000)}`, content: '' },
]
for (const { name, header, content } of kept) {
  test(`who keeps what ${name} says does not keep the text around it`, () => {
    const body = formatBody(Array(1000).fill({ header, content }), 'b')
    const limits = { parts: 1000, partHeaderBytes: 10_000, preambleBytes: 0 }
    const before = heapBytes()
    const heads = [...new MultipartParser('b', limits).push(body)].flatMap((event) => (event.type === 'part' ? [event.head] : []))
    const keptBytes = heapBytes() - before
    assert.ok(keptBytes < 2_000_000, `${keptBytes} bytes are kept for ${heads.length} parts`)
  })
}

test('a name and filename that are not UTF-8 hold U+FFFD', () => {
  const header = Buffer.from('--b\r\nContent-Disposition: form-data; name="\xff"; filename="a\xc3"\r\n\r\nx\r\n--b--', 'latin1')
  const { parts } = parseEveryWay(header, { boundary: 'b' })
  assert.deepEqual(parts.map((part) => part.head), [{ name: '\ufffd', filename: 'a\ufffd', mediaType: undefined }])
})

for (const boundary of ['b', '-', '--', '----WebKitFormBoundary7MA4YWxkTrZu0gW', 'a:b (c)', 'x'.repeat(70)]) {
  const delimiter = `\r\n--${boundary}`
  const contents = [
    { name: 'all bytes', content: String.fromCharCode(...Array(256).keys()) },
    { name: 'CR at its end', content: 'x\r' },
    { name: 'LF at its end', content: 'x\n' },
    { name: 'CRLF at its end', content: 'x\r\n' },
    { name: 'CRLF and dashes at its end', content: 'x\r\n--' },
    { name: 'the delimiter less one byte at its end', content: delimiter.slice(0, -1) },
    { name: 'each beginning of the delimiter', content: [...delimiter].map((_, at) => delimiter.slice(0, at)).join('') },
    { name: 'only CR', content: '\r' },
    { name: 'only CRLF', content: '\r\n' },
    { name: 'the boundary', content: boundary },
    { name: 'the boundary at the end of a line', content: `x--${boundary}\r\n` },
    { name: 'LF and a delimiter', content: `x\n--${boundary}\r\nx\n--${boundary}--\n` },
    { name: 'CR and a delimiter', content: `x\r--${boundary}\r\n` },
    { name: 'a run of CR', content: '\r'.repeat(200) },
    { name: 'a run of CRLF', content: '\r\n'.repeat(100) },
    { name: 'a run of dashes', content: `\r\n${'-'.repeat(200)}` },
    { name: 'a delimiter and text', content: `${delimiter}x${delimiter}.\r\n${delimiter}\nx${delimiter}\0` },
    { name: 'a delimiter and a dash', content: `x${delimiter}-x${delimiter}- -${delimiter}-\r\n` },
    { name: 'a delimiter and one dash at its end', content: `x${delimiter} -` },
    { name: 'a delimiter, blanks and text', content: `x${delimiter} x${delimiter}\t \t--${delimiter} \n` },
    { name: 'a delimiter and CR', content: `x${delimiter}\rx${delimiter} \rx${delimiter}\r` },
    { name: 'a delimiter in what follows one', content: `${delimiter}\r${delimiter}x${delimiter} \r${delimiter}x` },
    { name: 'the boundary of a multipart within', content: `${delimiter}1\r\n\r\nx${delimiter}1--` },
    { name: 'more than one line', content: 'a\r\n\r\nb\nc\rd\r\n' },
  ].filter(({ content }) => !/\r\n----$|\r\n-----/.test(content) || !/^-+$/.test(boundary))
  for (const { name, content } of contents) {
    test(`content of ${name} comes out as it is, boundary ${boundary}`, () => {
      const body = formatBody([{ header: FILE, content }, { header: FIELD, content: 'next' }], boundary)
      const { parts, error } = parseEveryWay(body, { boundary })
      assert.deepEqual([error, ...parts.map((part) => part.content)], [undefined, content, 'next'])
    })
  }
}

test('a body cut anywhere before the end of its close delimiter is refused', () => {
  const whole = formatBody([{ header: FILE, content: 'x\r\n--y' }, { header: FIELD, content: '' }], 'bound')
  const needed = whole.length - '\r\n'.length
  for (let bytes = 0; bytes <= whole.length; bytes++) {
    const { error } = parseEveryWay(whole.subarray(0, bytes), { boundary: 'bound' })
    assert.equal(error, bytes < needed ? 'malformed_form' : undefined, `${bytes} bytes`)
  }
})

const block = (bytes: number) => `${FIELD}\r\nX: ${'x'.repeat(bytes - FIELD.length - '\r\nX: \r\n\r\n'.length)}`
const plainBlock = (bytes: number) => `Content-Disposition: form-data; name="${'x'.repeat(bytes - 43)}"` // with the empty line
const limits = [
  { name: 'as many parts as allowed', body: formatBody(Array(3).fill({ header: FIELD, content: 'x' }), 'b'), parts: 3, error: undefined },
  { name: 'one part too many', body: formatBody(Array(4).fill({ header: FIELD, content: 'x' }), 'b'), parts: 3, error: 'too_many_parts' },
  { name: 'the beginning of one part too many', body: Buffer.from(`--b\r\n${FIELD}\r\n\r\nx\r\n--b\r\n${FIELD}\r\n\r\nx\r\n--b\r\n${FIELD}\r\n\r\nx\r\n--b\r\n`), parts: 3, error: 'too_many_parts' },
  { name: 'a part header as long as allowed', body: formatBody([{ header: block(100), content: 'x' }], 'b'), parts: 1, error: undefined },
  { name: 'a part header one byte too long', body: formatBody([{ header: block(101), content: 'x' }], 'b'), parts: 0, error: 'part_header_too_large' },
  { name: 'a plain part header as long as allowed', body: formatBody([{ header: plainBlock(100), content: 'x' }], 'b'), parts: 1, error: undefined },
  { name: 'a plain part header one byte too long', body: formatBody([{ header: plainBlock(101), content: 'x' }], 'b'), parts: 0, error: 'part_header_too_large' },
  { name: 'a part header that cannot end in time', body: Buffer.from(`--b\r\n${'x'.repeat(100)}`), parts: 0, error: 'part_header_too_large' },
  { name: 'a part header that may end in time', body: Buffer.from(`--b\r\n${'x'.repeat(99)}`), parts: 0, error: 'malformed_form' },
  { name: 'a preamble as long as allowed', body: Buffer.from(`${'x'.repeat(50)}\r\n--b--`), parts: 0, error: undefined },
  { name: 'a preamble one byte too long', body: Buffer.from(`${'x'.repeat(51)}\r\n--b--`), parts: 0, error: 'preamble_too_large' },
  { name: 'a preamble that does not end', body: Buffer.from('x'.repeat(51)), parts: 0, error: 'preamble_too_large' },
  { name: 'a preamble of near-misses', body: Buffer.from('--bx\r\n'.repeat(10)), parts: 0, error: 'preamble_too_large' },
]
for (const { name, body, parts, error } of limits) {
  test(`limit: ${name}`, () => {
    const options = { boundary: 'b', limits: { parts: 3, partHeaderBytes: 100, preambleBytes: 50 } }
    const outcome = parseEveryWay(body, options)
    assert.deepEqual([outcome.error, outcome.parts.length, outcome.parts.every((part) => part.isEnded)], [error, parts, true])
  })
}

const atOnce = [
  { name: 'a long part header', before: '--b\r\n', flood: 'x'.repeat(LIMITS.partHeaderBytes), code: 'part_header_too_large' },
  { name: 'a long preamble', before: '', flood: 'x'.repeat(LIMITS.preambleBytes + 1), code: 'preamble_too_large' },
  { name: 'long padding', before: '--b', flood: ' '.repeat(1025), code: 'malformed_form' },
  { name: 'a line that ends in CR CR LF', before: '--b\r\nX: y', flood: '\r\r\n\r\n', code: 'malformed_form' },
  { name: 'a part without header', before: '--b\r\n', flood: '\r\n', code: 'malformed_form' },
]
for (const { name, before, flood, code } of atOnce) {
  test(`${name} is refused at the byte that is too much`, () => {
    const parser = new MultipartParser('b', LIMITS)
    const body = Buffer.from(before + flood)
    for (const byte of cut(body.subarray(0, -1), 1)) assert.deepEqual([...parser.push(byte)], [])
    assert.throws(() => [...parser.push(body.subarray(-1))], { code })
  })
}

test('a parser whose events were not all taken gives no more', () => {
  const parser = new MultipartParser('b', LIMITS)
  for (const event of parser.push(formatBody([{ header: FIELD, content: 'x' }], 'b'))) if (event.type === 'part') break
  assert.throws(() => [...parser.push(Buffer.from('x'))], HttpError)
  assert.throws(() => [...parser.finish()], HttpError)
})

test('data is a view of its chunk, without a copy', () => {
  const parser = new MultipartParser('b', LIMITS)
  const first = Buffer.from(`--b\r\n${FIELD}\r\n\r\nabc`)
  const second = Buffer.from('def')
  const events = [...parser.push(first), ...parser.push(second)]
  const buffers = events.flatMap((event) => (event.type === 'data' ? [event.bytes.buffer] : []))
  assert.deepEqual(buffers.map((buffer, at) => buffer === [first, second][at]?.buffer), [true, true])
})

test('what a browser writes is read back, in chunks of any size', async () => {
  const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  const forms: (readonly [string, string | File])[][] = [
    [],
    [['a', 'b']],
    [['', ''], ['a', ''], ['a', '2'], ['__proto__', 'x'], ['toString', 'y']],
    [['"quotes"', '"'], ['a\r\nb', 'x'], ['a;b=c', 'ä日😀'], ['%41 %', '%22'], ['C:\\dir', '\\']],
    [['file', new File([all, '\r\n--', all], 'voice.wav', { type: 'audio/wav' })], ['auth_token', 'P-0123']],
    [['file', new File([], 'empty')], ['file', new File(['\r\n'], 'a "b"\r\n;ü.zip.000')], ['x', new File(['x'], 'C:\\a.b')]],
  ]
  for (const form of forms) {
    const data = new FormData()
    for (const [name, value] of form) data.append(name, value)
    const response = new Response(data)
    const boundary = parseBoundary(response.headers.get('content-type') ?? '')
    const { parts, error } = parseEveryWay(Buffer.from(await response.arrayBuffer()), { boundary })
    assert.equal(error, undefined)
    assert.deepEqual(parts, await Promise.all(form.map(expectPart)))
  }
})

test('the kind of content that slows a parser down takes time in proportion to its length', () => {
  const near = '\r\n----boundar'
  const contents = ['\r', '\r\n', '-', '\r\n--', near, `${near}\r`, '\r\n----boundary.', '\r\n----boundary-', '\r\n----boundary \t\r', '\n']
  for (const piece of contents) {
    const content = `${piece.repeat(Math.ceil(200_000 / piece.length))}.`
    const body = formatBody([{ header: FILE, content }], '--boundary')
    for (const size of [65_536, 1460, 1]) {
      const start = process.cpuUsage()
      const { parts, error } = parseChunks(cut(body, size), { boundary: '--boundary' })
      assert.ok(process.cpuUsage(start).user < 10_000_000, `${JSON.stringify(piece)} in chunks of ${size}`)
      assert.ok(error === undefined && parts[0]?.content === content, 'error === undefined && parts[0]?.content === content')
    }
  }
})

test('long headers, many parameters and many escapes take time in proportion to their length', () => {
  const wide = { parts: 100_000, partHeaderBytes: 1_000_000, preambleBytes: 0 }
  const long = [
    { header: `${FIELD}${'; a=b'.repeat(5000)}`, name: 'a' },
    { header: `${FIELD}${'; a="b"'.repeat(5000)}; filename=""`, name: 'a' },
    { header: `Content-Disposition: form-data; name="${'\\"'.repeat(40_000)}"`, name: '"'.repeat(40_000) },
    { header: `Content-Disposition: form-data; name="${'%22'.repeat(40_000)}"`, name: '"'.repeat(40_000) },
    { header: `Content-Disposition: form-data; name="${'\\'.repeat(40_000)}"`, name: '\\'.repeat(20_000) },
    { header: `${FIELD}; x="${' '.repeat(200_000)}"`, name: 'a' },
    { header: `${FIELD};${' '.repeat(200_000)}`, name: 'a' },
    { header: `${FIELD}${';'.repeat(200_000)}`, name: 'a' },
    { header: `${FIELD}; x=${' '.repeat(200_000)}y${' '.repeat(200_000)}`, name: 'a' },
    { header: `${FIELD}${'\r\nX:'.repeat(50_000)}`, name: 'a' },
    { header: `${FIELD}\r\nContent-Type: ${' '.repeat(200_000)}x${' '.repeat(200_000)}`, name: 'a' },
  ]
  for (const { header, name } of long) {
    const body = formatBody([{ header, content: 'x' }], 'b')
    for (const size of [body.length, 1460, 1]) {
      const start = process.cpuUsage()
      const { parts, error } = parseChunks(cut(body, size), { boundary: 'b', limits: wide })
      assert.ok(process.cpuUsage(start).user < 10_000_000, `${header.slice(0, 60)} in chunks of ${size}`)
      assert.ok(error === undefined && parts[0]?.head.name === name, header.slice(0, 60))
    }
  }
})

test('random bodies and mutations of them parse the same however they are cut', (context) => {
  context.diagnostic(`${fuzzMultipart(0.3, chooseSeed())} inputs`)
})

/** How much memory the live objects take. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}

function plain(outcome: Outcome): (readonly [PartHead, string])[] {
  return outcome.parts.map((part) => [part.head, part.content])
}

/** What a form's entry comes to: line ends in names and in text are CRLF, as the form submission algorithm writes them. */
async function expectPart([name, value]: readonly [string, string | File]): Promise<Outcome['parts'][number]> {
  const isFile = typeof value !== 'string'
  const filename = isFile ? value.name : undefined
  const mediaType = isFile ? value.type || 'application/octet-stream' : undefined
  const content = isFile ? Buffer.from(await value.arrayBuffer()) : Buffer.from(value)
  return { head: { name, filename, mediaType }, content: content.toString('latin1'), isEnded: true }
}
