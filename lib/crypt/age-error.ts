/** A key, a header or a payload that is not what the age format asks for; the message is a plain sentence. */
export class AgeError extends Error {}

/** A file that is as it should be, and is encrypted to somebody else. */
export class NoIdentityError extends AgeError {}
