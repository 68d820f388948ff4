/** A certificate and key that cannot be used; the message names the files and says why. */
export class CertificateError extends Error {}
