import { isProject } from '../project.ts'

const HIDDEN = '(hidden)'
const WORD = /^(list|revoke|new|challenge|open|prove)$/
const SECRET_KEY = /AGE-SECRET-KEY-/i // in the place of a name, by mistake

// What stands beside the flags of each command, as far as it may be kept: what is not here is hidden, so that a new command
// gives nothing away. `keys` has a word first, which decides what follows.
const POSITIONALS: Readonly<Record<string, readonly string[] | undefined>> = {
  status: ['project'],
  export: ['project', 'out'],
  verify: ['project'],
  links: ['project'],
  withdraw: ['project'],
  datasheet: ['project'],
  tokens: ['word', 'digits'],
  keys: ['word'],
  'keys challenge': ['word', 'project'],
  'keys prove': ['word', 'project', 'code'],
}

// Flags whose values say nothing of a participant and are no secret.
const FLAGS: Readonly<Record<string, RegExp | undefined>> = {
  since: /^[\dTZ:.+-]{1,40}$/,
  minutes: /^\d{1,6}$/,
  count: /^\d{1,6}$/,
  'slow-seconds': /^\d{1,4}$/,
}

/** What may be kept of a call: the words as they were written, without secrets, and the project where one is named. */
export interface Call {
  readonly words: string
  readonly project: string | undefined
}

/**
 * Says how a command was called, without the base directory: the record lies in it. Values of flags, and what stands
 * beside them, are hidden unless they are known to be no secret and to name no participant.
 * @param isProjectKnown whether what stands in the place of a project may be shown: what is no project may be a participant
 */
export function describeCall(command: string, args: readonly string[], isProjectKnown = true): Call {
  const isShown = (name: string) => isProjectKnown && isProject(name)
  const positionals = kindsOf(command, args)
  const hasParticipant = args.some((arg) => arg.startsWith('--participant'))
  const words: string[] = [command]
  let project: string | undefined
  let flag: string | undefined // whose value may follow
  let position = 0
  for (const given of args) {
    const arg = SECRET_KEY.test(given) ? HIDDEN : given
    if (/^-(?!-[a-z])/.test(arg)) return { words: [...words, HIDDEN].join(' '), project } // from here on nobody knows what is what
    const [, name, value] = /^--([a-z][a-z-]*)(?:=(.*))?$/s.exec(arg) ?? []
    if (name !== undefined) {
      if (name !== 'basedir') words.push(value === undefined ? `--${name}` : `--${name}=${showValue(name, value, isShown)}`)
      if (name === 'project' && value !== undefined && isShown(value)) project = value
      flag = value === undefined && !ALONE.has(name) ? name : undefined
      continue
    }
    const kind = flag === undefined ? positionals[position++] : undefined
    if (flag !== 'basedir') words.push(flag === undefined ? showPositional({ kind, value: arg, hasParticipant, isShown }) : showValue(flag, arg, isShown))
    if ((kind === 'project' || flag === 'project') && isShown(arg)) project = arg
    flag = undefined
  }
  return { words: words.join(' '), project }
}

// The project of `keys prove` may be left out, its code may not: what stands last is the code, whatever it looks like.
function kindsOf(command: string, args: readonly string[]): readonly string[] {
  const kinds = POSITIONALS[`${command} ${args[0] ?? ''}`] ?? POSITIONALS[command] ?? []
  if (!kinds.includes('code')) return kinds
  const given = args.filter((arg, index) => !arg.startsWith('-') && !takesNext(args[index - 1] ?? ''))
  return kinds.map((kind, index) => (index < given.length - 1 ? kind : 'code'))
}

function takesNext(arg: string): boolean {
  const name = /^--([a-z][a-z-]*)$/.exec(arg)?.[1]
  return name !== undefined && !ALONE.has(name)
}

const ALONE = new Set(['json', 'html', 'resume', 'yes'])

function showValue(flag: string, value: string, isShown: (project: string) => boolean): string {
  if (flag === 'project') return isShown(value) ? value : HIDDEN
  return FLAGS[flag]?.test(value) === true ? value : HIDDEN
}

// A directory that one participant's data go to is often named for that participant.
function showPositional({ kind, value, hasParticipant, isShown }: { kind: string | undefined; value: string; hasParticipant: boolean; isShown: (project: string) => boolean }): string {
  if (kind === 'project') return isShown(value) ? value : HIDDEN
  if (kind === 'word') return WORD.test(value) ? value : HIDDEN
  if (kind === 'digits') return /^[0-9a-f]{8,64}$/i.test(value) ? value.slice(0, 8).toLowerCase() : HIDDEN
  return kind === 'out' && !hasParticipant ? JSON.stringify(value) : HIDDEN
}
