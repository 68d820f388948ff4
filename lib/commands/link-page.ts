import { formatQrCode } from '../qr/qr-code.ts'

/** What one participant is given. */
export interface ParticipantLink {
  readonly participant: string
  readonly url: string
  /** `2024-11-01T02:36:15Z` */
  readonly expires: string
}

const STYLE = `
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; }
section { border: 1px solid #999; margin: 0 0 1.5em; padding: 1em; display: flex; gap: 1.5em; align-items: center; break-inside: avoid; }
svg { width: 16em; height: 16em; flex: none; }
h2 { margin: 0 0 .5em; }
a { color: inherit; overflow-wrap: anywhere; font-size: .8em; }`

/** Writes a page to print, one card with a QR code for each participant. It is whole in itself and loads nothing. */
export function formatLinkPage(project: string, links: readonly ParticipantLink[]): string {
  const cards = links.map(({ participant, url, expires }) => {
    return `<section>${formatQrCode(url)}<div><h2>${escape(participant)}</h2><p>Good until ${escape(expires)}</p><a href="${escape(url)}">${escape(url)}</a></div></section>`
  })
  return [
    '<!doctype html>',
    '<html lang="en">',
    `<head><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>${escape(project)}: links</title><style>${STYLE}</style></head>`,
    '<body>',
    ...cards,
    '</body>',
    '</html>',
  ].join('\n')
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
