import { chmod, cp } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { needs, PROGRAM, temporaryDirectory } from './harness.ts'

/** A user and a group that nothing on a machine of ours has. */
export const OTHER_USER = 54_321

/**
 * Gives the command that runs the program as another user, to stand before it; undefined where the test is skipped. It runs
 * a copy, since the directory that holds ours may be closed to others.
 */
export async function asOtherUser(t: TestContext): Promise<readonly string[] | undefined> {
  if (process.getuid?.() !== 0) {
    t.skip('only root can become another user')
    return undefined
  }
  if (!needs(t, 'setpriv', 'util-linux')) return undefined
  const copy = await temporaryDirectory(t)
  await chmod(copy, 0o755)
  await cp(dirname(PROGRAM), join(copy, 'dist'), { recursive: true })
  await cp(join(dirname(PROGRAM), '..', 'package.json'), join(copy, 'package.json'))
  const runCopy = 'node=$1; shift 2; exec "$node" "$0" "$@"'
  return ['setpriv', `--reuid=${OTHER_USER}`, `--regid=${OTHER_USER}`, '--clear-groups', 'sh', '-c', runCopy, join(copy, 'dist', 'serve.js')]
}
