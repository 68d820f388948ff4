import type { Grant, Grants } from '../access/grants.ts'
import { newSecret } from '../access/secret.ts'
import { HttpError } from '../errors.ts'
import type { FormParser } from '../form-event.ts'
import { JsonForm } from '../form/json-form.ts'
import { UrlencodedForm } from '../form/urlencoded-form.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Reply } from '../http/reply.ts'
import type { Handler } from '../http/router.ts'
import type { Log } from '../log.ts'
import { parseBoundary } from '../multipart/boundary.ts'
import { MultipartParser } from '../multipart/parser.ts'
import type { Receipt } from '../store/receipt.ts'
import type { Store } from '../store/store.ts'
import { Intake } from './intake.ts'
import { Permission } from './permission.ts'

/** What `/submit` works with. */
export interface SubmitParts {
  readonly grants: Grants
  readonly store: Store
  readonly log: Log
  readonly limits: SubmitLimits
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
    const permission = new Permission(parts.grants, exchange.beganAtMs)
    await permission.presentHead(exchange)
    const intake = new Intake({
      stage: () => parts.store.stage(),
      onToken: (authToken) => permission.present(authToken),
      isJson: form.isJson,
      maxFieldBytes: parts.limits.maxFieldBytes,
    })
    try {
      await exchange.read((chunk) => intake.take(form.parser.push(chunk)), form.limitBytes)
      await intake.take(form.parser.finish())
      return await keep(parts, exchange, permission.require(), intake)
    } catch (error) {
      await intake.discard()
      throw error
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
  const fieldLimits = { parts: limits.maxParts, partHeaderBytes: limits.maxPartHeaderBytes }
  const limitBytes = Math.min(limits.maxRequestBytes, limits.maxFieldBytes) // of a body that has no files
  switch (contentType.split(';')[0]?.trim().toLowerCase()) {
    case 'multipart/form-data': {
      const parser = new MultipartParser(parseBoundary(contentType), { ...fieldLimits, preambleBytes: limits.maxPreambleBytes })
      return { parser, isJson: false, limitBytes: limits.maxRequestBytes }
    }
    case 'application/x-www-form-urlencoded':
      return { parser: new UrlencodedForm(fieldLimits), isJson: false, limitBytes }
    case 'application/json':
      return { parser: new JsonForm(fieldLimits), isJson: true, limitBytes }
    default:
      throw new HttpError('unsupported_media_type')
  }
}

async function keep(parts: SubmitParts, exchange: Exchange, grant: Grant, intake: Intake): Promise<Reply> {
  const { files, fields } = await intake.finish()
  const { project, participant, tokenSha256 } = grant
  const receipt = await parts.store.publish({ id: newSecret(), project, participant, tokenSha256, fields, files })
  parts.log.info('accepted', {
    request: exchange.id,
    submission: receipt.id,
    project,
    token: tokenSha256.slice(0, 8),
    files: receipt.files.length,
    bytes: receipt.files.reduce((sum, file) => sum + file.bytes, 0),
  })
  return { status: 200, body: formatAccepted(receipt) }
}

function formatAccepted(receipt: Receipt): object {
  return {
    status: 'accepted',
    id: receipt.id,
    received_at: receipt.received_at,
    project: receipt.project,
    files: receipt.files.map(({ name, stored_as, bytes, sha256 }) => ({ name, stored_as, bytes, sha256 })),
  }
}
