import assert from 'node:assert/strict'
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { formatIdentity, newIdentity } from '../lib/crypt/keys.ts'
import { runCommand } from './commanded.ts'
import { copyEncrypted, encrypt, makeIdentity } from './encrypted.ts'
import { askToken, listFiles, startServer, submitForm, temporaryDirectory } from './harness.ts'
import { sha256Of } from './sha256.ts'
import { makeWav } from './web-app.ts'

const verify = (basedir: string, ...args: string[]) => runCommand(['verify', '--basedir', basedir, ...args])

test('verify holds encrypted files against their receipts, and with a key looks into them', async (t) => {
  const server = await startServer(t)
  const root = await temporaryDirectory(t)
  const identity = await makeIdentity(join(root, 'key'))
  const key = ['--identity', join(root, 'key')]
  const token = await askToken(server)
  for (const name of ['a.wav', 'b.wav', 'plain.wav']) await submitForm(server, [['file', makeWav(150_000), name], ['auth_token', token], ['comment', name]])
  await server.stop()
  const whole = await copyEncrypted(server.basedir, join(root, 'whole'), ({ name }) => (name === 'plain.wav' ? undefined : [identity]))

  /** Alters a stored file, and the receipt with it where the chain is to hold: as who can write everything could. */
  const alter = async (basedir: string, change: (bytes: Buffer) => Buffer, isPromised: boolean) => {
    const directory = join(basedir, 'uploads', 'responses', 'study')
    const name = (await listFiles(directory)).find((each) => each.endsWith('-b.wav.age')) ?? ''
    const before = await readFile(join(directory, name))
    const bytes = change(Buffer.from(before))
    await rm(join(directory, name))
    await writeFile(join(directory, name), bytes)
    if (!isPromised) return
    const receipts = join(basedir, 'receipts', 'study', (await listFiles(join(basedir, 'receipts', 'study')))[0] ?? '')
    const says = (stored: Buffer) => `"bytes":${stored.length},"sha256":"${sha256Of(stored)}"`
    const text = (await readFile(receipts, 'utf8')).replace(says(before), says(bytes))
    let previous: string | null = null
    const lines = text.trimEnd().split('\n').map((line) => {
      const chained = JSON.stringify({ ...JSON.parse(line), previous })
      previous = sha256Of(chained)
      return `${chained}\n`
    })
    await writeFile(receipts, lines.join(''))
  }
  const flip = (bytes: Buffer) => bytes.fill((bytes[bytes.length - 70_000] ?? 0) ^ 1, bytes.length - 70_000, bytes.length - 69_999)

  const cases: { name: string; change?: (bytes: Buffer) => Buffer; isPromised?: boolean; code: readonly [blind: number, seeing: number]; says: RegExp; without?: RegExp }[] = [
    {
      name: 'an untouched copy holds',
      code: [0, 0],
      without: /nothing missing or changed\nrecord of access: .*\n4 encrypted files held against the receipts as stored\. Whether a key opens them only verify --identity FILE tells\.\nok: /,
      says: /^study: 3 receipts, 5 files, .* read; 4 encrypted files opened; nothing missing or changed\nrecord of access: .*\nok: /,
    },
    { name: 'a flipped bit is found without a key', change: flip, code: [1, 1], without: /^CHANGED: .*b\.wav\.age: SHA-256 is /m, says: /^CHANGED: .*b\.wav\.age: SHA-256 is /m },
    { name: 'one that the receipt was made to match is found with the key', change: flip, isPromised: true, code: [0, 1], says: /^CHANGED: .*b\.wav\.age: A part of it was altered since it was encrypted\.$/m },
    {
      name: 'so is a file that was cut between two chunks',
      change: (bytes) => bytes.subarray(0, bytes.length - (300_044 % 65_536) - 16),
      isPromised: true,
      code: [0, 1],
      says: /^CHANGED: .*b\.wav\.age: A part of it was altered since it was encrypted\.$/m,
    },
    { name: 'so is another content', change: () => encrypt(Buffer.from('another'), [identity]), isPromised: true, code: [0, 1], says: /^CHANGED: .*b\.wav\.age: it holds 7 bytes where its receipt promised 300044$/m },
    { name: 'so is a file for somebody else', change: () => encrypt(makeWav(150_000), [newIdentity()]), isPromised: true, code: [0, 1], says: /^NOT OPENED: .*b\.wav\.age: It is encrypted, and no identity that was given opens it\.$/m },
  ]
  for (const [index, { name, change, isPromised = false, code, says, without = /^4 encrypted files held against/m }] of cases.entries()) {
    await t.test(name, async () => {
      const basedir = join(root, String(index))
      await cp(whole, basedir, { recursive: true })
      if (change !== undefined) await alter(basedir, change, isPromised)
      const [blind, seeing] = [await verify(basedir), await verify(basedir, ...key)]
      assert.deepEqual([blind.status, seeing.status], code, blind.stdout + seeing.stdout + seeing.stderr)
      assert.match(blind.stdout, without)
      assert.match(seeing.stdout, says)
      assert.ok(!(seeing.stdout + seeing.stderr).includes(formatIdentity(identity).slice(20)), 'no key is shown')
    })
  }
  await t.test('the fields of a form are among the files that are opened', async () => {
    const fields = (await listFiles(join(whole, 'uploads', 'responses', 'study'))).filter((name) => name.endsWith('-fields.json.age'))
    assert.equal(fields.length, 2)
  })
  await t.test('of plain files it says what it said before', async () => {
    assert.match((await verify(server.basedir, ...key)).stdout, /^study: 3 receipts, 3 files, 900\.1 kB read; nothing missing or changed\nrecord of access: .*\nok: everything that was promised is there\n$/)
    const withoutRecord = (text: string) => text.replace(/^record of access: .*$/m, '')
    assert.equal(withoutRecord((await verify(server.basedir)).stdout), withoutRecord((await verify(server.basedir, ...key)).stdout))
  })
})
