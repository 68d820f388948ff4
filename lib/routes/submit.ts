import type { Grants } from '../access/grants.ts'
import type { ProjectKeys } from '../access/project-keys.ts'
import { newSecret } from '../access/secret.ts'
import { HttpError } from '../errors.ts'
import type { FormParser } from '../form-event.ts'
import { JsonForm } from '../form/json-form.ts'
import { UrlencodedForm } from '../form/urlencoded-form.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Reply } from '../http/reply.ts'
import type { Handler } from '../http/router.ts'
import type { Log } from '../log.ts'
import type { Measures } from '../metrics/measures.ts'
import { parseBoundary } from '../multipart/boundary.ts'
import { MultipartParser } from '../multipart/parser.ts'
import type { StagedPart } from '../store/publisher.ts'
import type { Receipt } from '../store/receipt.ts'
import type { Store } from '../store/store.ts'
import type { Allowance, Allotment } from './allowance.ts'
import { FormReaders } from './form-readers.ts'
import { Intake } from './intake.ts'
import { Permission } from './permission.ts'

const SPACE_CHECK_BYTES = 8 * 1024 * 1024 // others write too, and a chunked body has no declared length

/** What `/submit` works with. */
export interface SubmitParts {
  readonly grants: Grants
  readonly store: Store
  readonly log: Log
  readonly measures: Measures
  readonly limits: SubmitLimits
  readonly allowance: Allowance
  readonly keys: ProjectKeys
}

/** How large a submission may be. */
export interface SubmitLimits {
  readonly maxRequestBytes: number
  readonly maxFieldBytes: number
  readonly maxParts: number
  readonly maxPartHeaderBytes: number
  readonly maxPreambleBytes: number
}

/** `POST /submit`: takes in a form, and answers when all of it is durable under its final names. */
export function submit(parts: SubmitParts): Handler {
  return async (exchange) => {
    const form = chooseForm(exchange, parts.limits)
    exchange.refuseLongerThan(form.limitBytes)
    const permission = new Permission(parts.grants, exchange.beganAtMs)
    const readers = new FormReaders(parts.keys)
    await permission.presentHead(exchange)
    if (permission.isGranted) await readers.learn(permission.require().project)
    await parts.store.requireSpace(exchange.declaredBytes ?? 0)
    const allotment = parts.allowance.begin(exchange.client.address, permission.isGranted)
    const endMeasure = parts.measures.begin()
    const onToken = async (authToken: string) => {
      await permission.present(authToken)
      allotment.release()
      await readers.learn(permission.require().project)
    }
    const intake = new Intake({
      stage: () => {
        allotment.addFile()
        return parts.store.stage(readers.expected)
      },
      onMemory: (bytes) => allotment.addMemory(bytes),
      onToken,
      isJson: form.isJson,
      maxFieldBytes: parts.limits.maxFieldBytes,
    })
    try {
      await receive(parts, exchange, form, intake, allotment)
      return await keep(parts, exchange, permission, { intake, readers })
    } catch (error) {
      await Promise.allSettled([intake.discard()]) // what failed first is what matters
      throw error
    } finally {
      allotment.end()
      endMeasure()
    }
  }
}

interface Form {
  readonly parser: FormParser
  readonly isJson: boolean
  readonly limitBytes: number
}

function chooseForm({ request }: Exchange, limits: SubmitLimits): Form {
  const coding = request.headers['content-encoding']?.trim().toLowerCase() ?? 'identity'
  if (coding !== 'identity') throw new HttpError('unsupported_content_encoding')
  const contentType = request.headers['content-type'] ?? ''
  const [parts, partHeaderBytes] = [limits.maxParts, limits.maxPartHeaderBytes]
  const limitBytes = Math.min(limits.maxRequestBytes, limits.maxFieldBytes) // of a body that has no files
  switch (contentType.split(';')[0]?.trim().toLowerCase()) {
    case 'multipart/form-data': {
      const parser = new MultipartParser(parseBoundary(contentType), { parts, partHeaderBytes, preambleBytes: limits.maxPreambleBytes })
      return { parser, isJson: false, limitBytes: limits.maxRequestBytes }
    }
    case 'application/x-www-form-urlencoded':
      return { parser: new UrlencodedForm({ parts, partHeaderBytes }), isJson: false, limitBytes }
    case 'application/json':
      return { parser: new JsonForm({ parts, partHeaderBytes }), isJson: true, limitBytes }
    default:
      throw new HttpError('unsupported_media_type')
  }
}

async function receive(parts: SubmitParts, exchange: Exchange, form: Form, intake: Intake, allotment: Allotment): Promise<void> {
  let uncheckedBytes = 0
  const take = (chunk: Buffer): Promise<void> | undefined => {
    allotment.addBytes(chunk.length)
    uncheckedBytes += chunk.length
    const wait = intake.take(form.parser.push(chunk))
    if (uncheckedBytes < SPACE_CHECK_BYTES) return wait
    uncheckedBytes = 0
    return Promise.all([wait, parts.store.requireSpace(0)]).then(() => undefined)
  }
  await exchange.read(take, form.limitBytes)
  await intake.take(form.parser.finish())
}

async function keep(parts: SubmitParts, exchange: Exchange, permission: Permission, form: { intake: Intake; readers: FormReaders }): Promise<Reply> {
  const { project, participant, tokenSha256 } = permission.require()
  const { files, fields } = await form.intake.finish(await form.readers.learn(project))
  const grantedAtMs = Date.now()
  await permission.confirm() // a participant who has withdrawn is not to come back with an upload that took long
  const { receipt, isRepeated } = await parts.store.publish({ id: newSecret(), project, participant, tokenSha256, grantedAtMs, fields, files })
  form.intake.release()
  const bytes = receipt.files.reduce((sum, file) => sum + file.bytes, 0)
  if (isRepeated) parts.measures.repeated(project)
  else parts.measures.stored({ project, files: receipt.files.length, bytes })
  parts.log.info(isRepeated ? 'repeated' : 'accepted', {
    request: exchange.id,
    submission: receipt.id,
    project,
    token: tokenSha256.slice(0, 8),
    files: receipt.files.length,
    bytes,
  })
  return { status: 200, body: formatAccepted(receipt, files, isRepeated) }
}

// Length and SHA-256 are those of what came, whatever it is stored as: the sender holds them against what it sent.
function formatAccepted(receipt: Receipt, files: readonly StagedPart[], isRepeated: boolean): object {
  const sent = files.map(({ name, bytes, sha256, plain }, index) => ({
    name,
    stored_as: receipt.files[index]?.stored_as ?? '',
    bytes: plain?.bytes ?? bytes,
    sha256: plain?.sha256 ?? sha256,
  }))
  return {
    status: 'accepted',
    id: receipt.id,
    received_at: receipt.received_at,
    project: receipt.project,
    files: sent.filter((_, index) => files[index]?.holds === undefined), // text fields never were in the answer
    ...(isRepeated ? { repeated: true } : {}),
  }
}
