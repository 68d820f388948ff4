/** Recipients that the server must not start with; the message is a sentence. */
export class RecipientsError extends Error {}
