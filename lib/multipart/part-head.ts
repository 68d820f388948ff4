import type { PartHead } from '../form-event.ts'

const VIEW_LENGTH = 13 // from that many characters on, a piece of a text is a view in V8, which keeps the whole text

/** Makes the head of a part out of pieces of a longer text; who keeps the head does not keep the text. */
export function makePartHead(name: string, filename: string | undefined, mediaType: string | undefined): PartHead {
  return { name: copy(name), filename: filename && copy(filename), mediaType: mediaType && copy(mediaType) }
}

function copy(piece: string): string {
  return piece.length < VIEW_LENGTH ? piece : Buffer.from(piece).toString()
}
