/** Sends a text as JSON to an address; throws where it is not answered in time, or with another status than 2xx. */
export async function postAlert(text: string, { url, limitMs }: { url: string; limitMs: number }): Promise<void> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: text,
    redirect: 'error', // the address may hold a secret
    signal: AbortSignal.timeout(limitMs),
  })
  await response.body?.cancel()
  if (!response.ok) throw new Error(`the address of the alerts answered ${response.status}`)
}
