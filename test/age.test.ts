import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createCipheriv, createHmac, createPrivateKey, createPublicKey, hkdfSync, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { AgeError } from '../lib/crypt/age-error.ts'
import { formatArmor, parseArmor } from '../lib/crypt/armor.ts'
import { formatBech32, parseBech32 } from '../lib/crypt/bech32.ts'
import { decrypt } from '../lib/crypt/decryption.ts'
import { Encryption } from '../lib/crypt/encryption.ts'
import { formatHeader } from '../lib/crypt/header.ts'
import { formatIdentity, newIdentity, parseIdentities, parseRecipient, parseRecipients, type Identity } from '../lib/crypt/keys.ts'
import { NONCE_BYTES, Sealing } from '../lib/crypt/payload.ts'
import { wrapFileKey, type Stanza } from '../lib/crypt/stanza.ts'
import { needs, temporaryDirectory } from './harness.ts'
import { chooseSeed, makeChance } from './seeded.ts'

const CHUNK = 65_536
const SEALED = CHUNK + 16
// The pair that c2sp.org/age shows, "The X25519 recipient type".
const KNOWN_IDENTITY = 'AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX'
const KNOWN_RECIPIENT = 'age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj'
const SIZES = [0, 1, 15, 16, 17, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 5 * CHUNK, 700_001]

const identity = newIdentity()
const other = newIdentity()

function encryptWhole(bytes: Buffer, to: readonly Identity[] = [identity], pieceBytes = 50_000): Buffer {
  const encryption = new Encryption(to.map(({ recipient }) => recipient))
  const out: Buffer[] = []
  for (let at = 0; at < bytes.length; at += pieceBytes) out.push(...encryption.update(bytes.subarray(at, at + pieceBytes)))
  return Buffer.concat([...out, ...encryption.final()])
}

async function decryptWhole(file: Buffer, identities: readonly Identity[] = [identity], pieceBytes = 50_000): Promise<Buffer> {
  const out: Buffer[] = []
  for await (const bytes of decrypt(piecesOf(file, pieceBytes), identities)) out.push(bytes)
  return Buffer.concat(out)
}

async function* piecesOf(file: Buffer, pieceBytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < file.length; at += pieceBytes) yield file.subarray(at, at + pieceBytes)
}

function isRefused(file: Buffer, reason: RegExp, identities?: readonly Identity[]): Promise<void> {
  return assert.rejects(decryptWhole(file, identities), (error) => error instanceof AgeError && reason.test(error.message))
}

for (const size of SIZES) {
  test(`${size} bytes come back as they were, in any pieces`, async () => {
    const bytes = randomBytes(size)
    for (const pieceBytes of size > 1000 ? [1460, CHUNK, 1_000_000] : [1, 7, 1_000_000]) {
      const file = encryptWhole(bytes, [identity], pieceBytes)
      assert.deepEqual(await decryptWhole(file, [identity], pieceBytes), bytes)
    }
  })
}

test('each of several recipients opens a file, nobody else does', async () => {
  const file = encryptWhole(Buffer.from('answers'), [identity, other])
  for (const one of [identity, other]) assert.equal(String(await decryptWhole(file, [newIdentity(), one])), 'answers')
  await isRefused(file, /none of the given identities opens it/, [newIdentity(), newIdentity()])
  await isRefused(file, /none of the given identities opens it/, [])
})

test('two files of the same bytes share nothing', () => {
  const bytes = randomBytes(100)
  const [first, second] = [encryptWhole(bytes), encryptWhole(bytes)]
  assert.notDeepEqual(first.subarray(-116), second.subarray(-116))
})

test('the key pair of the specification is read and written', () => {
  const [known] = parseIdentities(`# created: 2024-11-01\n# public key: x\n\n${KNOWN_IDENTITY}\n`)
  assert.equal(known?.recipient.text, KNOWN_RECIPIENT)
  assert.equal(known && formatIdentity(known), KNOWN_IDENTITY)
  assert.deepEqual(parseRecipient(KNOWN_RECIPIENT).publicKey, known?.recipient.publicKey)
})

test('a secret key has the public key that OpenSSL derives', () => {
  for (let round = 0; round < 20; round++) {
    const { secret, recipient } = newIdentity()
    const der = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), secret]) // RFC 8410 §7
    const derived = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })).export({ format: 'der', type: 'spki' })
    assert.deepEqual(recipient.publicKey, derived.subarray(-32))
  }
})

test('recipients are parted by lines, commas or blanks, and comments are none', () => {
  const texts = parseRecipients(`# the lab\n${KNOWN_RECIPIENT}\n\n  ${identity.recipient.text},${other.recipient.text} \r\n`).map(({ text }) => text)
  assert.deepEqual(texts, [KNOWN_RECIPIENT, identity.recipient.text, other.recipient.text])
  assert.deepEqual(parseRecipients('# none\n'), [])
})

const changed = (text: string, at: number) => text.slice(0, at) + (text[at] === 'q' ? 'p' : 'q') + text.slice(at + 1)
const badRecipients: [name: string, text: string][] = [
  ['empty', ''],
  ['one character mistyped', changed(KNOWN_RECIPIENT, 20)],
  ['the checksum mistyped', changed(KNOWN_RECIPIENT, 61)],
  ['cut', KNOWN_RECIPIENT.slice(0, -1)],
  ['mixed case', KNOWN_RECIPIENT.replace('age1z', 'age1Z')],
  ['upper case', KNOWN_RECIPIENT.toUpperCase()],
  ['an identity', KNOWN_IDENTITY],
  ['another prefix', formatBech32('agf', randomBytes(32))],
  ['31 bytes', formatBech32('age', randomBytes(31))],
  ['33 bytes', formatBech32('age', randomBytes(33))],
  ['an SSH key', 'ssh-ed25519'],
  ['a character that is none of Bech32', KNOWN_RECIPIENT.replace('zvky', 'zbky')],
  ['not ASCII', KNOWN_RECIPIENT.replace('zvky', 'zvkŷ')],
]
for (const [name, text] of badRecipients) {
  test(`no recipient: ${name}`, () => assert.throws(() => parseRecipient(text), AgeError))
}

for (const [name, text] of [['a recipient', KNOWN_RECIPIENT], ['lower case', KNOWN_IDENTITY.toLowerCase()], ['mistyped', changed(KNOWN_IDENTITY, 30)]] as const) {
  test(`no identity: ${name}; its text is not shown`, () => {
    assert.throws(() => parseIdentities(`\n${text}\n`), (error) => error instanceof AgeError && !error.message.includes(text.slice(-20)))
  })
}

// BIP 173, "Test vectors".
const BECH32 = ['a12uel5l', 'abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw', 'split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w']
const NOT_BECH32 = ['\u{20}1nwldj5', '\u{7f}1axkwrx', 'pzry9x0s0muk', '1pzry9x0s0muk', 'x1b4n0q5v', 'li1dgmt3', 'de1lg7wt\u{ff}', 'A1G7SGD8', '10a06t8', '1qzzfhee']
for (const text of BECH32) {
  test(`Bech32: ${text}`, () => {
    const { prefix, bytes } = parseBech32(text)
    assert.equal(formatBech32(prefix, bytes), text)
  })
}
for (const text of NOT_BECH32) test(`not Bech32: ${JSON.stringify(text)}`, () => assert.throws(() => parseBech32(text), AgeError))

const payloadAt = (file: Buffer) => file.indexOf('\n', file.indexOf('\n---') + 1) + 1 + NONCE_BYTES
const chunkAt = (file: Buffer, index: number) => payloadAt(file) + index * SEALED
const flip = (at: (file: Buffer) => number) => (file: Buffer) => {
  const copy = Buffer.from(file)
  copy[at(file)] = (copy[at(file)] ?? 0) ^ 1
  return copy
}
const inOrder = (file: Buffer, ...chunks: number[]) => {
  const bytes = chunks.map((index) => file.subarray(chunkAt(file, index), chunkAt(file, index + 1)))
  return Buffer.concat([file.subarray(0, payloadAt(file)), ...bytes])
}
const harmRows: [name: string, harm: (file: Buffer) => Buffer, reason: RegExp][] = [
  ['cut within a chunk', (file) => file.subarray(0, -1), /cut or altered/],
  ['cut after a chunk', (file) => file.subarray(0, chunkAt(file, 2)), /cut or altered/],
  ['cut after the nonce', (file) => file.subarray(0, payloadAt(file)), /cut or altered/],
  ['cut within the nonce', (file) => file.subarray(0, payloadAt(file) - 1), /cut within its header/],
  ['cut within the header', (file) => file.subarray(0, 100), /cut within its header/],
  ['empty', () => Buffer.alloc(0), /cut within its header/],
  ['bytes behind', (file) => Buffer.concat([file, Buffer.from('x')]), /cut or altered/],
  ['an empty chunk behind', (file) => Buffer.concat([file, Buffer.alloc(16)]), /cut or altered/],
  ['two chunks in another order', (file) => inOrder(file, 1, 0, 2), /cut or altered/],
  ['a chunk twice', (file) => inOrder(file, 0, 0, 1, 2), /cut or altered/],
  ['a chunk is gone', (file) => inOrder(file, 0, 2), /cut or altered/],
  ['a bit of the content', flip((file) => chunkAt(file, 1) + 5), /cut or altered/],
  ['a bit of a tag', flip((file) => chunkAt(file, 1) - 1), /cut or altered/],
  ['a bit of the nonce', flip((file) => payloadAt(file) - 1), /cut or altered/],
  ['a bit of the version', flip(() => 20), /not an age file|malformed/],
  ['a bit of the wrapped key', flip((file) => file.indexOf('\n---') - 10), /none of the given|malformed/],
  ['a bit of the MAC', flip((file) => file.indexOf('\n---') + 10), /was altered|malformed/],
  ['another kind of file', () => Buffer.from('RIFF....WAVE'), /not an age file/],
  ['a header without end', () => Buffer.concat([Buffer.from('age-encryption.org/v1\n'), Buffer.alloc(100_000, '-> x\n\n')]), /too long/],
]
for (const [name, harm, reason] of harmRows) {
  test(`refused: ${name}`, () => isRefused(harm(encryptWhole(randomBytes(2 * CHUNK + 100))), reason))
}

test('chunks in their order are the file', async () => {
  const bytes = randomBytes(2 * CHUNK + 100)
  assert.deepEqual(await decryptWhole(inOrder(encryptWhole(bytes), 0, 1, 2)), bytes)
})

// Files that only somebody who knows the file key can write wrongly.
const fileKey = randomBytes(16)
const nonce = randomBytes(NONCE_BYTES)
const own = wrapFileKey(fileKey, identity.recipient)
const payload = Buffer.concat([nonce, ...new Sealing(fileKey, nonce).final()])
const withStanzas = (...stanzas: Stanza[]) => Buffer.concat([formatHeader(fileKey, stanzas), payload])
function withText(text: string): Buffer {
  const key = Buffer.from(hkdfSync('sha256', fileKey, '', 'header', 32))
  const mac = createHmac('sha256', key).update(`${text}---`, 'latin1').digest('base64').slice(0, 43)
  return Buffer.concat([Buffer.from(`${text}--- ${mac}\n`, 'latin1'), payload])
}
const [, ownLine = '', ownBody = ''] = formatHeader(fileKey, [own]).toString().split('\n')
const V1 = 'age-encryption.org/v1\n'
const acceptedRows: [name: string, file: Buffer][] = [
  ['our own header', withText(`${V1}${ownLine}\n${ownBody}\n`)],
  ['a stanza of an unknown kind before', withStanzas({ args: ['x-grease', 'a', 'b'], body: Buffer.alloc(0) }, own)],
  ['a body of exactly 48 bytes, with an empty last line', withStanzas({ args: ['x'], body: Buffer.alloc(48, 7) }, own)],
  ['a body of several lines', withStanzas({ args: ['x'], body: Buffer.alloc(1000, 7) }, own)],
]
for (const [name, file] of acceptedRows) test(`opened: ${name}`, async () => assert.equal((await decryptWhole(file)).length, 0))

const ownHeader = formatHeader(fileKey, [own]).toString('latin1')
const malformedRows: [name: string, file: Buffer][] = [
  ['no stanza', withText(V1)],
  ['version 2', withText(`age-encryption.org/v2\n${ownLine}\n${ownBody}\n`)],
  ['lines end with CR LF', withText(`${V1}${ownLine}\r\n${ownBody}\n`)],
  ['no argument', withText(`${V1}->\n\n${ownLine}\n${ownBody}\n`)],
  ['an empty argument', withText(`${V1}-> x  y\n\n${ownLine}\n${ownBody}\n`)],
  ['a blank at the end of the arguments', withText(`${V1}${ownLine} \n${ownBody}\n`)],
  ['an argument that is not ASCII', withText(`${V1}-> \u00e9\n\n${ownLine}\n${ownBody}\n`)],
  ['no body', withText(`${V1}${ownLine}\n`)],
  ['a body without its short last line', withText(`${V1}-> x\n${'A'.repeat(64)}\n${ownLine}\n${ownBody}\n`)],
  ['a line of 65 columns', withText(`${V1}-> x\n${'A'.repeat(65)}\n\n${ownLine}\n${ownBody}\n`)],
  ['a body with padding', withText(`${V1}${ownLine}\n${ownBody}=\n`)],
  ['a body that is not canonical', withText(`${V1}-> x\nAB\n${ownLine}\n${ownBody}\n`)],
  ['an X25519 stanza with a further argument', withStanzas({ args: [...own.args, 'x'], body: own.body })],
  ['an X25519 stanza without a share', withStanzas({ args: ['X25519'], body: own.body })],
  ['a share of 31 bytes', withStanzas({ args: ['X25519', Buffer.alloc(31, 1).toString('base64').replace(/=+$/, '')], body: own.body })],
  ['a share that is not canonical', withStanzas({ args: ['X25519', `${own.args[1]?.slice(0, -1)}B`], body: own.body })],
  ['a share of low order', withStanzas({ args: ['X25519', 'A'.repeat(43)], body: own.body })],
  ['a body of 31 bytes', withStanzas({ args: own.args, body: own.body.subarray(1) })],
  ['a body of 33 bytes', withStanzas({ args: own.args, body: Buffer.concat([own.body, Buffer.alloc(1)]) })],
  ['a stanza of the kind x25519', withStanzas({ args: ['x25519', own.args[1] ?? ''], body: own.body })],
  ['a passphrase beside', withStanzas(own, { args: ['scrypt', 'AAAAAAAAAAAAAAAAAAAAAA', '10'], body: Buffer.alloc(32) })],
  ['a MAC of another header', Buffer.concat([formatHeader(randomBytes(16), [own]), payload])],
  ['a MAC without its blank', Buffer.concat([Buffer.from(ownHeader.replace('--- ', '---'), 'latin1'), payload])],
  ['a MAC that is cut', Buffer.concat([Buffer.from(ownHeader.replace(/.\n$/, '\n'), 'latin1'), payload])],
]
for (const [name, file] of malformedRows) test(`refused by its header: ${name}`, () => isRefused(file, /./))

test('an empty last chunk after others is refused, though its tag holds', async () => {
  const first = new Sealing(fileKey, nonce).update(randomBytes(CHUNK + 1)) // one chunk is sealed, one byte waits
  const key = Buffer.from(hkdfSync('sha256', fileKey, nonce, 'payload', 32))
  const empty = createCipheriv('chacha20-poly1305', key, Buffer.from('000000000000000000000101', 'hex'), { authTagLength: 16 })
  empty.final()
  await isRefused(Buffer.concat([formatHeader(fileKey, [own]), nonce, ...first, empty.getAuthTag()]), /cut or altered/)
})

test('altered anywhere, a file is refused', async () => {
  const random = makeChance(chooseSeed())
  const file = encryptWhole(randomBytes(CHUNK + 500))
  for (let round = 0; round < 300; round++) {
    const copy = Buffer.from(file)
    const at = random(round % 2 === 0 ? payloadAt(file) : file.length)
    copy[at] = (copy[at] ?? 0) ^ (1 << random(8))
    await isRefused(copy, /./)
  }
})

const armored = formatArmor(encryptWhole(Buffer.from('1f8e2d9c')))
test('armored text is read again, with white space around it and with CR LF', () => {
  for (const bytes of [randomBytes(1), randomBytes(47), randomBytes(48), randomBytes(96), randomBytes(1000)]) {
    assert.deepEqual(parseArmor(`\r\n ${formatArmor(bytes).replaceAll('\n', '\r\n')} \n`), bytes)
  }
})
const armorRows: [name: string, text: string][] = [
  ['nothing', ''],
  ['words before', `x${armored}`],
  ['words behind', `${armored}x`],
  ['no end', armored.replace(/-----END[^]*/, '')],
  ['another label', armored.replaceAll('AGE ENCRYPTED FILE', 'age encrypted file')],
  ['an empty line', armored.replace('\n', '\n\n')],
  ['a blank within', armored.replace(/\n(.{10})/, '\n$1 ')],
  ['a short line within', armored.replace(/\n(.{64})\n/, (_, line: string) => `\n${line.slice(0, 60)}\n${line.slice(60)}\n`)],
  ['padding that is missing', formatArmor(randomBytes(1)).replace('==', '')],
]
for (const [name, text] of armorRows) test(`no armored text: ${name}`, () => assert.throws(() => parseArmor(text), AgeError))

function age(args: readonly string[], input?: Buffer | string): Buffer {
  const { status, stdout, stderr } = spawnSync('age', args, { input, maxBuffer: 2 ** 26 })
  assert.equal(status, 0, `age ${args.join(' ')}: ${String(stderr)}`)
  return stdout
}

test('age opens what is written here', async (t) => {
  if (!needs(t, 'age', 'age')) return
  const directory = await temporaryDirectory(t)
  const key = join(directory, 'key')
  await writeFile(key, `${formatIdentity(other)}\n`)
  for (const size of SIZES) {
    const bytes = randomBytes(size)
    await writeFile(join(directory, 'file.age'), encryptWhole(bytes, [identity, other]))
    assert.deepEqual(age(['-d', '-i', key, join(directory, 'file.age')]), bytes, `${size} bytes`)
  }
  assert.equal(String(age(['-d', '-i', key], formatArmor(encryptWhole(Buffer.from('armored'), [other])))), 'armored')
})

test('what age writes is opened here, and so are its keys', async (t) => {
  if (!needs(t, 'age', 'age')) return
  const key = join(await temporaryDirectory(t), 'key')
  assert.equal(spawnSync('age-keygen', ['-o', key]).status, 0, 'age-keygen')
  const text = await readFile(key, 'utf8')
  const [made] = parseIdentities(text)
  assert.ok(made !== undefined && text.includes(made.recipient.text), 'the recipient is the one that age-keygen names')
  for (const size of SIZES) {
    const bytes = randomBytes(size)
    const file = age(['-e', '-r', made.recipient.text, '-r', identity.recipient.text], bytes)
    for (const one of [made, identity]) assert.deepEqual(await decryptWhole(file, [one]), bytes, `${size} bytes`)
  }
  assert.equal(String(await decryptWhole(parseArmor(String(age(['-e', '-a', '-r', identity.recipient.text], 'armored'))))), 'armored')
})

test('age refuses the recipients that are refused here', (t) => {
  if (!needs(t, 'age', 'age')) return
  for (const [name, text] of badRecipients) {
    if (text === '' || text.startsWith('ssh')) continue
    assert.notEqual(spawnSync('age', ['-e', '-r', text], { input: '' }).status, 0, name)
  }
})
