import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { AgeError } from '../lib/crypt/age-error.ts'
import { decrypt } from '../lib/crypt/decryption.ts'
import { formatHeader, formatPaddedHeader, parseHeader } from '../lib/crypt/header.ts'
import { formatIdentity, newIdentity, type Identity } from '../lib/crypt/keys.ts'
import { HEADER_BYTES, LateEncryption } from '../lib/crypt/late-encryption.ts'
import { wrapFileKey } from '../lib/crypt/stanza.ts'
import { needs, temporaryDirectory } from './harness.ts'

const CHUNK = 65_536
const SIZES = [0, 1, 16, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 300_001]
const identities = Array.from({ length: 32 }, newIdentity)
const [identity = newIdentity()] = identities

/** Encrypts in the order in which the server does: the header is made when all else is there. */
function encryptLate(bytes: Buffer, to: readonly Identity[] = [identity], pieceBytes = 50_000): { file: Buffer; encryption: LateEncryption } {
  const encryption = new LateEncryption()
  const out: Buffer[] = []
  for (let at = 0; at < bytes.length; at += pieceBytes) out.push(...encryption.update(bytes.subarray(at, at + pieceBytes)))
  out.push(...encryption.final())
  return { file: Buffer.concat([encryption.makeHeader(to.map(({ recipient }) => recipient)), ...out]), encryption }
}

async function decryptWhole(file: Buffer, by: Identity): Promise<Buffer> {
  const out: Buffer[] = []
  const source = (async function* () {
    yield file
  })()
  for await (const bytes of decrypt(source, [by])) out.push(bytes)
  return Buffer.concat(out)
}

for (const size of SIZES) {
  test(`${size} bytes come back as they were, with a header made at the end`, async () => {
    const bytes = randomBytes(size)
    for (const pieceBytes of [7, 1460, CHUNK, 1_000_000]) {
      assert.deepEqual(await decryptWhole(encryptLate(bytes, [identity], pieceBytes).file, identity), bytes)
    }
  })
  test(`of ${size} bytes the last are opened again`, async () => {
    const bytes = randomBytes(size)
    const { file, encryption } = encryptLate(bytes)
    for (const length of [1, 22, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, size]) {
      let mostRead = 0
      const end = await encryption.reopenEnd(length, async (position, readLength) => {
        mostRead = readLength
        return file.subarray(position, position + readLength)
      })
      assert.deepEqual(end, bytes.subarray(Math.max(0, size - length)), `the last ${length}`)
      assert.ok(mostRead <= length + 2 * CHUNK, `it reads ${mostRead} bytes for ${length}`)
    }
  })
}

for (const count of [1, 2, 31, 32]) {
  test(`a header for ${count} recipients has its fixed length, and each opens the file`, async () => {
    const bytes = randomBytes(1000)
    const to = identities.slice(0, count)
    const { file } = encryptLate(bytes, to)
    assert.equal(parseHeader(file)?.length, HEADER_BYTES)
    for (const one of to) assert.deepEqual(await decryptWhole(file, one), bytes)
    await assert.rejects(decryptWhole(file, newIdentity()), /none of the given identities/)
  })
}

test('a header made anew is for its own recipients alone', async () => {
  const [first, second] = [newIdentity(), newIdentity()]
  const { file, encryption } = encryptLate(Buffer.from('answers'), [first])
  const other = Buffer.concat([encryption.makeHeader([second.recipient]), file.subarray(HEADER_BYTES)])
  assert.equal(String(await decryptWhole(other, second)), 'answers')
  await assert.rejects(decryptWhole(other, first), /none of the given identities/)
})

test('more recipients than there is room for are refused', () => {
  assert.throws(() => encryptLate(Buffer.alloc(0), [...identities, ...identities]), (error) => error instanceof AgeError && /no room for 64/.test(error.message))
})

test('a padded header has every length that is asked for', () => {
  const fileKey = randomBytes(16)
  const own = wrapFileKey(fileKey, identity.recipient)
  const plain = formatHeader(fileKey, [own]).length
  let shortest = Infinity
  for (let bytes = plain; bytes < plain + 300; bytes++) {
    try {
      const header = formatPaddedHeader(fileKey, [own], bytes)
      shortest = Math.min(shortest, bytes)
      const parsed = parseHeader(header)
      assert.deepEqual([header.length, parsed?.length, parsed?.stanzas.length, parsed?.isAuthentic(fileKey)], [bytes, bytes, 2, true])
    } catch (error) {
      if (!(error instanceof AgeError)) throw error
      assert.equal(shortest, Infinity, `${bytes} bytes are enough, since ${shortest} are`)
    }
  }
  assert.ok(shortest < plain + 40, `${shortest - plain} bytes of padding are the least`)
})

test('age opens files with padded headers, of any number of recipients and of any size', async (t) => {
  if (!needs(t, 'age', 'age')) return
  const directory = await temporaryDirectory(t)
  const [key, path] = [join(directory, 'key'), join(directory, 'file.age')]
  const open = async (bytes: Buffer, to: readonly Identity[]) => {
    await writeFile(path, encryptLate(bytes, to).file)
    const { status, stdout, stderr } = spawnSync('age', ['-d', '-i', key, path], { maxBuffer: 2 ** 26 })
    assert.equal(status, 0, String(stderr))
    assert.deepEqual(stdout, bytes)
  }
  for (let count = 1; count <= 32; count++) {
    const to = identities.slice(0, count)
    await writeFile(key, `${formatIdentity(to.at(-1) ?? identity)}\n`)
    await open(randomBytes(100), to)
  }
  for (const size of SIZES) await open(randomBytes(size), identities.slice(0, 32))
})
