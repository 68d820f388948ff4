const FIRST_DESCRIPTOR = 3 // SD_LISTEN_FDS_START

/**
 * Takes the listening sockets that systemd has opened and passed to this process, as sd_listen_fds(3) does, and removes
 * the variables that name them: they mean nothing to processes that this one starts.
 * @param environment the environment of this process; it is changed
 * @param pid this process; sockets that were meant for another are left alone
 * @returns their descriptors
 */
export function takePassedSockets(environment: Record<string, string | undefined>, pid: number): readonly number[] {
  const { LISTEN_PID, LISTEN_FDS = '' } = environment
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete environment[name]
  if (LISTEN_PID !== String(pid) || !/^\d{1,4}$/.test(LISTEN_FDS)) return []
  return Array.from({ length: Number(LISTEN_FDS) }, (_, index) => FIRST_DESCRIPTOR + index)
}
