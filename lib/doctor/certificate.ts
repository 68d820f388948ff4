import { CertificateError } from '../http/certificate-error.ts'
import { readCertificate } from '../http/certificate.ts'
import { failed, ok, warning, type Finding } from './finding.ts'

const [FEW_DAYS, NO_DAYS] = [21, 3]
const DAY_MS = 24 * 3600 * 1000

/** Looks at the certificate and the key of the settings as a server does that starts: a running one may have older ones. */
export async function examineCertificate(certFile: string, keyFile: string): Promise<Finding> {
  try {
    return examineValidity('certificate', (await readCertificate(certFile, keyFile)).expiresAt)
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error
    return failed('certificate', error.message, 'the certificate and the key that belong together, before the server starts again')
  }
}

/** Says how long a certificate is valid, and whether that is long enough. */
export function examineValidity(subject: string, endsAt: Date): Finding {
  const days = Math.floor((endsAt.getTime() - Date.now()) / DAY_MS)
  const end = endsAt.toISOString().slice(0, 10)
  if (days >= FEW_DAYS) return ok(subject, `the certificate is valid for ${days} days, until ${end}`)
  const says = days < 0 ? `the certificate was valid until ${end}` : `the certificate is valid for ${days} days only, until ${end}`
  return (days >= NO_DAYS ? warning : failed)(subject, says, 'certbot renew, and see why that did not happen by itself')
}
