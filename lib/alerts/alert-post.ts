/** Where a text is posted. */
export interface PostParts {
  readonly url: string
  /** The value of the header, where the address wants one. */
  readonly authorization: string | undefined
  readonly limitMs: number
}

/** Sends a text as JSON to an address; throws where it is not answered in time, or with another status than 2xx. */
export async function postAlert(text: string, { url, authorization, limitMs }: PostParts): Promise<void> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(authorization === undefined ? {} : { Authorization: authorization }) },
    body: text,
    redirect: 'error', // the address may hold a secret
    signal: AbortSignal.timeout(limitMs),
  })
  await response.body?.cancel()
  if (!response.ok) throw new Error(`the address of the alerts answered ${response.status}`)
}
